// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "manager.h"
#include "sysfs.h"

static void device_apply(struct device *d, enum recovery_input input);

/* --- small parts of the actions -------------------------------------------------------------- */

static void set_note(struct device *d, const char *format, ...) _printf_(2, 3);

static void set_note(struct device *d, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(d->record.note, sizeof(d->record.note), format, ap);
	va_end(ap);
}

/* For records that only inform; the ones that matter are saved in worker_prepared(). */
static void save(struct device *d)
{
	int r;

	d->record.active = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	r = state_save(&d->record);
	if (r < 0)
		log_warning("%s: cannot save its state in /run/smmu-rasd: %s", d->record.dev,
			    strerror(-r));
}

/* What we owe to the device is given back. */
static void forget_debt(struct device *d)
{
	d->record.prepared = false;
	d->record.driver[0] = '\0';
	d->record.driver_override[0] = '\0';
	d->record.reset_method[0] = '\0';
	d->record.attempts = 0;
	d->record.step[0] = '\0';
	d->record.note[0] = '\0';
	d->finish = false;
	d->policy = policy_unref(d->policy);
	d->rule = NULL;
}

/* Is another device in the place of the one that the record is about? */
static bool replaced(const struct device *d)
{
	char identity[SYSFS_IDENTITY_SIZE];

	return d->record.identity[0] &&
	       sysfs_identity(d->record.bus, d->record.dev, identity, sizeof(identity)) >= 0 &&
	       !streq(identity, d->record.identity);
}

/* Nothing of the story is this device's: neither what is owed, nor how often it was recovered. */
static void forget_story(struct device *d)
{
	forget_debt(d);
	d->resume = false;
	d->record.n_recoveries = 0;
	d->record.fence_id = 0;
	d->record.identity[0] = '\0';
}

/* Is there something to put back that an attempt took away? */
static bool owing(const struct device *d)
{
	const struct device_record *record = &d->record;
	char now[RESET_METHOD_SIZE];

	if (!record->prepared || replaced(d))
		return false;
	if (record->driver[0]) {
		char driver[RAS_NAME_SIZE];
		int r = sysfs_link(record->bus, record->dev, "driver", driver, sizeof(driver));

		/* Who bound another one has decided what the device is for. */
		if (r == -ENOENT)
			return true;
	}
	return record->reset_method[0] &&
	       sysfs_read(record->bus, record->dev, "reset_method", now, sizeof(now)) >= 0 &&
	       !streq(now, record->reset_method);
}

static void timer_stop(struct device *d)
{
	d->timer = sd_event_source_disable_unref(d->timer);
	d->record.next = 0;
}

static void timer_start(struct device *d, uint64_t usec, sd_event_time_handler_t handler)
{
	int r;

	timer_stop(d);
	r = sd_event_add_time_relative(d->manager->event, &d->timer, CLOCK_MONOTONIC, usec, 0,
				       handler, d);
	/* Only memory can be short; without a limit the step just has none. */
	if (r < 0)
		log_error("%s: cannot set a timer: %s", d->record.dev, strerror(-r));
	d->record.next = now_usec(CLOCK_REALTIME) + usec;
}

/* --- policy ---------------------------------------------------------------------------------- */

static const char *sysfs_number(const struct device *d, const char *attr, char *buf, size_t size)
{
	if (sysfs_read(d->record.bus, d->record.dev, attr, buf, size) < 0)
		return "";
	return strncmp(buf, "0x", 2) == 0 ? buf + 2 : buf;
}

/* Finds the rule for the device in the policy in force. */
static void find_rule(struct device *d)
{
	char vendor[16];
	char device[16];
	char class[16];
	char driver[RAS_NAME_SIZE];
	struct match_subject subject = {.values = {
						[MATCH_ADDRESS] = d->record.dev,
						[MATCH_IOMMU] = d->kernel.iommu,
						[MATCH_REASON] = ras_reason_name(d->kernel.reason),
					}};

	subject.values[MATCH_VENDOR] = sysfs_number(d, "vendor", vendor, sizeof(vendor));
	subject.values[MATCH_DEVICE] = sysfs_number(d, "device", device, sizeof(device));
	subject.values[MATCH_CLASS] = sysfs_number(d, "class", class, sizeof(class));
	/* Where we have unbound the driver it still is the driver of the device. */
	if (d->record.prepared)
		str_copy(driver, sizeof(driver), d->record.driver);
	else if (sysfs_link(d->record.bus, d->record.dev, "driver", driver, sizeof(driver)) < 0)
		driver[0] = '\0';
	subject.values[MATCH_DRIVER] = driver;

	policy_unref(d->policy);
	d->policy = policy_ref(d->manager->policy);
	d->rule = policy_match(d->policy, &subject);
	str_copy(d->record.rule, sizeof(d->record.rule), d->rule->name);
}

