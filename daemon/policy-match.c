// SPDX-License-Identifier: GPL-2.0-or-later
#include <fnmatch.h>

#include "policy.h"

static bool globs_fit(const struct glob_list *list, const char *value)
{
	if (list->n == 0)
		return true;
	for (size_t i = 0; i < list->n; i++)
		if (fnmatch(list->globs[i], value ? value : "", FNM_CASEFOLD) == 0)
			return true;
	return false;
}

enum match_key rule_mismatch(const struct rule *rule, const struct match_subject *subject)
{
	for (enum match_key key = 0; key < _MATCH_MAX; key++)
		if (!globs_fit(&rule->match[key], subject->values[key]))
			return key;
	return _MATCH_MAX;
}

/* "a" or "b" or ..., as much of it as fits. */
static void quote_globs(const struct glob_list *list, char *buf, size_t size)
{
	static const char more[] = " or ...";
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < list->n; i++) {
		int n = snprintf(buf + used, size - used, "%s\"%s\"", i ? " or " : "",
				 list->globs[i]);

		if (n < 0 || (size_t)n >= size - used - (i + 1 < list->n ? sizeof(more) : 0)) {
			/* The first one is cut, another one left out. */
			snprintf(buf + used, size - used, "%s",
				 i ? more : "a pattern that is too long to show");
			return;
		}
		used += (size_t)n;
	}
}

bool rule_explain(const struct rule *rule, const struct match_subject *subject,
		  struct match_result *ret)
{
	enum match_key key = rule_mismatch(rule, subject);

	*ret = (struct match_result){.key = key, .value = ""};
	if (key == _MATCH_MAX)
		return true;
	ret->name = match_key_name(key);
	if (subject->values[key])
		ret->value = subject->values[key];
	quote_globs(&rule->match[key], ret->wanted, sizeof(ret->wanted));
	return false;
}

const struct rule *policy_match(const struct policy *policy, const struct match_subject *subject)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (rule_mismatch(policy->rules[i], subject) == _MATCH_MAX)
			return policy->rules[i];
	return NULL;
}

const struct rule *policy_rule(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (streq(policy->rules[i]->name, name))
			return policy->rules[i];
	return NULL;
}

struct step rule_step(const struct rule *rule, enum step_kind kind)
{
	for (size_t i = rule->n_steps; i-- > 0;)
		if (rule->steps[i].kind == kind)
			return rule->steps[i];
	return (struct step){.kind = kind};
}

uint64_t rule_backoff(const struct rule *rule, unsigned int attempts)
{
	uint64_t usec = rule->backoff;

	for (unsigned int i = 1; i < attempts && usec < rule->backoff_max; i++)
		usec *= 2;
	return usec < rule->backoff_max ? usec : rule->backoff_max;
}

struct step hook_step(const struct hook *hook)
{
	return (struct step){.kind = STEP_HOOK,
			     .timeout = hook->timeout,
			     .command = hook->command,
			     .may_fail = !hook->stop};
}

/*
 * Steps that wait for something themselves also say themselves what did not come; the daemon gives
 * them a little longer, so that they can.
 */
#define STEP_GRACE (3 * USEC_PER_SEC)

uint64_t step_limit(const struct step *step, uint64_t timeout)
{
	if (step->timeout)
		timeout = step->timeout;
	switch (step->kind) {
	case STEP_WAIT:
		return timeout + step->wait;
	case STEP_RESCAN:
	case STEP_SLOT_POWER_CYCLE:
	case STEP_EXEC:
	case STEP_HOOK:
		return timeout + STEP_GRACE;
	default:
		return timeout;
	}
}

static bool brings_back(enum step_kind kind)
{
	return kind == STEP_RESCAN || kind == STEP_SLOT_POWER_CYCLE;
}

bool steps_bring_back(const struct step *steps, size_t n)
{
	if (n == 0 || (steps[0].kind != STEP_REMOVE && !brings_back(steps[0].kind)))
		return false;
	for (size_t i = 0; i < n; i++)
		if (brings_back(steps[i].kind))
			return true;
	return false;
}

const char *step_name(enum step_kind kind)
{
	static const char *const names[] = {
		[STEP_UNBIND] = "unbind",
		[STEP_RESET] = "reset",
		[STEP_BIND] = "bind",
		[STEP_REATTACH] = "reattach",
		[STEP_VERIFY] = "verify",
		[STEP_WAIT] = "wait",
		[STEP_REMOVE] = "remove",
		[STEP_RESCAN] = "rescan",
		[STEP_SLOT_POWER_CYCLE] = "slot-power-cycle",
		[STEP_EXEC] = "exec",
		[STEP_HOOK] = "hook",
	};

	return (size_t)kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

const char *match_key_name(enum match_key key)
{
	static const char *const names[] = {
		[MATCH_ADDRESS] = "address", [MATCH_VENDOR] = "vendor", [MATCH_DEVICE] = "device",
		[MATCH_CLASS] = "class",     [MATCH_DRIVER] = "driver", [MATCH_IOMMU] = "iommu",
		[MATCH_REASON] = "reason",   [MATCH_SLOT] = "slot",
	};

	return (size_t)key < ARRAY_SIZE(names) ? names[key] : "unknown";
}

const char *action_name(enum policy_action action)
{
	static const char *const names[] = {
		[ACTION_RECOVER] = "recover",
		[ACTION_ISOLATE] = "isolate",
		[ACTION_IGNORE] = "ignore",
	};

	return (size_t)action < ARRAY_SIZE(names) ? names[action] : "unknown";
}

const char *exhausted_name(enum exhausted what)
{
	static const char *const names[] = {
		[EXHAUSTED_ISOLATE] = "isolate",
		[EXHAUSTED_REMOVE] = "remove",
		[EXHAUSTED_SLOT_POWER_CYCLE] = "slot-power-cycle",
		[EXHAUSTED_EXEC] = "exec",
	};

	return (size_t)what < ARRAY_SIZE(names) ? names[what] : "unknown";
}
