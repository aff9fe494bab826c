// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-sim.h"

#include <stdarg.h>

static void apply(struct sim *sim, struct sim_device *d, enum recovery_input input);

static void tell(struct sim *sim, const struct sim_device *d, const char *what, const char *format,
		 ...) _printf_(4, 5);

static void tell(struct sim *sim, const struct sim_device *d, const char *what, const char *format,
		 ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	sim->tell(sim->now, d, what, text, sim->userdata);
}

static void set_note(struct sim_device *d, const char *format, ...) _printf_(2, 3);

static void set_note(struct sim_device *d, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(d->note, sizeof(d->note), format, ap);
	va_end(ap);
}

/* --- policy: as device-policy.c --------------------------------------------------------------- */

static void find_rule(struct sim *sim, struct sim_device *d)
{
	struct match_subject subject;

	for (enum match_key key = 0; key < _MATCH_MAX; key++)
		subject.values[key] = d->values[key];
	d->rule = policy_match(sim->policy, &subject);
	tell(sim, d, "rule", "%s (%s) says %s", d->rule->name, d->rule->origin,
	     action_name(d->rule->action));
}

static bool over_rate_limit(struct sim *sim, struct sim_device *d)
{
	unsigned int recent = 0;

	if (d->rule->rate_window == 0)
		return false;
	for (unsigned int i = 0; i < d->n_recoveries; i++)
		if (d->recoveries[i] + d->rule->rate_window > sim->now)
			recent++;
	if (recent >= d->rule->rate_count) {
		set_note(d, "rate limit: recovered %u time%s within %s already", recent,
			 recent == 1 ? "" : "s", USEC_TEXT(d->rule->rate_window));
		return true;
	}
	if (d->n_recoveries == ARRAY_SIZE(d->recoveries)) {
		memmove(d->recoveries, d->recoveries + 1,
			sizeof(d->recoveries) - sizeof(d->recoveries[0]));
		d->n_recoveries--;
	}
	d->recoveries[d->n_recoveries++] = sim->now;
	return false;
}

static enum recovery_input decide(struct sim *sim, struct sim_device *d)
{
	find_rule(sim, d);
	switch (d->rule->action) {
	case ACTION_IGNORE:
		return INPUT_IGNORE;
	case ACTION_ISOLATE:
		set_note(d, "rule %s says isolate", d->rule->name);
		return INPUT_ISOLATE;
	default:
		return over_rate_limit(sim, d) ? INPUT_ISOLATE : INPUT_RECOVER;
	}
}

/* --- the kernel ------------------------------------------------------------------------------- */

static void unfence(struct sim *sim, struct sim_device *d)
{
	d->kernel = IOMMU_RAS_STATE_ACTIVE;
	d->outage += sim->now - d->fenced_at;
	tell(sim, d, "unfenced", "by the kernel, %s after it was fenced",
	     USEC_TEXT(sim->now - d->fenced_at));
}