/* Counts this recovery, and says whether there are too many of them. */
static bool over_rate_limit(struct device *d)
{
	struct device_record *record = &d->record;
	uint64_t now = now_usec(CLOCK_BOOTTIME);
	unsigned int recent = 0;

	if (d->rule->rate_window == 0)
		return false;
	for (unsigned int i = 0; i < record->n_recoveries; i++)
		if (record->recoveries[i] + d->rule->rate_window > now)
			recent++;
	if (recent >= d->rule->rate_count) {
		set_note(d, "recovered %u times within %s already, which is the limit of rule %s",
			 recent, USEC_TEXT(d->rule->rate_window), d->rule->name);
		return true;
	}
	if (record->n_recoveries == STATE_RECOVERIES_MAX) {
		memmove(record->recoveries, record->recoveries + 1,
			sizeof(record->recoveries) - sizeof(record->recoveries[0]));
		record->n_recoveries--;
	}
	record->recoveries[record->n_recoveries++] = now;
	return false;
}

/* What to do about a fence that we have not dealt with, or (@resume) not to the end. */
static enum recovery_input decide(struct device *d, bool resume)
{
	find_rule(d);
	switch (d->rule->action) {
	case ACTION_IGNORE:
		d->record.left = LEFT_POLICY;
		set_note(d, "rule %s says ignore", d->rule->name);
		return INPUT_IGNORE;
	case ACTION_ISOLATE:
		d->record.left = LEFT_POLICY;
		set_note(d, "rule %s says isolate", d->rule->name);
		return INPUT_ISOLATE;
	default:
		break;
	}
	if (resume && d->record.attempts >= d->rule->attempts) {
		if (d->record.note[0] == '\0')
			set_note(d, "the last attempt was interrupted");
		d->record.left = LEFT_EXHAUSTED;
		return INPUT_ISOLATE;
	}
	if (!resume && over_rate_limit(d)) {
		d->record.left = LEFT_RATE;
		return INPUT_ISOLATE;
	}
	d->record.left = LEFT_NOT;
	return INPUT_RECOVER;
}

/* --- workers --------------------------------------------------------------------------------- */

static void worker_ended(struct device *d);
static void device_fenced(struct device *d, bool new_fence);

static void worker_kill(struct device *d)
{
	/* In the middle of a sysfs write it ends when the kernel lets it, which may be never. */
	if (d->worker.pidfd >= 0)
		(void)pidfd_send_signal(d->worker.pidfd, SIGKILL, NULL, 0);
}

static int on_step_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct device *d = userdata;

	timer_stop(d);
	set_note(d, "%s has not ended after %s",
		 d->record.step[0] ? d->record.step : "looking at it", USEC_TEXT(d->step_limit));
	report_stuck(d);
	device_apply(d, INPUT_STEP_TIMEOUT);
	return 0;
}

static void begin_step(struct device *d, size_t i)
{
	const struct step *step = &d->job->steps[i];

	str_copy(d->record.step, sizeof(d->record.step), step_name(step->kind));
	d->step_limit = (step->timeout ? step->timeout : d->rule->step_timeout) + step->wait;
	timer_start(d, d->step_limit, on_step_timeout);
}

/*
 * The worker knows what it will have to put back, and waits. Only when that is on disk may it
 * begin: a daemon that is killed from here on finds everything when it comes back.
 */
