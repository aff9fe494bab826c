// SPDX-License-Identifier: GPL-2.0-or-later
/* One attempt: a worker, from its start to its end. */
#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>

#include "log.h"
#include "manager.h"

void attempt_kill(struct device *d)
{
	/* In the middle of a sysfs write it ends when the kernel lets it, which may be never. */
	if (d->worker.pidfd >= 0)
		(void)pidfd_send_signal(d->worker.pidfd, SIGKILL, NULL, 0);
}

const char *attempt_step(const struct device *d)
{
	return d->record.step[0] ? d->record.step : "preparations";
}

static int on_step_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct device *d = userdata;

	device_timer_stop(d);
	device_set_note(d, "%s %s not ended after %s", attempt_step(d),
			d->record.step[0] ? "has" : "have", USEC_TEXT(d->step_limit));
	device_add_history(d, attempt_step(d), -ETIMEDOUT, d->step_limit,
			   "it has not ended; its worker hangs in the kernel");
	report_stuck(d);
	device_apply(d, INPUT_STEP_TIMEOUT);
	return 0;
}

static void watch_step(struct device *d, const char *name, uint64_t limit)
{
	str_copy(d->record.step, sizeof(d->record.step), name);
	d->step_begun = now_usec(CLOCK_MONOTONIC);
	d->step_limit = limit;
	device_timer_start(d, limit, on_step_timeout);
	device_changed(d);
}

/*
 * From a step that takes the device out of the system on, what comes to its place may be the same
 * one. That has to be on disk before the step begins. Returns 0 or -errno of device_save().
 */
static int before_step(struct device *d, size_t i)
{
	if (d->record.away || !steps_bring_back(d->job->steps + i, d->job->n_steps - i))
		return 0;
	d->record.away = true;
	return device_save(d);
}

static void begin_step(struct device *d, size_t i)
{
	const struct step *step = &d->job->steps[i];

	watch_step(d, step_name(step->kind), job_step_limit(d->job, step));
}

/* What the attempt has found out is forgotten: it has not begun. */
static void postpone(struct device *d, const char *why, int r)
{
	device_set_note(d, "%s: %s", why, strerror(-r));
	report_device(d, LOG_ERR, "%s; nothing was done to the device", d->record.note);
	d->postponed = true;
	d->record.begun = false;
	d->record.prepared = d->prepared_before;
	if (!d->record.prepared)
		record_clear_debt(&d->record);
}

/*
 * The worker knows what it will have to put back, and waits. Only when that is on disk may it
 * begin: a daemon that is killed from here on finds everything when it comes back.
 */
static void worker_prepared(struct device *d, const struct worker_message *message)
{
	struct device_record *record = &d->record;
	int r;

	/* An operator has asked for it to be left alone meanwhile: nothing has been done to it. */
	if (record->left == LEFT_OPERATOR) {
		record->begun = false;
		attempt_kill(d);
		return;
	}
	record->prepared = true;
	record->begun = true;
	memcpy(record->driver, message->driver, sizeof(record->driver));
	memcpy(record->driver_override, message->driver_override, sizeof(record->driver_override));
	memcpy(record->reset_method, message->reset_method, sizeof(record->reset_method));
	record->functions = message->functions;
	record->vfs = message->vfs;
	memcpy(record->slot, message->slot, sizeof(record->slot));
	if (steps_bring_back(d->job->steps, d->job->n_steps))
		record->away = true;
	begin_step(d, 0);
	r = device_save(d);
	if (device_shortage(r)) {
		postpone(d, "cannot record in /run/smmu-rasd what has to be undone", r);
		attempt_kill(d);
		return;
	}
	/* Should it be dead, its pidfd says so. */
	(void)worker_go(d->worker.fd);
}

