// SPDX-License-Identifier: GPL-2.0-or-later
/* One device of a simulation: its rule, what steps do to it, and its way through recovery.c. */
#include "ctl-sim.h"

#include <stdarg.h>

void sim_tell(struct sim *sim, const struct sim_device *d, const char *what, const char *format,
	      ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	sim->tell(sim->now, d, what, text, sim->userdata);
}

void sim_note(struct sim_device *d, const char *format, ...)
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
	sim_tell(sim, d, "rule", "%s (%s) says %s", d->rule->name, d->rule->origin,
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
		sim_note(d, "rate limit: recovered %u time%s within %s already", recent,
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

enum recovery_input sim_decide(struct sim *sim, struct sim_device *d)
{
	find_rule(sim, d);
	switch (d->rule->action) {
	case ACTION_IGNORE:
		return INPUT_IGNORE;
	case ACTION_ISOLATE:
		sim_note(d, "rule %s says isolate", d->rule->name);
		return INPUT_ISOLATE;
	default:
		return over_rate_limit(sim, d) ? INPUT_ISOLATE : INPUT_RECOVER;
	}
}

/* --- the kernel ------------------------------------------------------------------------------- */

void sim_unfence(struct sim *sim, struct sim_device *d)
{
	d->kernel = IOMMU_RAS_STATE_ACTIVE;
	d->outage += sim->now - d->fenced_at;
	sim_tell(sim, d, "unfenced", "by the kernel, %s after it was fenced",
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
			sim_unfence(sim, d);
		return NULL;
	case STEP_REATTACH:
		if (d->kernel == IOMMU_RAS_STATE_FENCED)
			return "the device was not reset since it was fenced";
		if (d->kernel == IOMMU_RAS_STATE_SANITIZED)
			sim_unfence(sim, d);
		return NULL;
	case STEP_BIND:
		if (d->kernel == IOMMU_RAS_STATE_FENCED)
			return "no driver can be bound to a fenced device that was not reset";
		d->bound = d->values[MATCH_DRIVER][0];
		if (d->kernel == IOMMU_RAS_STATE_SANITIZED && d->bound)
			sim_unfence(sim, d);
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
		sim_unfence(sim, d);
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
	if (d->finish) {
		d->steps[d->n_steps++] = rule_step(rule, STEP_BIND);
		sim_tell(sim, d, "attempt", "the rest of it: it is not fenced any more");
	} else if (d->last_resort) {
		memcpy(d->steps, rule->on_exhausted_steps, sizeof(rule->on_exhausted_steps));
		d->n_steps = rule->n_on_exhausted_steps;
		sim_tell(sim, d, "attempt", "all attempts failed; the last resort: %s",
			 exhausted_name(rule->on_exhausted));
	} else {
		memcpy(d->steps, rule->steps, sizeof(rule->steps));
		d->n_steps = rule->n_steps;
		d->attempts++;
		sim_tell(sim, d, "attempt", "%u of %u begins", d->attempts, rule->attempts);
	}
	/* Nothing is a success before the kernel has said so. */
	if (d->steps[d->n_steps - 1].kind != STEP_VERIFY)
		d->steps[d->n_steps++] = rule_step(rule, STEP_VERIFY);
	begin_step(sim, d);
}

static void attempt_failed(struct sim *sim, struct sim_device *d)
{
	enum recovery_input input = INPUT_EXHAUSTED;

	if (d->ask_isolate)
		sim_note(d, "an operator asked for it");
	else if (!d->last_resort && d->attempts < d->rule->attempts)
		input = INPUT_FAILED;
	else if (!d->last_resort && d->rule->n_on_exhausted_steps > 0)
		input = INPUT_LAST_RESORT;
	d->last_resort = input == INPUT_LAST_RESORT;
	sim_apply(sim, d, input);
}

static void step_ended(struct sim *sim, struct sim_device *d)
{
	const struct step *step = &d->steps[d->step];
	const char *name = step_name(step->kind);
	const char *took = USEC_TEXT(sim->now - d->step_begun);
	const char *why =
		d->outcome.result == SIM_OK ? carry_out(sim, d, step->kind) : "the events say so";

	if (why) {
		sim_note(d, "%s: %s", name, why);
		sim_tell(sim, d, "step", "%s failed after %s: %s", name, took, why);
		attempt_failed(sim, d);
		return;
	}
	sim_tell(sim, d, "step", "%s done after %s", name, took);
	if (d->ask_isolate) {
		attempt_failed(sim, d);
	} else if (++d->step < d->n_steps) {
		begin_step(sim, d);
	} else {
		sim_apply(sim, d, INPUT_SUCCESS);
	}
}

/* The timer of a device whose step runs. */
void sim_step_timer(struct sim *sim, struct sim_device *d)
{
	const struct step *step = &d->steps[d->step];
	uint64_t end = d->outcome.takes == USEC_INFINITY ? USEC_INFINITY
							 : d->step_begun + d->outcome.takes;

	if (is_protected(d, step)) {
		d->timer = USEC_INFINITY;
		d->attempts--;
		sim_note(d, "in use, and protected by rule %s; nothing was done", d->rule->name);
		sim_apply(sim, d, INPUT_PROTECTED);
		return;
	}
	if (sim->now < end) {
		sim_note(d, "%s has not ended after %s", step_name(step->kind),
			 USEC_TEXT(sim->now - d->step_begun));
		d->timer = end;
		sim_apply(sim, d, INPUT_STEP_TIMEOUT);
		return;
	}
	d->timer = USEC_INFINITY;
	step_ended(sim, d);
}

/* A step that had been given up has ended after all; its worker was killed. */
void sim_stuck_ended(struct sim *sim, struct sim_device *d)
{
	const char *why = "the events say so";

	d->timer = USEC_INFINITY;
	sim_tell(sim, d, "step", "%s came back after %s", step_name(d->steps[d->step].kind),
		 USEC_TEXT(sim->now - d->step_begun));
	if (d->outcome.result != SIM_FAIL)
		why = carry_out(sim, d, d->steps[d->step].kind);
	/* Cut off, and not needed any more: what is left is no attempt of its own. */
	if (!why && !d->ask_isolate && d->kernel == IOMMU_RAS_STATE_ACTIVE)
		sim_apply(sim, d, INPUT_INTERRUPTED);
	else
		attempt_failed(sim, d);
}

/* --- the state machine: as device.c ----------------------------------------------------------- */

static void forget(struct sim_device *d)
{
	d->attempts = 0;
	d->last_resort = false;
	d->ask_isolate = false;
	d->force = false;
	d->finish = false;
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
			sim_tell(sim, d, "stuck",
				 "%s; nothing more is done before the kernel lets it go", d->note);
		break;
	case DO_WAIT:
		wait = rule_backoff(d->rule, d->attempts ? d->attempts : 1);
		d->timer = sim->now + wait;
		sim_tell(sim, d, "backoff", "the next attempt follows in %s", USEC_TEXT(wait));
		break;
	case DO_CLOSE:
		sim_tell(sim, d, "recovered", "in %u attempt%s, %s after it was fenced",
			 d->attempts, d->attempts == 1 ? "" : "s",
			 USEC_TEXT(sim->now - d->fenced_at));
		d->n_recovered++;
		forget(d);
		break;
	case DO_RELEASE:
		forget(d);
		break;
	case DO_GIVE_UP:
		sim_tell(sim, d, "isolated", "%s; it stays %s until somebody acts", d->note,
			 d->kernel == IOMMU_RAS_STATE_ACTIVE ? "without its driver" : "fenced");
		d->last_resort = false;
		d->ask_isolate = false;
		break;
	case DO_FORGET:
		forget(d);
		break;
	case DO_BUG:
		sim_tell(sim, d, "bug", "this cannot happen here; please report it");
		break;
	default:
		break;
	}
}

void sim_apply(struct sim *sim, struct sim_device *d, enum recovery_input input)
{
	struct recovery_transition t = recovery_next(d->state, input);

	if (t.next == RECOVERY_IGNORED && d->state != RECOVERY_IGNORED)
		sim_tell(sim, d, "ignored", "it stays fenced, and nothing more is said");
	if (t.next == RECOVERY_GONE && d->state == RECOVERY_RUNNING)
		d->timer = d->outcome.takes == USEC_INFINITY ? USEC_INFINITY
							     : d->step_begun + d->outcome.takes;
	if (t.next == RECOVERY_QUEUED)
		d->finish = input == INPUT_UNFENCED_OWING || input == INPUT_INTERRUPTED;
	d->state = t.next;
	if (t.next == RECOVERY_ISOLATED || t.next == RECOVERY_IGNORED)
		d->timer = USEC_INFINITY;
	act(sim, d, t.action);
}