static void worker_prepared(struct device *d, const struct worker_message *message)
{
	struct device_record *record = &d->record;
	int r;

	record->prepared = true;
	memcpy(record->driver, message->driver, sizeof(record->driver));
	memcpy(record->driver_override, message->driver_override, sizeof(record->driver_override));
	memcpy(record->reset_method, message->reset_method, sizeof(record->reset_method));
	begin_step(d, 0);
	r = state_save(record);
	if (r >= 0)
		r = worker_go(d->worker.fd);
	if (r < 0) {
		set_note(d, "cannot record in /run/smmu-rasd what has to be undone: %s",
			 strerror(-r));
		log_error("%s: %s; nothing was done to the device", record->dev, record->note);
		worker_kill(d);
	}
}

static void worker_step_end(struct device *d, const struct worker_message *message, bool stuck)
{
	bool more = message->error >= 0 && message->step + 1 < d->job->n_steps && !stuck;

	/*
	 * It waits for us so that the story is told in its order: what the kernel said about this
	 * step has been read by now. It should not wait for the telling. Should it be dead, its
	 * pidfd says so.
	 */
	if (more)
		(void)worker_go(d->worker.fd);
	timer_stop(d);
	if (message->error < 0)
		set_note(d, "%s: %s", step_name(d->job->steps[message->step].kind), message->text);
	/* The step that policy stopped is told of once, with what to do about it. */
	if (!message->protected)
		report_step(d, message);
	if (more) {
		begin_step(d, message->step + 1);
		save(d);
	}
}

static void worker_message_arrived(struct device *d, const struct worker_message *message)
{
	/* A step that was given up may still tell its end; the timer belongs to the state. */
	bool stuck = d->record.state != RECOVERY_RUNNING;

	switch (message->report) {
	case WORKER_PREPARED:
		if (!stuck)
			worker_prepared(d, message);
		break;
	case WORKER_STEP_END:
		if (message->step < d->job->n_steps)
			worker_step_end(d, message, stuck);
		break;
	case WORKER_FINISHED:
		timer_stop(d);
		d->worker_finished = true;
		d->worker_error = message->error;
		d->worker_protected = message->protected;
		if (message->error < 0 && d->record.step[0] == '\0')
			set_note(d, "%s", message->text);
		if (message->protected)
			set_note(d, "%s", message->text);
		/* What it says is about the device that was there. */
		if (message->device.state != 0 && d->record.state != RECOVERY_GONE)
			device_kernel_update(d->manager, KERNEL_DEVICE, &message->device);
		break;
	}
}

static int on_worker_event(sd_event_source *s _unused_, int fd, uint32_t revents _unused_,
			   void *userdata)
{
	struct device *d = userdata;
	struct worker_message message;
	int r;

	/* One at a time: what the kernel says meanwhile goes before the next one. */
	r = worker_receive(fd, &message);
	if (r > 0) {
		worker_message_arrived(d, &message);
		return 0;
	}
	/* Its end is noticed through the pidfd; until then there is nothing more to hear. */
	if (r < 0 || revents & EPOLLHUP)
		d->worker_event = sd_event_source_disable_unref(d->worker_event);
	return 0;
}

static int on_worker_exit(sd_event_source *s _unused_, int fd, uint32_t revents _unused_,
			  void *userdata)
{
	struct device *d = userdata;
	struct worker_message message;
	siginfo_t info = {0};

	/* What it said last may still be in the socket. */
	while (d->worker.fd >= 0 && worker_receive(d->worker.fd, &message) > 0)
		worker_message_arrived(d, &message);
	/* Not our child when it was an earlier daemon's. */
	(void)waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
	worker_ended(d);
	return 0;
}

static int watch_worker(struct device *d)
{
	sd_event *event = d->manager->event;
	int r = 0;

	if (d->worker.fd >= 0)
		r = sd_event_add_io(event, &d->worker_event, d->worker.fd, EPOLLIN, on_worker_event,
				    d);
	if (r >= 0)
		r = sd_event_add_io(event, &d->worker_exit, d->worker.pidfd, EPOLLIN,
				    on_worker_exit, d);
	return r;
}