/* What a step that went well does to the device; NULL, or why it cannot go well. */
static const char *carry_out(struct sim *sim, struct sim_device *d, enum step_kind kind)
{
	switch (kind) {
	case STEP_UNBIND:
		d->bound = false;
		return NULL;
	case STEP_RESET:
	case STEP_SLOT_POWER_CYCLE:
		if (kind == STEP_SLOT_POWER_CYCLE)
			d->bound = d->values[MATCH_DRIVER][0];
		if (d->kernel == IOMMU_RAS_STATE_FENCED)
			d->kernel = IOMMU_RAS_STATE_SANITIZED;
		/* Its driver needs DMA when it hears of the reset. */
		if (d->bound && d->kernel == IOMMU_RAS_STATE_SANITIZED)
			unfence(sim, d);
		return NULL;
	case STEP_REATTACH:
		if (d->kernel == IOMMU_RAS_STATE_FENCED)
			return "the device was not reset since it was fenced";
		if (d->kernel == IOMMU_RAS_STATE_SANITIZED)
			unfence(sim, d);
		return NULL;
	case STEP_BIND:
		if (d->kernel == IOMMU_RAS_STATE_FENCED)
			return "no driver can be bound to a fenced device that was not reset";
		d->bound = d->values[MATCH_DRIVER][0];
		if (d->kernel == IOMMU_RAS_STATE_SANITIZED && d->bound)
			unfence(sim, d);
		return NULL;
	case STEP_VERIFY:
		if (d->kernel != IOMMU_RAS_STATE_ACTIVE)
			return "the kernel still has it fenced";
		if (!d->bound && d->values[MATCH_DRIVER][0])
			return "its driver is not bound again";
		return NULL;
	case STEP_REMOVE:
		/* What is found again is a new device, and not fenced. */
		d->bound = false;
		unfence(sim, d);
		return NULL;
	case STEP_RESCAN:
		d->bound = d->values[MATCH_DRIVER][0];
		return NULL;
	default:
		return NULL;
	}
}

/* --- attempts: as attempt.c ------------------------------------------------------------------- */

static struct sim_outcome next_outcome(struct sim_device *d, const struct step *step)
{
	/* A moment; it has to be made up, and that is how long everything takes. */
	struct sim_outcome outcome = {.takes = 100 * USEC_PER_MSEC};

	if (step->kind < _STEP_KIND_MAX && d->outcomes[step->kind].n > 0) {
		struct sim_outcomes *outcomes = &d->outcomes[step->kind];

		outcome = outcomes->outcome[outcomes->next];
		if (outcomes->next + 1 < outcomes->n)
			outcomes->next++;
	}
	if (step->kind == STEP_WAIT && outcome.takes < step->wait)
		outcome.takes = step->wait;
	return outcome;
}

/* Does policy keep the driver bound? */
static bool is_protected(const struct sim_device *d, const struct step *step)
{
	return step->kind == STEP_UNBIND && d->bound && !d->force &&
	       (d->rule->protect & d->in_use) != 0;
}

static void begin_step(struct sim *sim, struct sim_device *d)
{
	const struct step *step = &d->steps[d->step];
	uint64_t limit = step_limit(step, d->rule->step_timeout);

	d->step_begun = sim->now;
	if (is_protected(d, step)) {
		/* Found at once, and no run of the step. */
		d->outcome = (struct sim_outcome){.result = SIM_FAIL};
		d->timer = sim->now;
		return;
	}
	d->outcome = next_outcome(d, step);
	d->timer = sim->now + (d->outcome.takes < limit ? d->outcome.takes : limit);
}

static void start_attempt(struct sim *sim, struct sim_device *d)
{
	const struct rule *rule = d->rule;

	d->n_steps = 0;
	d->step = 0;
	d->note[0] = '\0';
	if (d->last_resort) {
		memcpy(d->steps, rule->on_exhausted_steps, sizeof(rule->on_exhausted_steps));
		d->n_steps = rule->n_on_exhausted_steps;
		tell(sim, d, "attempt", "all attempts failed; the last resort: %s",
		     exhausted_name(rule->on_exhausted));
	} else {
		memcpy(d->steps, rule->steps, sizeof(rule->steps));
		d->n_steps = rule->n_steps;
		d->attempts++;
		tell(sim, d, "attempt", "%u of %u begins", d->attempts, rule->attempts);
	}
	/* Nothing is a success before the kernel has said so. */
	if (d->steps[d->n_steps - 1].kind != STEP_VERIFY)
		d->steps[d->n_steps++] = (struct step){.kind = STEP_VERIFY};
	begin_step(sim, d);
}

static void attempt_failed(struct sim *sim, struct sim_device *d)
{
	enum recovery_input input = INPUT_EXHAUSTED;

	if (d->ask_isolate)
		set_note(d, "an operator asked for it");
	else if (!d->last_resort && d->attempts < d->rule->attempts)
		input = INPUT_FAILED;
	else if (!d->last_resort && d->rule->n_on_exhausted_steps > 0)
		input = INPUT_LAST_RESORT;
	d->last_resort = input == INPUT_LAST_RESORT;
	apply(sim, d, input);
}

