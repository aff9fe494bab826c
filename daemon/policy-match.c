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

const struct rule *policy_match(const struct policy *policy, const struct match_subject *subject)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (rule_mismatch(policy->rules[i], subject) == _MATCH_MAX)
			return policy->rules[i];
	return NULL;
}

uint64_t rule_backoff(const struct rule *rule, unsigned int attempts)
{
	uint64_t usec = rule->backoff;

	for (unsigned int i = 1; i < attempts && usec < rule->backoff_max; i++)
		usec *= 2;
	return usec < rule->backoff_max ? usec : rule->backoff_max;
}

const char *step_name(enum step_kind kind)
{
	static const char *const names[] = {
		[STEP_UNBIND] = "unbind",     [STEP_RESET] = "reset",	[STEP_BIND] = "bind",
		[STEP_REATTACH] = "reattach", [STEP_VERIFY] = "verify", [STEP_WAIT] = "wait",
	};

	return (size_t)kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

const char *match_key_name(enum match_key key)
{
	static const char *const names[] = {
		[MATCH_ADDRESS] = "address", [MATCH_VENDOR] = "vendor", [MATCH_DEVICE] = "device",
		[MATCH_CLASS] = "class",     [MATCH_DRIVER] = "driver", [MATCH_IOMMU] = "iommu",
		[MATCH_REASON] = "reason",
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