/* What is to be done in the attempt that begins now. */
static struct job *make_job(const struct device *d)
{
	const struct device_record *record = &d->record;
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	memcpy(job->bus, record->bus, sizeof(job->bus));
	memcpy(job->dev, record->dev, sizeof(job->dev));
	memcpy(job->identity, record->identity, sizeof(job->identity));
	job->reset_methods = d->rule->reset_methods;
	job->protect = d->rule->protect;
	if (d->finish) {
		job->steps[job->n_steps++].kind = STEP_BIND;
	} else {
		memcpy(job->steps, d->rule->steps, sizeof(d->rule->steps));
		job->n_steps = d->rule->n_steps;
	}
	/* Nothing is a success before the kernel has said so. */
	if (job->steps[job->n_steps - 1].kind != STEP_VERIFY)
		job->steps[job->n_steps++].kind = STEP_VERIFY;
	job->prepared = record->prepared;
	memcpy(job->driver, record->driver, sizeof(job->driver));
	memcpy(job->driver_override, record->driver_override, sizeof(job->driver_override));
	memcpy(job->reset_method, record->reset_method, sizeof(job->reset_method));
	return job;
}

static void start_attempt(struct device *d)
{
	struct manager *m = d->manager;
	bool finish = d->finish;
	int r;

	if (!d->rule)
		find_rule(d);
	d->record.attempts++;
	d->record.step[0] = '\0';
	d->record.note[0] = '\0';
	d->worker_finished = false;
	d->worker_protected = false;
	d->worker_error = 0;
	d->job = make_job(d);
	d->finish = false;
	r = d->job ? worker_start(d->job, &d->worker) : -ENOMEM;
	if (r < 0) {
		set_note(d, "cannot start a worker: %s", strerror(-r));
		log_error("%s: %s", d->record.dev, d->record.note);
		if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EAGAIN) {
			/* The machine's trouble, not the device's: nothing was tried. */
			d->record.attempts--;
			d->finish = finish;
			free(d->job);
			d->job = NULL;
			device_apply(d, INPUT_POSTPONED);
		} else {
			worker_ended(d);
		}
		return;
	}
	TAILQ_INSERT_TAIL(&m->busy, d, busy);
	d->record.worker = d->worker.pid;
	d->record.worker_start = d->worker.start;
	report_begun(d);
	d->step_limit = d->rule->step_timeout;
	timer_start(d, d->step_limit, on_step_timeout);
	r = watch_worker(d);
	if (r < 0) {
		/* Unwatched it can only be waited for, which is over soon: it has not begun. */
		set_note(d, "cannot watch the worker: %s", strerror(-r));
		worker_kill(d);
		(void)waitid(P_PIDFD, (id_t)d->worker.pidfd, &(siginfo_t){0}, WEXITED);
		worker_ended(d);
	}
}

/*
 * The worker of a device that is gone has ended. When another one came to the same place and was
 * fenced meanwhile, its story begins only now. Frees @d.
 */
static void gone_ended(struct device *d)
{
	struct manager *m = d->manager;
	struct ras_device kernel = d->kernel;
	uint64_t generation = d->generation;

	device_apply(d, INPUT_FAILED);
	if (kernel.state != IOMMU_RAS_STATE_FENCED && kernel.state != IOMMU_RAS_STATE_SANITIZED)
		return;
	d = device_new(m, kernel.bus, kernel.dev);
	if (!d)
		return;
	d->kernel = kernel;
	d->generation = generation;
	device_fenced(d, true);
}

/* The worker is gone, whatever it did. */
static void worker_ended(struct device *d)
{
	enum recovery_input input;

	timer_stop(d);
	device_worker_close(d);
	if (!d->worker_finished && d->record.note[0] == '\0')
		set_note(d, "the worker was killed in %s",
			 d->record.step[0] ? d->record.step : "its preparations");
	if (!sysfs_device_exists(d->record.bus, d->record.dev)) {
		d->kernel.state = 0;
		if (d->record.state != RECOVERY_GONE)
			device_apply(d, INPUT_REMOVED);
	} else if (replaced(d) && d->record.state != RECOVERY_GONE) {
		device_apply(d, INPUT_REMOVED);
	}
	if (d->record.state == RECOVERY_GONE) {
		gone_ended(d);
		return;
	}

	if (d->worker_protected) {
		/* Nothing was tried. */
		d->record.attempts--;
		input = INPUT_PROTECTED;
	} else if (d->kernel.state == IOMMU_RAS_STATE_ACTIVE && !owing(d) &&
		   (!d->worker_finished || d->worker_error == 0)) {
		input = INPUT_SUCCESS;
	} else {
		if (d->worker_finished && d->worker_error == 0)
			set_note(d, "it was unfenced, and fenced again at once");
		if (!d->rule)
			find_rule(d);
		input = d->record.attempts < d->rule->attempts ? INPUT_FAILED : INPUT_EXHAUSTED;
		/* A worker that was cut off in a reset may have left no more than the rest to do.
		 */
		d->finish = !d->worker_finished && d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	}
	device_apply(d, input);
}

