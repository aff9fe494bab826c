// SPDX-License-Identifier: GPL-2.0-or-later
/* Inputs take a device to its next state, and actions are carried out. */
#include <errno.h>
#include <time.h>

#include "bus.h"
#include "hooks.h"
#include "log.h"
#include "manager.h"
#include "sysfs.h"

void device_timer_stop(struct device *d)
{
	d->timer = sd_event_source_disable_unref(d->timer);
	d->record.next = 0;
}

void device_timer_start(struct device *d, uint64_t usec, sd_event_time_handler_t handler)
{
	int r;

	device_timer_stop(d);
	/* sd-event's own accuracy is a quarter of a second, which is long for a short wait. */
	r = sd_event_add_time_relative(d->manager->event, &d->timer, CLOCK_MONOTONIC, usec,
				       usec / 16 + 1, handler, d);
	/* Only memory can be short; without a limit the step just has none. */
	if (r < 0)
		report_device(d, LOG_ERR, "cannot set a timer: %s", strerror(-r));
	d->record.next = now_usec(CLOCK_REALTIME) + usec;
}

bool device_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EAGAIN;
}

static int on_backoff_over(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct device *d = userdata;

	device_timer_stop(d);
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
		device_timer_stop(d);
	if (next == RECOVERY_QUEUED)
		TAILQ_INSERT_TAIL(&m->queue, d, queue);
	if (next == RECOVERY_RUNNING)
		m->n_running++;
	d->record.state = next;
	d->record.since = now_usec(CLOCK_REALTIME);
	m->queue_dirty = true;
	m->status_dirty = true;
	device_changed(d);
}

/*
 * A driver that was told of the fence (nvme, virtio-blk) keeps what it was asked for until somebody
 * resets the device, and nobody else says why programs hang.
 */
static void note_who_waits(struct device *d)
{
	char driver[RAS_NAME_SIZE];
	char why[STATE_NOTE_SIZE];

	if (d->record.functions.block == 0 || !device_is_fenced(d) ||
	    sysfs_link(d->record.bus, d->record.dev, "driver", driver, sizeof(driver)) < 0)
		return;
	memcpy(why, d->record.note, sizeof(why));
	device_set_note(
		d, "%.160s; whoever uses its disk may wait until it is reset, or %s is unbound",
		why, driver);
}

/* Who is asked about it at night finds it nowhere else any more. */
static void remember_gone(struct device *d)
{
	/* One that is well again, or that is not the one that was removed, is no loss. */
	if (d->record.state == RECOVERY_GONE ||
	    (d->record.state == RECOVERY_IDLE && !d->resume && !device_is_fenced(d)))
		return;
	d->record.active = d->kernel.state == IOMMU_RAS_STATE_ACTIVE;
	gone_remember(&d->manager->gone, &d->record, d->kernel.driver, d->kernel.reason);
}

/* Was it a last resort that has taken the device away? Its worker has no time to tell the end. */
static bool was_taken_out(const struct device *d)
{
	return d->record.last_resort && d->rule && d->rule->on_exhausted == EXHAUSTED_REMOVE &&
	       streq(d->record.step, step_name(STEP_REMOVE));
}

void device_apply(struct device *d, enum recovery_input input)
{
	enum recovery_state before = d->record.state;
	struct recovery_transition t = recovery_next(before, input);
	uint64_t wait;

	log_debug("%s: %s, %s: now %s", d->record.dev, recovery_state_name(before),
		  recovery_input_name(input), recovery_state_name(t.next));
	if (input == INPUT_REMOVED)
		remember_gone(d);
	enter_state(d, t.next);
	if (t.next == RECOVERY_GONE && before != RECOVERY_GONE && was_taken_out(d))
		report_taken_out(d);
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
		attempt_start(d);
		return;
	case DO_KILL:
		attempt_kill(d);
		break;
	case DO_WAIT:
		if (input == INPUT_REFENCED)
			wait = rule_backoff(d->rule, ++d->refences);
		else
			wait = rule_backoff(d->rule, d->record.attempts ? d->record.attempts : 1);
		device_timer_start(d, wait, on_backoff_over);
		if (input == INPUT_FAILED)
			report_attempt_failed(d, wait);
		break;
	case DO_CLOSE:
		report_recovered(d);
		hooks_after(d, "recovered");
		device_forget_debt(d);
		d->record.recovered_time = now_usec(CLOCK_REALTIME);
		break;
	case DO_RELEASE:
		/* Who was told that a recovery begins, or has failed, wants to hear its end. */
		if (d->record.attempts > 0)
			hooks_after(d, "unfenced");
		device_forget_debt(d);
		d->record.attempts = 0;
		break;
	case DO_GIVE_UP:
		if (input == INPUT_PROTECTED)
			d->record.left = LEFT_PROTECTED;
		else if (input == INPUT_EXHAUSTED && d->record.left != LEFT_OPERATOR)
			d->record.left = LEFT_EXHAUSTED;
		note_who_waits(d);
		if (input == INPUT_PROTECTED)
			report_protected(d);
		else
			report_isolated(d);
		hooks_after(d, input == INPUT_PROTECTED ? "protected" : "isolated");
		break;
	case DO_IGNORE:
		report_ignored(d);
		break;
	case DO_RESUME:
		return;
	case DO_FORGET:
		if (d->record.attempts > 0)
			hooks_after(d, "gone");
		state_remove(d->record.bus, d->record.dev);
		device_free(d);
		return;
	case DO_BUG:
		report_device(d, LOG_ERR, "\"%s\" cannot happen while %s; please report this",
			      recovery_input_name(input), recovery_state_name(before));
		return;
	}
	if (t.next == RECOVERY_IDLE)
		device_retire(d);
	else
		device_changed(d);
}

/*
 * A virtual function is of no use while its physical function is fenced, and is likely to be gone
 * when that one's driver is unbound: it waits for the end of that story.
 */
static struct device *waits_for(const struct device *d)
{
	struct manager *m = d->manager;
	struct device *other;

	if (d->physfn[0]) {
		other = device_find(m, d->record.bus, d->physfn);
		if (other && !device_settled(other))
			return other;
	}
	foreach_device (other, &m->busy, busy)
		if (devices_related(d, other))
			return other;
	return NULL;
}

void devices_run_queue(struct manager *m)
{
	struct device *d;
	struct device *next;

	m->queue_dirty = false;
	if (m->stopping)
		return;
	for (d = TAILQ_FIRST(&m->queue); d && m->n_running < m->policy->max_parallel; d = next) {
		const struct device *other = waits_for(d);

		next = TAILQ_NEXT(d, queue);
		if (!other && hooks_busy(d)) {
			if (d->record.note[0] == '\0') {
				device_set_note(d, "waits for the hooks of its last recovery");
				device_changed(d);
			}
		} else if (!other) {
			device_apply(d, INPUT_TURN);
		} else if (d->record.note[0] == '\0') {
			device_set_note(d, "waits for %s", other->record.dev);
			device_changed(d);
		}
	}
}

bool device_settled(const struct device *d)
{
	return d->record.state == RECOVERY_IDLE || d->record.state == RECOVERY_ISOLATED ||
	       d->record.state == RECOVERY_IGNORED;
}

bool device_is_fenced(const struct device *d)
{
	return d->kernel.state == IOMMU_RAS_STATE_FENCED ||
	       d->kernel.state == IOMMU_RAS_STATE_SANITIZED;
}
