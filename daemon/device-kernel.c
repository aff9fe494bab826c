// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel says about devices becomes an input of their state machines. */
#include <time.h>

#include "bus.h"
#include "log.h"
#include "manager.h"
#include "sysfs.h"

/* @changed: it is news. What was given up is not tried again only because somebody asked. */
static void device_unfenced(struct device *d, bool changed)
{
	/* Cut off with its daemon: whether the device works has been verified by nobody. */
	bool interrupted = d->resume && d->record.begun;
	/* What was out of the system has lost all that was written into sysfs. */
	bool debt = interrupted || d->record.away || device_owed(d);

	d->resume = false;
	if (!changed && (d->record.state == RECOVERY_IDLE || d->record.state == RECOVERY_ISOLATED))
		return;
	device_apply(d, debt ? INPUT_UNFENCED_OWING : INPUT_UNFENCED);
}

void device_fenced(struct device *d, bool new_fence)
{
	/* A fence that an earlier daemon had not heard of is a story of its own. */
	bool resume = d->resume && !new_fence;
	bool taken_over = d->resume;
	bool redecide = d->redecide && !new_fence;

	/* Also where nothing else follows from it: the end of the one before was lost. */
	if (new_fence)
		device_changed(d);
	d->record.fence_id = d->kernel.fence_id;
	d->resume = false;
	d->finish = false;
	d->redecide = false;
	/*
	 * During a recovery it only means that the attempt is going to fail; and a new device waits
	 * for the end of the worker that was busy with the one before it.
	 */
	if (!device_settled(d))
		return;
	/* The policy may have changed with the daemon. */
	if (redecide) {
		device_policy_changed(d);
		return;
	}
	if (!new_fence && !taken_over && d->record.state != RECOVERY_IDLE)
		return;
	device_find_keys(d);
	(void)sysfs_identity(d->record.bus, d->record.dev, d->record.identity,
			     sizeof(d->record.identity));
	if (!resume) {
		d->record.attempts = 0;
		d->record.force = false;
		d->record.last_resort = false;
		record_clear_history(&d->record);
	}
	device_apply(d, device_decide(d, resume));
}

void device_kernel_update(struct manager *m, enum kernel_message_type type,
			  const struct ras_device *info)
{
	struct device *d = device_find(m, info->bus, info->dev);
	bool event = type != KERNEL_DEVICE;
	uint64_t fence_time;
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
			/* Our own doing: it is to come back, and then nothing is old news. */
			if (d->record.away && !device_settled(d)) {
				d->kernel.event_seq = 0;
				device_changed(d);
				return;
			}
			device_apply(d, INPUT_REMOVED);
		}
		return;
	}
	/*
	 * Its removal was lost, or is still to be heard of. What is told without a gap cannot be
	 * about another device that has not been fenced first.
	 */
	if (d && (!event || type == KERNEL_FENCED || m->dumping) &&
	    d->record.state != RECOVERY_GONE && device_replaced(d)) {
		report_device(d, LOG_NOTICE, "another device is in its place");
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
		if (!event)
			d->listed = m->generation;
		return;
	}
	before = d->kernel.state;
	fence_time = d->kernel.fence_time;
	d->kernel = *info;
	/* To the kernel it is a new one, that was never fenced. */
	if (d->record.away && info->fence_time == 0)
		d->kernel.fence_time = fence_time;
	d->generation = m->generation;
	if (!event)
		d->listed = m->generation;
	bus_device_changed(d);

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

void device_resume(struct device *d)
{
	device_apply(d, INPUT_UNKNOWN);
	d->resume = true;
	if (device_is_fenced(d)) {
		device_fenced(d, d->kernel.fence_id != d->attempt_fence);
		return;
	}
	d->resume = false;
	device_find_keys(d);
	device_apply(d, device_decide(d, true));
}

/*
 * A device that a step took away is in no dump, and still has to be looked for, also by the next
 * daemon. Returns false when nobody is going to.
 */
static bool device_away_in_dump(struct device *d)
{
	if (!device_settled(d))
		return true;
	if (!d->resume)
		return false;
	d->resume = false;
	device_find_keys(d);
	device_apply(d, device_decide(d, true));
	return true;
}

void device_not_in_dump(struct device *d)
{
	bool was_active = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	bool was_fenced = device_is_fenced(d);

	d->generation = d->manager->generation;
	if (device_is_away(d)) {
		d->kernel.state = 0;
		if (device_away_in_dump(d))
			return;
	}
	if (!sysfs_device_exists(d->record.bus, d->record.dev)) {
		if (was_fenced)
			report_kernel(d, KERNEL_REMOVED, &d->kernel);
		d->kernel.state = 0;
		device_apply(d, INPUT_REMOVED);
		return;
	}
	if (device_replaced(d)) {
		d->kernel.state = 0;
		device_apply(d, INPUT_REMOVED);
		return;
	}
	d->kernel.state = IOMMU_RAS_STATE_ACTIVE;
	if (was_fenced)
		report_kernel(d, KERNEL_UNFENCED, &d->kernel);
	bus_device_changed(d);
	device_unfenced(d, !was_active);
}