/* --- the state machine ----------------------------------------------------------------------- */

static int on_backoff_over(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct device *d = userdata;

	timer_stop(d);
	device_apply(d, INPUT_BACKOFF_OVER);
	return 0;
}

static void enter_state(struct device *d, enum recovery_state next)
{
	struct manager *m = d->manager;
	enum recovery_state state = d->record.state;

	if (state == next)
		return;
	if (state == RECOVERY_QUEUED)
		TAILQ_REMOVE(&m->queue, d, queue);
	if (state == RECOVERY_RUNNING)
		m->n_running--;
	if (state == RECOVERY_BACKOFF)
		timer_stop(d);
	if (next == RECOVERY_QUEUED)
		TAILQ_INSERT_TAIL(&m->queue, d, queue);
	if (next == RECOVERY_RUNNING)
		m->n_running++;
	d->record.state = next;
	d->record.since = now_usec(CLOCK_REALTIME);
	m->queue_dirty = true;
	m->status_dirty = true;
}

/* May free the device. */
static void device_apply(struct device *d, enum recovery_input input)
{
	enum recovery_state before = d->record.state;
	struct recovery_transition t = recovery_next(before, input);
	uint64_t wait;

	log_debug("%s: %s, %s: now %s", d->record.dev, recovery_state_name(before),
		  recovery_input_name(input), recovery_state_name(t.next));
	enter_state(d, t.next);
	/* A device that is well gets what it is owed, and nothing else is done to it. */
	if (t.next == RECOVERY_QUEUED && input == INPUT_UNFENCED_OWING)
		d->finish = true;
	switch (t.action) {
	case DO_NONE:
		if (t.next == before)
			return;
		break;
	case DO_QUEUE:
		break;
	case DO_START:
		start_attempt(d);
		return;
	case DO_KILL:
		worker_kill(d);
		break;
	case DO_WAIT:
		wait = rule_backoff(d->rule, d->record.attempts ? d->record.attempts : 1);
		timer_start(d, wait, on_backoff_over);
		if (input != INPUT_POSTPONED)
			report_attempt_failed(d, wait);
		break;
	case DO_CLOSE:
		report_recovered(d);
		forget_debt(d);
		break;
	case DO_RELEASE:
		forget_debt(d);
		break;
	case DO_GIVE_UP:
		if (input == INPUT_PROTECTED)
			d->record.left = LEFT_PROTECTED;
		else if (input == INPUT_EXHAUSTED)
			d->record.left = LEFT_EXHAUSTED;
		if (input == INPUT_PROTECTED)
			report_protected(d);
		else
			report_isolated(d);
		break;
	case DO_FORGET:
		state_remove(d->record.bus, d->record.dev);
		device_free(d);
		return;
	case DO_BUG:
		log_error("%s: \"%s\" cannot happen while %s; please report this", d->record.dev,
			  recovery_input_name(input), recovery_state_name(before));
		return;
	}
	/* A device that is well and has no history is not remembered. */
	if (t.next == RECOVERY_IDLE && d->record.n_recoveries == 0) {
		state_remove(d->record.bus, d->record.dev);
		device_free(d);
		return;
	}
	save(d);
}

void devices_run_queue(struct manager *m)
{
	struct device *d;
	struct device *next;

	m->queue_dirty = false;
	if (m->stopping)
		return;
	for (d = TAILQ_FIRST(&m->queue); d && m->n_running < m->policy->max_parallel; d = next) {
		struct device *other;
		bool blocked = false;

		next = TAILQ_NEXT(d, queue);
		foreach_device (other, &m->busy, busy) {
			if (devices_related(d, other)) {
				blocked = true;
				break;
			}
		}
		if (!blocked)
			device_apply(d, INPUT_TURN);
	}
}

