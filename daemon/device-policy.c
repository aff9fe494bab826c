// SPDX-License-Identifier: GPL-2.0-or-later
/* Which rule of the policy holds for a device, and what it says now. */
#include <inttypes.h>
#include <time.h>

#include "manager.h"

void device_find_rule(struct device *d)
{
	struct device_subject subject;

	/* Where we have unbound the driver it still is the driver of the device. */
	device_subject_fill(&subject, d->record.bus, d->record.dev,
			    d->record.prepared ? d->record.driver : NULL, d->kernel.iommu,
			    d->kernel.reason);
	policy_unref(d->policy);
	d->policy = policy_ref(d->manager->policy);
	d->rule = device_is_away(d) ? policy_rule(d->policy, d->record.rule) : NULL;
	if (!d->rule)
		d->rule = policy_match(d->policy, &subject.match);
	str_copy(d->record.rule, sizeof(d->record.rule), d->rule->name);
}

/* Counts this recovery, and says whether there are too many of them. */
static bool over_rate_limit(struct device *d)
{
	struct device_record *record = &d->record;
	uint64_t now = now_usec(CLOCK_BOOTTIME);
	unsigned int recent = 0;

	if (d->rule->rate_window == 0)
		return false;
	for (unsigned int i = 0; i < record->n_recoveries; i++)
		if (record->recoveries[i] + d->rule->rate_window > now)
			recent++;
	if (recent >= d->rule->rate_count) {
		device_set_note(
			d, "recovered %u time%s within %s already, which is the limit of rule %s",
			recent, recent == 1 ? "" : "s", USEC_TEXT(d->rule->rate_window),
			d->rule->name);
		return true;
	}
	if (record->n_recoveries == STATE_RECOVERIES_MAX) {
		memmove(record->recoveries, record->recoveries + 1,
			sizeof(record->recoveries) - sizeof(record->recoveries[0]));
		record->n_recoveries--;
	}
	record->recoveries[record->n_recoveries++] = now;
	record->keep_until = now + d->rule->rate_window;
	return false;
}

enum recovery_input device_decide(struct device *d, bool resume)
{
	device_find_rule(d);
	/* What an operator asked for holds until the fence is over. */
	if (resume && d->record.left == LEFT_OPERATOR)
		return INPUT_ISOLATE;
	switch (d->rule->action) {
	case ACTION_IGNORE:
		d->record.left = LEFT_POLICY;
		device_set_note(d, "rule %s says ignore", d->rule->name);
		return INPUT_IGNORE;
	case ACTION_ISOLATE:
		d->record.left = LEFT_POLICY;
		device_set_note(d, "rule %s says isolate", d->rule->name);
		return INPUT_ISOLATE;
	default:
		break;
	}
	if (resume && d->record.attempts >= d->rule->attempts) {
		/*
		 * Interrupted in the last attempt, before the last resort had begun, or while that
		 * had its slot switched off: then it is brought back first.
		 */
		if (d->rule->n_on_exhausted_steps > 0 &&
		    !(d->record.last_resort && d->record.begun && !d->record.away)) {
			d->record.last_resort = true;
			d->record.left = LEFT_NOT;
			return INPUT_RECOVER;
		}
		if (d->record.note[0] == '\0')
			device_set_note(d, "the last attempt was interrupted");
		d->record.left = LEFT_EXHAUSTED;
		return INPUT_ISOLATE;
	}
	if (!resume && over_rate_limit(d)) {
		d->record.left = LEFT_RATE;
		return INPUT_ISOLATE;
	}
	d->record.left = LEFT_NOT;
	return INPUT_RECOVER;
}

void device_policy_changed(struct device *d)
{
	enum recovery_state state = d->record.state;
	/* What was begun counts already, for the attempts and for the rate limit. */
	bool begun = d->record.left == LEFT_PROTECTED || d->record.attempts > 0;

	/* Who has used up all attempts stays isolated until somebody looks at the device. */
	if (state != RECOVERY_IGNORED &&
	    (state != RECOVERY_ISOLATED || d->record.left == LEFT_EXHAUSTED ||
	     d->record.left == LEFT_OPERATOR))
		return;
	if (!device_is_fenced(d))
		return;
	device_apply(d, device_decide(d, begun));
}
