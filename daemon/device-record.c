// SPDX-License-Identifier: GPL-2.0-or-later
/* What is remembered of a device, on disk and for how long, and what is owed to it. */
#include <errno.h>
#include <stdarg.h>
#include <time.h>

#include "bus.h"
#include "log.h"
#include "manager.h"
#include "sriov.h"
#include "sysfs.h"

/* Records written in one turn of the loop. */
#define SAVE_BATCH 16
/* Before a save that failed is tried again; doubles each time. */
#define SAVE_RETRY_USEC	    USEC_PER_SEC
#define SAVE_RETRY_MAX_USEC (60 * USEC_PER_SEC)
/* How long a device that is well again is remembered where no rate limit says it. */
#define KEEP_USEC (3600 * USEC_PER_SEC)
/* So many devices can be forgotten at the same wakeup. */
#define KEEP_ACCURACY_USEC (60 * USEC_PER_SEC)

void device_set_note(struct device *d, const char *format, ...)
{
	char text[STATE_NOTE_SIZE];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* What was cut in the middle of a character could not be written as JSON. */
	str_visible(d->record.note, sizeof(d->record.note), text);
}

/* --- on disk --------------------------------------------------------------------------------- */

void device_undirty(struct device *d)
{
	struct manager *m = d->manager;

	if (d->is_unsaved)
		TAILQ_REMOVE(&m->unsaved, d, dirty);
	else if (d->is_dirty)
		TAILQ_REMOVE(&m->dirty, d, dirty);
	d->is_dirty = false;
	d->is_unsaved = false;
}

/* It waits for the next try, and is in nobody's way. */
static void set_unsaved(struct device *d)
{
	bus_device_changed(d);
	device_undirty(d);
	d->is_dirty = true;
	d->is_unsaved = true;
	TAILQ_INSERT_TAIL(&d->manager->unsaved, d, dirty);
}

static int on_save_time(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;
	struct device *d;

	if (m->save_retry) {
		TAILQ_CONCAT(&m->dirty, &m->unsaved, dirty);
		foreach_device (d, &m->dirty, dirty)
			d->is_unsaved = false;
	}
	m->save_retry = false;
	devices_save(m);
	return 0;
}

