// SPDX-License-Identifier: GPL-2.0-or-later
#include "hooks.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/pidfd.h>
#include <time.h>

#include "log.h"

/*
 * Processes at a time, and how many wait for one of them to end. Those that do not even die when
 * they are killed keep nobody waiting, up to a number at which something is very wrong.
 */
#define RUNNING_MAX 32
#define WAITING_MAX 1024
#define HUNG_MAX    256
/* The process watches its programs itself; this is for one that does not even do that. */
#define GRACE (5 * USEC_PER_SEC)

struct hook_run {
	struct manager *manager;
	struct job *job;
	struct policy *policy; /* holds the programs */
	struct worker worker;  /* .pid 0: it waits */
	sd_event_source *messages;
	sd_event_source *exit;
	sd_event_source *timer;
	bool killed;
	bool given_up; /* it does not even die; the device waits for it no longer */
	TAILQ_ENTRY(hook_run) all;
};

static void start_waiting(struct manager *m);

static void say(const struct job *job, int level, const char *format, ...) _printf_(3, 4);

/* The device may be gone, and its record with it. */
static void say(const struct job *job, int level, const char *format, ...)
{
	struct log_record record;
	char text[STATE_NOTE_SIZE + 64];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_record_init(&record, level, NULL);
	log_record_field(&record, "SMMU_RAS_DEVICE", "%s", job->dev);
	log_record_field(&record, "SMMU_RAS_RULE", "%s", job->rule);
	log_record_send(&record, "%s: hook after: %s", job->dev, text);
}

static void run_free(struct hook_run *run)
{
	struct manager *m = run->manager;

	TAILQ_REMOVE(&m->hooks, run, all);
	sd_event_source_disable_unref(run->messages);
	sd_event_source_disable_unref(run->exit);
	sd_event_source_disable_unref(run->timer);
	if (run->worker.pid) {
		if (run->given_up)
			m->n_hooks_hung--;
		else
			m->n_hooks_running--;
		close(run->worker.fd);
		close(run->worker.pidfd);
	} else {
		m->n_hooks_waiting--;
	}
	policy_unref(run->policy);
	free(run->job);
	free(run);
	/* Its device may have waited for this. */
	m->queue_dirty = true;
}

static void message_arrived(struct hook_run *run, const struct worker_message *message)
{
	if (message->report == WORKER_SAYS)
		say(run->job, message->level, "%s", message->text);
	else if (message->report != WORKER_FINISHED)
		(void)worker_go(run->worker.fd);
}

static int on_message(sd_event_source *s _unused_, int fd, uint32_t revents, void *userdata)
{
	struct hook_run *run = userdata;
	struct worker_message message;
	int r = worker_receive(fd, &message);

	if (r > 0)
		message_arrived(run, &message);
	else if (r < 0 || revents & EPOLLHUP)
		run->messages = sd_event_source_disable_unref(run->messages);
	return 0;
}

static int on_exit_of_worker(sd_event_source *s _unused_, int fd _unused_,
			     uint32_t revents _unused_, void *userdata)
{
	struct hook_run *run = userdata;
	struct manager *m = run->manager;
	struct worker_message message;

	while (worker_receive(run->worker.fd, &message) > 0)
		message_arrived(run, &message);
	run_free(run);
	start_waiting(m);
	return 0;
}

static int on_too_long(sd_event_source *s, uint64_t usec _unused_, void *userdata)
{
	struct hook_run *run = userdata;
	struct manager *m = run->manager;

	if (run->killed) {
		say(run->job, LOG_ERR,
		    "process %d cannot be killed; the device does not wait for it any longer",
		    (int)run->worker.pid);
		run->given_up = true;
		m->n_hooks_running--;
		m->n_hooks_hung++;
		m->queue_dirty = true;
		start_waiting(m);
		return 0;
	}
	run->killed = true;
	say(run->job, LOG_ERR, "process %d hangs; it is killed", (int)run->worker.pid);
	(void)pidfd_send_signal(run->worker.pidfd, SIGKILL, NULL, 0);
	(void)sd_event_source_set_time_relative(s, GRACE);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static int watch(struct hook_run *run)
{
	sd_event *event = run->manager->event;
	uint64_t limit = GRACE;
	int r;

	for (size_t i = 0; i < run->job->n_steps; i++)
		limit += job_step_limit(run->job, &run->job->steps[i]);
	r = sd_event_add_io(event, &run->messages, run->worker.fd, EPOLLIN, on_message, run);
	if (r >= 0)
		r = sd_event_add_io(event, &run->exit, run->worker.pidfd, EPOLLIN,
				    on_exit_of_worker, run);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &run->timer, CLOCK_MONOTONIC, limit,
					       limit / 16, on_too_long, run);
	return r;
}