static void step_ended(struct sim *sim, struct sim_device *d)
{
	const struct step *step = &d->steps[d->step];
	const char *name = step_name(step->kind);
	const char *took = USEC_TEXT(sim->now - d->step_begun);
	const char *why =
		d->outcome.result == SIM_OK ? carry_out(sim, d, step->kind) : "the events say so";

	if (why) {
		set_note(d, "%s: %s", name, why);
		tell(sim, d, "step", "%s failed after %s: %s", name, took, why);
		attempt_failed(sim, d);
		return;
	}
	tell(sim, d, "step", "%s done after %s", name, took);
	if (d->ask_isolate) {
		attempt_failed(sim, d);
	} else if (++d->step < d->n_steps) {
		begin_step(sim, d);
	} else {
		apply(sim, d, INPUT_SUCCESS);
	}
}

/* The timer of a device whose step runs. */
static void step_timer(struct sim *sim, struct sim_device *d)
{
	const struct step *step = &d->steps[d->step];
	uint64_t end = d->outcome.takes == USEC_INFINITY ? USEC_INFINITY
							 : d->step_begun + d->outcome.takes;

	if (is_protected(d, step)) {
		d->timer = USEC_INFINITY;
		d->attempts--;
		set_note(d, "in use, and protected by rule %s; nothing was done", d->rule->name);
		apply(sim, d, INPUT_PROTECTED);
		return;
	}
	if (sim->now < end) {
		set_note(d, "%s has not ended after %s", step_name(step->kind),
			 USEC_TEXT(sim->now - d->step_begun));
		d->timer = end;
		apply(sim, d, INPUT_STEP_TIMEOUT);
		return;
	}
	d->timer = USEC_INFINITY;
	step_ended(sim, d);
}

/* A step that had been given up has ended after all; its worker was killed. */
static void stuck_ended(struct sim *sim, struct sim_device *d)
{
	d->timer = USEC_INFINITY;
	tell(sim, d, "step", "%s came back after %s", step_name(d->steps[d->step].kind),
	     USEC_TEXT(sim->now - d->step_begun));
	if (d->outcome.result != SIM_FAIL)
		(void)carry_out(sim, d, d->steps[d->step].kind);
	attempt_failed(sim, d);
}

/* --- the state machine: as device.c ----------------------------------------------------------- */

static void forget(struct sim_device *d)
{
	d->attempts = 0;
	d->last_resort = false;
	d->ask_isolate = false;
	d->force = false;
	d->timer = USEC_INFINITY;
}

static void act(struct sim *sim, struct sim_device *d, enum recovery_action action)
{
	uint64_t wait;

	switch (action) {
	case DO_QUEUE:
		d->queued_order = ++sim->queued;
		d->timer = USEC_INFINITY;
		break;
	case DO_START:
		start_attempt(sim, d);
		break;
	case DO_KILL:
		if (d->state == RECOVERY_STUCK)
			tell(sim, d, "stuck",
			     "%s; nothing more is done before the kernel lets it go", d->note);
		break;
	case DO_WAIT:
		wait = rule_backoff(d->rule, d->attempts ? d->attempts : 1);
		d->timer = sim->now + wait;
		tell(sim, d, "backoff", "the next attempt follows in %s", USEC_TEXT(wait));
		break;
	case DO_CLOSE:
		tell(sim, d, "recovered", "in %u attempt%s, %s after it was fenced", d->attempts,
		     d->attempts == 1 ? "" : "s", USEC_TEXT(sim->now - d->fenced_at));
		d->n_recovered++;
		forget(d);
		break;
	case DO_RELEASE:
		forget(d);
		break;
	case DO_GIVE_UP:
		tell(sim, d, "isolated", "%s; it stays fenced until somebody acts", d->note);
		d->last_resort = false;
		d->ask_isolate = false;
		break;
	case DO_FORGET:
		forget(d);
		break;
	default:
		break;
	}
}

