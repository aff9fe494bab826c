// SPDX-License-Identifier: GPL-2.0-or-later
/* The loop of a simulation: what happens, whose turn it is, and whose time is over. */
#include "ctl-sim.h"

/* --- turns ------------------------------------------------------------------------------------ */

static bool is_busy(const struct sim_device *d)
{
	return d->state == RECOVERY_RUNNING || d->state == RECOVERY_STUCK ||
	       d->state == RECOVERY_GONE;
}

/* Functions of one device, and members of one group, take turns. */
static bool are_related(const struct sim_device *a, const struct sim_device *b)
{
	size_t len = strcspn(a->dev, ".");

	return (a->group[0] && streq(a->group, b->group)) ||
	       (strncmp(a->dev, b->dev, len) == 0 && b->dev[len] == '.');
}

static bool has_turn(const struct sim *sim, const struct sim_device *d)
{
	for (size_t i = 0; i < sim->n_devices; i++)
		if (sim->devices[i] != d && is_busy(sim->devices[i]) &&
		    are_related(sim->devices[i], d))
			return false;
	return true;
}

static void run_queue(struct sim *sim)
{
	for (;;) {
		struct sim_device *first = NULL;
		size_t running = 0;

		for (size_t i = 0; i < sim->n_devices; i++)
			running += sim->devices[i]->state == RECOVERY_RUNNING;
		if (running >= sim->policy->max_parallel)
			return;
		for (size_t i = 0; i < sim->n_devices; i++) {
			struct sim_device *d = sim->devices[i];

			if (d->state == RECOVERY_QUEUED && has_turn(sim, d) &&
			    (!first || d->queued_order < first->queued_order))
				first = d;
		}
		if (!first)
			return;
		sim_apply(sim, first, INPUT_TURN);
	}
}

/* --- what happens ----------------------------------------------------------------------------- */

static void fenced(struct sim *sim, struct sim_device *d, const struct sim_event *event)
{
	for (size_t i = 0; i < _STEP_KIND_MAX; i++)
		if (event->outcomes[i].n > 0)
			d->outcomes[i] = event->outcomes[i];
	sim_tell(sim, d, "fenced", "%s", event->reason);
	if (d->kernel == IOMMU_RAS_STATE_ACTIVE)
		d->fenced_at = sim->now;
	d->kernel = IOMMU_RAS_STATE_FENCED;
	d->finish = false;
	str_copy(d->values[MATCH_REASON], sizeof(d->values[MATCH_REASON]), event->reason);
	/* During a recovery it only means that the attempt is going to fail. */
	if (d->state != RECOVERY_IDLE && d->state != RECOVERY_ISOLATED &&
	    d->state != RECOVERY_IGNORED)
		return;
	d->attempts = 0;
	sim_apply(sim, d, sim_decide(sim, d));
}

static void asked(struct sim *sim, struct sim_device *d, enum sim_event_type type)
{
	bool settled = d->state == RECOVERY_ISOLATED || d->state == RECOVERY_IGNORED ||
		       d->state == RECOVERY_BACKOFF;

	if (d->kernel == IOMMU_RAS_STATE_ACTIVE) {
		sim_tell(sim, d, "refused", "it is not fenced");
		return;
	}
	if (type == SIM_ISOLATE) {
		sim_tell(sim, d, "operator", "asks to leave it alone");
		d->ask_isolate = is_busy(d);
		sim_note(d, "an operator asked for it");
		sim_apply(sim, d, INPUT_ASK_ISOLATE);
		return;
	}
	sim_tell(sim, d, "operator", "asks to recover it%s", type == SIM_FORCE ? ", by force" : "");
	d->force = d->force || type == SIM_FORCE;
	if (settled)
		d->attempts = 0;
	sim_apply(sim, d, INPUT_ASK_RECOVER);
}

static void happen(struct sim *sim, const struct sim_event *event)
{
	struct sim_device *d = event->device;

	switch (event->type) {
	case SIM_FENCED:
		fenced(sim, d, event);
		break;
	case SIM_UNFENCED:
		if (d->kernel == IOMMU_RAS_STATE_ACTIVE)
			break;
		sim_unfence(sim, d);
		sim_apply(sim, d,
			  !d->bound && d->values[MATCH_DRIVER][0] ? INPUT_UNFENCED_OWING
								  : INPUT_UNFENCED);
		break;
	case SIM_REMOVED:
		sim_tell(sim, d, "removed", "from the system");
		d->kernel = IOMMU_RAS_STATE_ACTIVE;
		d->n_recoveries = 0;
		sim_apply(sim, d, INPUT_REMOVED);
		break;
	default:
		asked(sim, d, event->type);
		break;
	}
}

static void timer_over(struct sim *sim, struct sim_device *d)
{
	switch (d->state) {
	case RECOVERY_RUNNING:
		sim_step_timer(sim, d);
		break;
	case RECOVERY_STUCK:
		sim_stuck_ended(sim, d);
		break;
	case RECOVERY_GONE:
		d->timer = USEC_INFINITY;
		sim_apply(sim, d, INPUT_FAILED);
		break;
	case RECOVERY_BACKOFF:
		d->timer = USEC_INFINITY;
		sim_apply(sim, d, INPUT_BACKOFF_OVER);
		break;
	default:
		d->timer = USEC_INFINITY;
		break;
	}
}

void sim_run(struct sim *sim)
{
	for (;;) {
		struct sim_device *next = NULL;
		uint64_t at = USEC_INFINITY;

		run_queue(sim);
		for (size_t i = 0; i < sim->n_devices; i++) {
			if (sim->devices[i]->timer < at) {
				next = sim->devices[i];
				at = next->timer;
			}
		}
		if (sim->next_event < sim->n_events && sim->events[sim->next_event].at <= at) {
			const struct sim_event *event = &sim->events[sim->next_event++];

			sim->now = event->at;
			happen(sim, event);
		} else if (next) {
			sim->now = at;
			timer_over(sim, next);
		} else {
			return;
		}
	}
}