/* --- what happens ---------------------------------------------------------------------------- */

/* @changed: it is news. What was given up is not tried again only because somebody asked. */
static void device_unfenced(struct device *d, bool changed)
{
	bool debt = owing(d);

	if (debt && !changed && d->record.state == RECOVERY_ISOLATED)
		return;
	device_apply(d, debt ? INPUT_UNFENCED_OWING : INPUT_UNFENCED);
}

static bool settled(const struct device *d)
{
	return d->record.state == RECOVERY_IDLE || d->record.state == RECOVERY_ISOLATED ||
	       d->record.state == RECOVERY_IGNORED;
}

static void device_fenced(struct device *d, bool new_fence)
{
	/* A fence that an earlier daemon had not heard of is a story of its own. */
	bool resume = d->resume && !new_fence;
	bool taken_over = d->resume;

	d->record.fence_id = d->kernel.fence_id;
	d->resume = false;
	d->finish = false;
	device_find_keys(d);
	/*
	 * During a recovery it only means that the attempt is going to fail; and a new device waits
	 * for the end of the worker that was busy with the one before it.
	 */
	if (!settled(d))
		return;
	(void)sysfs_identity(d->record.bus, d->record.dev, d->record.identity,
			     sizeof(d->record.identity));
	if (!new_fence && !taken_over && d->record.state != RECOVERY_IDLE)
		return;
	if (!resume)
		d->record.attempts = 0;
	device_apply(d, decide(d, resume));
}

void device_kernel_update(struct manager *m, enum kernel_message_type type,
			  const struct ras_device *info)
{
	struct device *d = device_find(m, info->bus, info->dev);
	bool event = type != KERNEL_DEVICE;
	uint32_t before;
	bool new_fence;

	if (type == KERNEL_REMOVED) {
		/* A reply has overtaken it: the device that is there now came later. */
		if (d && info->event_seq != 0 && info->event_seq <= d->kernel.event_seq)
			return;
		report_kernel(d, type, info);
		if (d) {
			d->kernel = *info;
			/* Whatever is there from now on, this is not about it. */
			d->kernel.state = 0;
			device_apply(d, INPUT_REMOVED);
		}
		return;
	}
	/* Its removal was lost, or is still to be heard of. */
	if (d && d->record.state != RECOVERY_GONE && replaced(d)) {
		log_notice("%s: another device is in its place", d->record.dev);
		d->kernel = (struct ras_device){0};
		device_apply(d, INPUT_REMOVED);
		d = device_find(m, info->bus, info->dev);
	}
	if (!d) {
		if (info->state == IOMMU_RAS_STATE_ACTIVE) {
			if (event)
				report_kernel(NULL, type, info);
			return;
		}
		d = device_new(m, info->bus, info->dev);
		if (!d)
			return;
	}
	/* An event that a reply contained already, or a reply that events have overtaken. */
	if (event ? info->event_seq <= d->kernel.event_seq && d->kernel.event_seq != 0
		  : info->event_seq < d->kernel.event_seq) {
		d->generation = m->generation;
		return;
	}
	before = d->kernel.state;
	d->kernel = *info;
	d->generation = m->generation;

	if (info->state == IOMMU_RAS_STATE_ACTIVE) {
		if (event || before == IOMMU_RAS_STATE_FENCED ||
		    before == IOMMU_RAS_STATE_SANITIZED)
			report_kernel(d, KERNEL_UNFENCED, info);
		device_unfenced(d, event || before != IOMMU_RAS_STATE_ACTIVE);
		return;
	}
	new_fence = info->fence_id != d->record.fence_id;
	if (new_fence)
		report_kernel(d, KERNEL_FENCED, info);
	if (info->state == IOMMU_RAS_STATE_SANITIZED && before != IOMMU_RAS_STATE_SANITIZED)
		report_kernel(d, KERNEL_SANITIZED, info);
	device_fenced(d, new_fence);
}