/* Frees it when it cannot be started. */
static void start(struct hook_run *run)
{
	struct manager *m = run->manager;
	int r = m->n_hooks_hung < HUNG_MAX ? spawner_worker(&m->spawner, run->job, &run->worker)
					   : -EUSERS;

	if (r >= 0) {
		m->n_hooks_waiting--;
		m->n_hooks_running++;
		r = watch(run);
		if (r < 0) {
			/* It waits to be told to begin, so it ends at once. */
			(void)pidfd_send_signal(run->worker.pidfd, SIGKILL, NULL, 0);
		}
	} else {
		run->worker.pid = 0;
	}
	if (r < 0) {
		say(run->job, LOG_ERR, "cannot be run: %s",
		    r == -EUSERS ? "too many earlier ones cannot be killed" : strerror(-r));
		run_free(run);
	}
}

static void start_waiting(struct manager *m)
{
	struct hook_run *run;
	struct hook_run *next;

	for (run = TAILQ_FIRST(&m->hooks); run && m->n_hooks_running < RUNNING_MAX; run = next) {
		next = TAILQ_NEXT(run, all);
		if (run->worker.pid == 0)
			start(run);
	}
}

static struct job *make_job(const struct device *d, const char *result)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->hooks_only = true;
	memcpy(job->bus, d->record.bus, sizeof(job->bus));
	memcpy(job->dev, d->record.dev, sizeof(job->dev));
	memcpy(job->driver, d->record.driver, sizeof(job->driver));
	memcpy(job->slot, d->record.slot, sizeof(job->slot));
	memcpy(job->note, d->record.note, sizeof(job->note));
	str_copy(job->rule, sizeof(job->rule), d->rule->name);
	if (job->driver[0] == '\0')
		memcpy(job->driver, d->kernel.driver, sizeof(job->driver));
	job->fence_id = d->record.fence_id;
	job->reason = d->kernel.reason;
	job->attempt = d->record.attempts;
	job->attempts = d->rule->attempts;
	job->step_timeout = d->rule->step_timeout;
	job->result = result;
	for (size_t i = 0; i < d->rule->n_after; i++)
		job->steps[job->n_steps++] = hook_step(&d->rule->after[i]);
	return job;
}

void hooks_after(struct device *d, const char *result)
{
	struct manager *m = d->manager;
	struct hook_run *run;

	if (!d->rule || d->rule->n_after == 0)
		return;
	run = m->n_hooks_waiting < WAITING_MAX ? calloc(1, sizeof(*run)) : NULL;
	if (run)
		run->job = make_job(d, result);
	if (!run || !run->job) {
		free(run);
		report_device(d, LOG_ERR, "the hooks after its recovery are not run: %s",
			      m->n_hooks_waiting < WAITING_MAX ? "out of memory"
							       : "too many wait already");
		return;
	}
	run->manager = m;
	run->policy = policy_ref(d->policy);
	TAILQ_INSERT_TAIL(&m->hooks, run, all);
	m->n_hooks_waiting++;
	start_waiting(m);
}

bool hooks_busy(const struct device *d)
{
	const struct hook_run *run;

	TAILQ_FOREACH(run, &d->manager->hooks, all)
	if (!run->given_up && streq(run->job->dev, d->record.dev) &&
	    streq(run->job->bus, d->record.bus))
		return true;
	return false;
}

void hooks_stop(struct manager *m)
{
	struct hook_run *run;

	while ((run = TAILQ_FIRST(&m->hooks))) {
		/* Its programs die with it. */
		if (run->worker.pid)
			(void)pidfd_send_signal(run->worker.pidfd, SIGKILL, NULL, 0);
		run_free(run);
	}
}
