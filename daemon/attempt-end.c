// SPDX-License-Identifier: GPL-2.0-or-later
/* A worker has ended: what that means for its device. */
#include <errno.h>
#include <time.h>

#include "log.h"
#include "manager.h"
#include "sysfs.h"

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

/* Is the device what it was before, as far as the kernel can say? */
static bool is_well(const struct device *d)
{
	return d->kernel.state == IOMMU_RAS_STATE_ACTIVE && !device_owed(d);
}

/* The attempt ended well, and the device was fenced anew before that could be told. */
static bool is_refenced(const struct device *d)
{
	return d->worker_finished && (d->worker_error == 0 || d->worker_refenced) &&
	       d->record.left != LEFT_OPERATOR && device_is_fenced(d) &&
	       d->kernel.fence_id != d->attempt_fence;
}

/*
 * A new fence is a story of its own: what ended well was no failure, but nothing has been recovered
 * either. It waits, since a device that wedges at once each time would otherwise never rest.
 */
static void refenced(struct device *d)
{
	enum recovery_input input;

	d->record.attempts = 0;
	d->record.last_resort = false;
	d->record.force = false;
	input = device_decide(d, false);
	if (input == INPUT_RECOVER)
		device_set_note(d, "it was unfenced, and fenced again at once");
	report_device(d, LOG_WARNING, "it was unfenced, and fenced again at once (%s)",
		      ras_reason_name(d->kernel.reason));
	device_apply(d, INPUT_REFENCED);
	if (input != INPUT_RECOVER)
		device_apply(d, input);
}

static enum recovery_input failed(struct device *d)
{
	if (d->record.left == LEFT_OPERATOR) {
		device_set_note(d, "an operator asked for it");
		return INPUT_EXHAUSTED;
	}
	if (!d->rule)
		device_find_rule(d);
	if (d->record.attempts < d->rule->attempts && !d->record.last_resort)
		return INPUT_FAILED;
	/* Who wants the device left alone does not want its last resort either. */
	if (d->record.last_resort || d->rule->n_on_exhausted_steps == 0 || d->worker_vetoed)
		return INPUT_EXHAUSTED;
	d->record.last_resort = true;
	return INPUT_LAST_RESORT;
}

/* Nothing was done for want of something, and nobody has said that nothing is to be done. */
static bool waits_again(const struct device *d)
{
	return d->postponed && d->record.left != LEFT_OPERATOR;
}

/* It was to come back, and has not, or nobody could tell the kernel's word on it. */
static bool stays_away(const struct device *d)
{
	if (!d->record.away || d->record.state == RECOVERY_GONE)
		return false;
	return device_is_away(d) || (d->kernel.state == 0 && (d->worker_finished || d->postponed) &&
				     !device_replaced(d));
}

/* What is left is to look for it again. */
static void away_ended(struct device *d, bool taken_over)
{
	d->kernel.state = 0;
	if (taken_over) {
		device_resume(d);
		return;
	}
	d->record.begun = false;
	if (d->counted && d->postponed)
		d->record.attempts--;
	device_apply(d, waits_again(d) ? INPUT_POSTPONED : failed(d));
}

void attempt_ended(struct device *d)
{
	bool taken_over = d->worker.pid > 0 && d->worker.fd < 0;
	bool finishing = d->finishing;
	enum recovery_input input;

	device_timer_stop(d);
	device_worker_close(d);
	d->finish = false;
	d->finishing = false;
	if (!d->worker_finished && d->record.note[0] == '\0') {
		device_set_note(d, "the worker was killed in %s", attempt_step(d));
		device_add_history(d, attempt_step(d), -EINTR,
				   now_usec(CLOCK_MONOTONIC) - d->step_begun, d->record.note);
	}
	if (stays_away(d)) {
		away_ended(d, taken_over);
		return;
	}
	if (!sysfs_device_exists(d->record.bus, d->record.dev)) {
		d->kernel.state = 0;
		if (d->record.state != RECOVERY_GONE)
			device_apply(d, INPUT_REMOVED);
	} else if (device_replaced(d) && d->record.state != RECOVERY_GONE) {
		device_apply(d, INPUT_REMOVED);
	}
	if (d->record.state == RECOVERY_GONE) {
		gone_ended(d);
		return;
	}

	if (d->counted && (d->postponed || d->worker_protected))
		d->record.attempts--;
	if (waits_again(d)) {
		d->finish = finishing;
		device_apply(d, INPUT_POSTPONED);
		return;
	}
	/*
	 * It was an earlier daemon's, or the device has come back and nobody lived to tell: how it
	 * is now is the kernel's to say.
	 */
	if (d->kernel.state == 0) {
		d->resume = true;
		device_apply(d, INPUT_UNKNOWN);
		manager_ask_kernel(d->manager);
		return;
	}
	if (taken_over && device_is_fenced(d)) {
		device_resume(d);
		return;
	}
	/* What is left to do is little, and belongs to this attempt. Once is enough to try. */
	if (!d->worker_finished && d->kernel.state == IOMMU_RAS_STATE_ACTIVE && !finishing) {
		d->record.begun = true;
		d->finish = true;
		device_apply(d, INPUT_INTERRUPTED);
		return;
	}
	d->record.begun = false;
	if (is_refenced(d)) {
		refenced(d);
		return;
	}
	if (d->worker_protected)
		input = INPUT_PROTECTED;
	else if (d->worker_finished && d->worker_error == 0 && is_well(d))
		input = INPUT_SUCCESS;
	else
		input = failed(d);
	/* What is left to do to it is no more than this. */
	d->finish = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	device_apply(d, input);
}