void device_not_in_dump(struct device *d)
{
	bool was_active = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	bool was_fenced = d->kernel.state == IOMMU_RAS_STATE_FENCED ||
			  d->kernel.state == IOMMU_RAS_STATE_SANITIZED;

	d->generation = d->manager->generation;
	d->resume = false;
	if (!sysfs_device_exists(d->record.bus, d->record.dev)) {
		if (was_fenced)
			report_kernel(d, KERNEL_REMOVED, &d->kernel);
		d->kernel.state = 0;
		device_apply(d, INPUT_REMOVED);
		return;
	}
	if (replaced(d)) {
		d->kernel.state = 0;
		device_apply(d, INPUT_REMOVED);
		return;
	}
	d->kernel.state = IOMMU_RAS_STATE_ACTIVE;
	if (was_fenced)
		report_kernel(d, KERNEL_UNFENCED, &d->kernel);
	device_find_keys(d);
	device_unfenced(d, !was_active);
}

/* A worker that is stuck in the kernel outlives its daemon. Two must not work on one device. */
static bool take_over_worker(struct device *d, pid_t pid, uint64_t start)
{
	struct manager *m = d->manager;
	int pidfd;

	if (pid <= 0 || start == 0)
		return false;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return false;
	if (process_start_time(pid) != start) {
		close(pidfd);
		return false;
	}
	d->worker = (struct worker){.pid = pid, .start = start, .pidfd = pidfd, .fd = -1};
	d->worker_finished = false;
	d->record.worker = pid;
	d->record.worker_start = start;
	TAILQ_INSERT_TAIL(&m->busy, d, busy);
	worker_kill(d);
	if (watch_worker(d) < 0)
		log_error("%s: cannot watch worker %d of an earlier daemon", d->record.dev,
			  (int)pid);
	return true;
}

void device_load(struct manager *m, const struct device_record *record, int error)
{
	struct device *d;
	enum recovery_state state = record->state;

	if (error < 0) {
		/* Only what will never be readable is of no use to anybody. */
		if (error != -EBADMSG) {
			log_error("The record of %s in /run/smmu-rasd cannot be read (%s); it is "
				  "kept, and read by the next daemon that is started",
				  record->dev, strerror(-error));
			return;
		}
		log_error(
			"The record of %s in /run/smmu-rasd cannot be read (it is damaged) and is "
			"dropped; if the device has lost its driver, bind it by hand",
			record->dev);
		state_remove(record->bus, record->dev);
		return;
	}
	d = device_new(m, record->bus, record->dev);
	if (!d)
		return;
	d->record = *record;
	d->record.state = RECOVERY_IDLE;
	d->record.worker = 0;
	d->record.next = 0;
	device_find_keys(d);
	/* Of a device that is gone nothing is owed to the one that comes after it. */
	if (state == RECOVERY_GONE || replaced(d)) {
		bool busy = take_over_worker(d, record->worker, record->worker_start);

		forget_story(d);
		if (busy) {
			device_apply(d, INPUT_LINGERING);
			device_apply(d, INPUT_REMOVED);
		} else {
			device_apply(d, INPUT_REMOVED);
		}
		return;
	}
	switch (state) {
	case RECOVERY_RUNNING:
	case RECOVERY_STUCK:
		d->resume = true;
		if (take_over_worker(d, record->worker, record->worker_start)) {
			log_warning("%s: worker %d of an earlier daemon is still busy with it",
				    record->dev, (int)record->worker);
			device_apply(d, INPUT_LINGERING);
		}
		break;
	case RECOVERY_QUEUED:
	case RECOVERY_BACKOFF:
		d->resume = true;
		break;
	case RECOVERY_ISOLATED:
	case RECOVERY_IGNORED:
		d->record.state = state;
		if (record->active)
			d->kernel.state = IOMMU_RAS_STATE_ACTIVE;
		break;
	default:
		break;
	}
}

void device_policy_changed(struct device *d)
{
	enum recovery_state state = d->record.state;
	/* What was begun counts already, for the attempts and for the rate limit. */
	bool begun = d->record.left == LEFT_PROTECTED || d->record.attempts > 0;

	/* Who has used up all attempts stays isolated until somebody looks at the device. */
	if (state != RECOVERY_IGNORED &&
	    (state != RECOVERY_ISOLATED || d->record.left == LEFT_EXHAUSTED))
		return;
	if (d->kernel.state != IOMMU_RAS_STATE_FENCED &&
	    d->kernel.state != IOMMU_RAS_STATE_SANITIZED)
		return;
	device_apply(d, decide(d, begun));
}