static void apply(struct sim *sim, struct sim_device *d, enum recovery_input input)
{
	struct recovery_transition t = recovery_next(d->state, input);

	if (t.next == RECOVERY_IGNORED && d->state != RECOVERY_IGNORED)
		tell(sim, d, "ignored", "it stays fenced, and nothing more is said");
	if (t.next == RECOVERY_GONE && d->state == RECOVERY_RUNNING)
		d->timer = d->outcome.takes == USEC_INFINITY ? USEC_INFINITY
							     : d->step_begun + d->outcome.takes;
	d->state = t.next;
	if (t.next == RECOVERY_ISOLATED || t.next == RECOVERY_IGNORED)
		d->timer = USEC_INFINITY;
	act(sim, d, t.action);
}

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
		apply(sim, first, INPUT_TURN);
	}
}

/* --- what happens ----------------------------------------------------------------------------- */

static void fenced(struct sim *sim, struct sim_device *d, const struct sim_event *event)
{
	for (size_t i = 0; i < _STEP_KIND_MAX; i++)
		if (event->outcomes[i].n > 0)
			d->outcomes[i] = event->outcomes[i];
	tell(sim, d, "fenced", "%s", event->reason);
	if (d->kernel == IOMMU_RAS_STATE_ACTIVE)
		d->fenced_at = sim->now;
	d->kernel = IOMMU_RAS_STATE_FENCED;
	str_copy(d->values[MATCH_REASON], sizeof(d->values[MATCH_REASON]), event->reason);
	/* During a recovery it only means that the attempt is going to fail. */
	if (d->state != RECOVERY_IDLE && d->state != RECOVERY_ISOLATED &&
	    d->state != RECOVERY_IGNORED)
		return;
	d->attempts = 0;
	apply(sim, d, decide(sim, d));
}

static void asked(struct sim *sim, struct sim_device *d, enum sim_event_type type)
{
	bool settled = d->state == RECOVERY_ISOLATED || d->state == RECOVERY_IGNORED ||
		       d->state == RECOVERY_BACKOFF;

	if (d->kernel == IOMMU_RAS_STATE_ACTIVE) {
		tell(sim, d, "refused", "it is not fenced");
		return;
	}
	if (type == SIM_ISOLATE) {
		tell(sim, d, "operator", "asks to leave it alone");
		d->ask_isolate = is_busy(d);
		set_note(d, "an operator asked for it");
		apply(sim, d, INPUT_ASK_ISOLATE);
		return;
	}
	tell(sim, d, "operator", "asks to recover it%s", type == SIM_FORCE ? ", by force" : "");
	d->force = d->force || type == SIM_FORCE;
	if (settled)
		d->attempts = 0;
	apply(sim, d, INPUT_ASK_RECOVER);
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
		unfence(sim, d);
		apply(sim, d,
		      !d->bound && d->values[MATCH_DRIVER][0] ? INPUT_UNFENCED_OWING
							      : INPUT_UNFENCED);
		break;
	case SIM_REMOVED:
		tell(sim, d, "removed", "from the system");
		d->kernel = IOMMU_RAS_STATE_ACTIVE;
		d->n_recoveries = 0;
		apply(sim, d, INPUT_REMOVED);
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
		step_timer(sim, d);
		break;
	case RECOVERY_STUCK:
		stuck_ended(sim, d);
		break;
	case RECOVERY_GONE:
		d->timer = USEC_INFINITY;
		apply(sim, d, INPUT_FAILED);
		break;
	case RECOVERY_BACKOFF:
		d->timer = USEC_INFINITY;
		apply(sim, d, INPUT_BACKOFF_OVER);
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
