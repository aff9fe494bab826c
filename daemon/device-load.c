// SPDX-License-Identifier: GPL-2.0-or-later
/* Taking over from an earlier daemon, which was stopped or killed at any point. */
#include <errno.h>
#include <sys/pidfd.h>
#include <time.h>

#include "log.h"
#include "manager.h"

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
	d->attempt_fence = d->record.fence_id;
	/* How long it has been at it already was not written. */
	d->step_begun = now_usec(CLOCK_MONOTONIC);
	TAILQ_INSERT_TAIL(&m->busy, d, busy);
	attempt_kill(d);
	if (attempt_watch(d) < 0)
		report_device(d, LOG_ERR, "cannot watch worker %d of an earlier daemon", (int)pid);
	return true;
}

/*
 * It is set aside: this daemon is going to write records of its own, and what is in the bad one may
 * be all that is known about a driver that was unbound.
 */
static void bad_record(struct manager *m, const struct device_record *record, int error)
{
	int r;

	/* Nothing is wrong with the file; systemd starts us again. */
	if (device_shortage(error)) {
		m->load_error = error;
		return;
	}
	r = state_set_aside(record->bus, record->dev);
	log_error(
		"The record of %s in /run/smmu-rasd cannot be read (%s); it %s "
		"devices/%s@%s.json.bad there. If the device has lost its driver, bind it by hand",
		record->dev, error == -EBADMSG ? "it is damaged" : strerror(-error),
		r < 0 ? "could not be kept as" : "is kept as", record->bus, record->dev);
}

void device_load(struct manager *m, const struct device_record *record, int error)
{
	struct device *d;
	enum recovery_state state = record->state;

	if (error < 0) {
		bad_record(m, record, error);
		return;
	}
	d = device_new(m, record->bus, record->dev);
	if (!d) {
		free(record->history);
		return;
	}
	d->record = *record;
	d->record.state = RECOVERY_IDLE;
	d->record.worker = 0;
	d->record.next = 0;
	/* It was counted before its worker began; or else it began before it was written so. */
	if (state == RECOVERY_RUNNING && !record->begun && !record->last_resort &&
	    record->attempts > 0)
		d->record.attempts--;
	device_find_keys(d);
	/* Of a device that is gone nothing is owed to the one that comes after it. */
	if (state == RECOVERY_GONE || device_replaced(d)) {
		bool busy = take_over_worker(d, record->worker, record->worker_start);

		device_forget_story(d);
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
			report_device(d, LOG_WARNING,
				      "worker %d of an earlier daemon is still busy with it",
				      (int)record->worker);
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
		/* Who has used up its attempts, or whom an operator wants left alone, stays. */
		d->redecide = record->left == LEFT_POLICY || record->left == LEFT_RATE ||
			      record->left == LEFT_PROTECTED;
		if (record->active)
			d->kernel.state = IOMMU_RAS_STATE_ACTIVE;
		break;
	default:
		break;
	}
}