/* Without memory for a timer, the next thing that happens is when it is tried again. */
static void save_later(struct manager *m, uint64_t usec)
{
	int r;

	if (!m->save_source) {
		/* Accurate: sd-event's own quarter of a second would be one for each batch. */
		r = sd_event_add_time_relative(m->event, &m->save_source, CLOCK_MONOTONIC, usec, 1,
					       on_save_time, m);
	} else {
		r = sd_event_source_set_time_relative(m->save_source, usec);
		if (r >= 0)
			r = sd_event_source_set_enabled(m->save_source, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		log_error("Cannot set a timer: %s", strerror(-r));
}

void device_changed(struct device *d)
{
	struct manager *m = d->manager;

	bus_device_changed(d);
	if (d->is_dirty)
		return;
	d->is_dirty = true;
	TAILQ_INSERT_TAIL(&m->dirty, d, dirty);
}

/*
 * A full or read-only /run does not keep devices from being recovered: what a restarted daemon
 * would have to know is then in this one's memory only. It is said once, and so is its end.
 */
int device_save(struct device *d)
{
	struct manager *m = d->manager;
	int r;

	/* What is on disk is better: it says what was going on when the earlier daemon ended. */
	if (d->resume) {
		device_undirty(d);
		return 0;
	}
	d->record.active = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	r = state_save(&d->record);
	if (r >= 0) {
		device_undirty(d);
		if (!TAILQ_EMPTY(&m->unsaved))
			return 0;
		if (m->save_wait)
			log_notice("/run/smmu-rasd can be written again");
		m->save_wait = 0;
		return 0;
	}
	/* Who has no descriptor does not know whether there is a file system to write to. */
	if (!m->save_wait && !device_shortage(r))
		log_error("Cannot write to /run/smmu-rasd: %s. Devices are recovered all the same, "
			  "but should smmu-rasd be killed meanwhile, what it was doing to them is "
			  "not known to the one that is started next. It is tried again; see: "
			  "findmnt -T /run/smmu-rasd; df -h -i /run/smmu-rasd",
			  strerror(-r));
	if (!device_shortage(r) && !m->save_wait)
		m->save_wait = SAVE_RETRY_USEC;
	set_unsaved(d);
	return r;
}

void devices_save(struct manager *m)
{
	struct device *d;

	/* What cannot be written keeps no other record from being written. */
	for (int i = 0; i < SAVE_BATCH && (d = TAILQ_FIRST(&m->dirty)); i++)
		(void)device_save(d);
	if (!TAILQ_EMPTY(&m->dirty)) {
		m->save_retry = false;
		save_later(m, 0);
	} else if (!TAILQ_EMPTY(&m->unsaved) && !m->save_retry) {
		m->save_retry = true;
		save_later(m, m->save_wait ? m->save_wait : SAVE_RETRY_USEC);
		m->save_wait *= 2;
		if (m->save_wait > SAVE_RETRY_MAX_USEC)
			m->save_wait = SAVE_RETRY_MAX_USEC;
	}
}

void device_add_history(struct device *d, const char *step, int error, uint64_t duration,
			const char *note)
{
	struct step_result result = {.attempt = d->record.attempts,
				     .error = error,
				     .duration = duration,
				     .time = now_usec(CLOCK_REALTIME)};

	str_copy(result.step, sizeof(result.step), step);
	str_visible(result.note, sizeof(result.note), note);
	record_add_history(&d->record, &result);
	device_changed(d);
}

/* --- what is owed ---------------------------------------------------------------------------- */

void device_forget_debt(struct device *d)
{
	record_clear_debt(&d->record);
	d->record.begun = false;
	d->record.left = LEFT_NOT;
	d->record.force = false;
	d->record.last_resort = false;
	d->record.step[0] = '\0';
	d->record.note[0] = '\0';
	d->resume = false;
	d->finish = false;
	d->refences = 0;
	d->policy = policy_unref(d->policy);
	d->rule = NULL;
}

bool device_replaced(const struct device *d)
{
	char identity[SYSFS_IDENTITY_SIZE];

	if (d->record.identity[0] == '\0' ||
	    sysfs_identity(d->record.bus, d->record.dev, identity, sizeof(identity)) < 0)
		return false;
	/* A step took it away, and the kernel has found it anew. */
	if (d->record.away)
		return !sysfs_identity_same_card(identity, d->record.identity);
	return !streq(identity, d->record.identity);
}

bool device_is_away(const struct device *d)
{
	return d->record.away && !sysfs_device_exists(d->record.bus, d->record.dev);
}

void device_forget_story(struct device *d)
{
	device_forget_debt(d);
	record_clear_history(&d->record);
	d->record.attempts = 0;
	d->record.n_recoveries = 0;
	d->record.recovered_time = 0;
	d->record.fence_id = 0;
	d->record.identity[0] = '\0';
}

bool device_owed(const struct device *d)
{
	const struct device_record *record = &d->record;
	char now[RESET_METHOD_SIZE];

	if (!record->prepared || device_replaced(d))
		return false;
	if (record->driver[0]) {
		char driver[RAS_NAME_SIZE];
		int r = sysfs_link(record->bus, record->dev, "driver", driver, sizeof(driver));

		/* Who bound another one has decided what the device is for. */
		if (r == -ENOENT)
			return true;
	}
	if (sriov_owed(record->bus, record->dev, &record->vfs))
		return true;
	return record->reset_method[0] &&
	       sysfs_read(record->bus, record->dev, "reset_method", now, sizeof(now)) >= 0 &&
	       !streq(now, record->reset_method);
}

/* --- the end of a story ---------------------------------------------------------------------- */

static void drop(struct device *d)
{
	state_remove(d->record.bus, d->record.dev);
	device_free(d);
}

static bool retired(const struct device *d)
{
	return d->record.state == RECOVERY_IDLE && d->kernel.state == IOMMU_RAS_STATE_ACTIVE &&
	       d->record.keep_until != 0;
}

static void keep_timer_set(struct manager *m, uint64_t usec);

static int on_keep_time(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;
	uint64_t now = now_usec(CLOCK_BOOTTIME);
	uint64_t next = 0;
	struct device *after;

	m->keep_next = 0;
	for (struct device *d = TAILQ_FIRST(&m->devices); d; d = after) {
		after = TAILQ_NEXT(d, all);
		if (!retired(d))
			continue;
		if (d->record.keep_until <= now)
			drop(d);
		else if (next == 0 || d->record.keep_until < next)
			next = d->record.keep_until;
	}
	if (next)
		keep_timer_set(m, next);
	return 0;
}

static void keep_timer_set(struct manager *m, uint64_t usec)
{
	int r;

	if (m->keep_next && m->keep_next <= usec)
		return;
	if (!m->keep_timer) {
		r = sd_event_add_time(m->event, &m->keep_timer, CLOCK_BOOTTIME, usec,
				      KEEP_ACCURACY_USEC, on_keep_time, m);
	} else {
		r = sd_event_source_set_time(m->keep_timer, usec);
		if (r >= 0)
			r = sd_event_source_set_enabled(m->keep_timer, SD_EVENT_ONESHOT);
	}
	/* Then it is remembered for longer. */
	if (r >= 0)
		m->keep_next = usec;
}

void device_retire(struct device *d)
{
	if (d->record.n_recoveries == 0 && d->record.recovered_time == 0) {
		drop(d);
		return;
	}
	if (d->record.keep_until == 0)
		d->record.keep_until = now_usec(CLOCK_BOOTTIME) + KEEP_USEC;
	keep_timer_set(d->manager, d->record.keep_until);
	device_changed(d);
}

bool device_evict(struct manager *m)
{
	struct device *d;

	foreach_device (d, &m->devices, all) {
		if (retired(d)) {
			drop(d);
			return true;
		}
	}
	return false;
}