static void worker_step_end(struct device *d, const struct worker_message *message, bool stuck)
{
	bool more = message->error >= 0 && message->step + 1 < d->job->n_steps && !stuck;
	const char *name = step_name(d->job->steps[message->step].kind);

	if (message->identity[0])
		memcpy(d->record.identity, message->identity, sizeof(d->record.identity));
	/* An operator has asked for it to be left alone; it waits for us, and does nothing more. */
	if (more && d->record.left == LEFT_OPERATOR) {
		more = false;
		attempt_kill(d);
	}
	if (more && device_shortage(before_step(d, message->step + 1))) {
		device_set_note(d, "cannot record in /run/smmu-rasd that it is taken away");
		more = false;
		attempt_kill(d);
	}
	/*
	 * It waits for us so that the story is told in its order: what the kernel said about this
	 * step has been read by now. It should not wait for the telling. Should it be dead, its
	 * pidfd says so.
	 */
	if (more)
		(void)worker_go(d->worker.fd);
	device_timer_stop(d);
	if (message->error < 0 && d->record.left != LEFT_OPERATOR)
		device_set_note(d, "%s: %s", name, message->text);
	device_add_history(d, name, message->error, message->duration, message->text);
	/* The step that policy stopped is told of once, with what to do about it. */
	if (!message->protected)
		report_step(d, message);
	if (more)
		begin_step(d, message->step + 1);
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
	case WORKER_SAYS:
		report_device(d, message->level, "%s: %s", attempt_step(d), message->text);
		break;
	case WORKER_STEP_END:
		if (message->step < d->job->n_steps)
			worker_step_end(d, message, stuck);
		break;
	case WORKER_FINISHED:
		device_timer_stop(d);
		d->worker_finished = true;
		d->worker_error = message->error;
		d->worker_protected = message->protected;
		d->worker_refenced = message->refenced;
		d->worker_vetoed = message->vetoed;
		if (message->error < 0 && d->record.step[0] == '\0')
			device_set_note(d, "%s", message->text);
		if (message->protected)
			device_set_note(d, "%s", message->text);
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

static int on_worker_exit(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
			  void *userdata)
{
	struct device *d = userdata;
	struct worker_message message;

	/* What it said last may still be in the socket. */
	while (d->worker.fd >= 0 && worker_receive(d->worker.fd, &message) > 0)
		worker_message_arrived(d, &message);
	attempt_ended(d);
	return 0;
}

int attempt_watch(struct device *d)
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
	job->fence_id = record->fence_id;
	job->reset_methods = d->rule->reset_methods;
	job->protect = record->force ? 0 : d->rule->protect;
	job->step_timeout = d->rule->step_timeout;
	str_copy(job->rule, sizeof(job->rule), d->rule->name);
	job->reason = d->kernel.reason;
	job->attempt = record->attempts;
	job->attempts = d->rule->attempts;
	if (d->finish) {
		job->steps[job->n_steps++] = rule_step(d->rule, STEP_BIND);
	} else if (record->last_resort) {
		job->n_steps = d->rule->n_on_exhausted_steps;
		memcpy(job->steps, d->rule->on_exhausted_steps,
		       sizeof(d->rule->on_exhausted_steps));
	} else {
		for (size_t i = 0; i < d->rule->n_before; i++)
			job->steps[job->n_steps++] = hook_step(&d->rule->before[i]);
		memcpy(job->steps + job->n_steps, d->rule->steps, sizeof(d->rule->steps));
		job->n_steps += d->rule->n_steps;
	}
	/* Nothing is a success before the kernel has said so. */
	if (job->steps[job->n_steps - 1].kind != STEP_VERIFY)
		job->steps[job->n_steps++] = rule_step(d->rule, STEP_VERIFY);
	job->prepared = record->prepared;
	memcpy(job->driver, record->driver, sizeof(job->driver));
	memcpy(job->driver_override, record->driver_override, sizeof(job->driver_override));
	memcpy(job->reset_method, record->reset_method, sizeof(job->reset_method));
	job->functions = record->functions;
	job->vfs = record->vfs;
	memcpy(job->slot, record->slot, sizeof(job->slot));
	job->away = record->away;
	return job;
}

void attempt_start(struct device *d)
{
	struct manager *m = d->manager;
	int r;

	if (!d->rule)
		device_find_rule(d);
	/* The rest of an attempt that was cut off is no attempt of its own. */
	d->finishing = d->finish;
	d->counted = (!d->finish || !d->record.begun) && !d->record.last_resort;
	if (d->counted)
		d->record.attempts++;
	d->attempt_fence = d->record.fence_id;
	d->prepared_before = d->record.prepared;
	d->postponed = false;
	d->record.left = LEFT_NOT;
	d->record.step[0] = '\0';
	d->record.note[0] = '\0';
	d->worker_finished = false;
	d->worker_protected = false;
	d->worker_refenced = false;
	d->worker_vetoed = false;
	d->worker_error = 0;
	d->job = make_job(d);
	r = d->job ? spawner_worker(&m->spawner, d->job, &d->worker) : -ENOMEM;
	if (device_shortage(r)) {
		postpone(d, "cannot start a worker", r);
		attempt_ended(d);
		return;
	}
	if (r < 0) {
		device_set_note(d, "cannot start a worker: %s", strerror(-r));
		report_device(d, LOG_ERR, "%s", d->record.note);
		attempt_ended(d);
		return;
	}
	TAILQ_INSERT_TAIL(&m->busy, d, busy);
	d->record.worker = d->worker.pid;
	d->record.worker_start = d->worker.start;
	if (d->record.last_resort && !d->finishing)
		report_device(d, LOG_WARNING,
			      "its %u attempt%s failed; now on_exhausted of rule %s",
			      d->record.attempts, d->record.attempts == 1 ? " has" : "s have",
			      d->rule->name);
	else
		report_begun(d);
	watch_step(d, "", d->rule->step_timeout);
	r = attempt_watch(d);
	if (r < 0) {
		/* It has not begun, and never will. */
		postpone(d, "cannot watch the worker", r);
		attempt_kill(d);
		attempt_ended(d);
	}
}
