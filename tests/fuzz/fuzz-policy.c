// SPDX-License-Identifier: GPL-2.0-or-later
/* Policy files: errors that name a place in the file, and rules that every device finds one among.
 */
#include "fuzz.h"
#include "policy.h"

static unsigned int lines_of(const char *text)
{
	unsigned int n = 1;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void check_error(const char *text, const char *error)
{
	unsigned int line = 0;
	unsigned int column = 0;

	FUZZ_INSIST(memchr(error, '\0', POLICY_ERROR_SIZE));
	/* NOLINTNEXTLINE(cert-err34-c) */
	FUZZ_INSIST(sscanf(error, "fuzz.json:%u:%u: ", &line, &column) == 2);
	FUZZ_INSIST(line >= 1 && line <= lines_of(text));
	FUZZ_INSIST(column >= 1);
}

static void check_rule(const struct rule *rule)
{
	FUZZ_INSIST(rule->name && rule->name[0] && rule->origin && rule->origin[0]);
	FUZZ_INSIST(rule->n_steps >= 1 && rule->n_steps <= RULE_STEPS_MAX);
	FUZZ_INSIST(rule->attempts >= 1);
	FUZZ_INSIST(rule->step_timeout > 0);
	FUZZ_INSIST((rule->protect & ~(unsigned int)PROTECT_ALL) == 0);
	for (unsigned int n = 0; n < 70; n++)
		FUZZ_INSIST(rule_backoff(rule, n) <= rule->backoff_max ||
			    rule->backoff > rule->backoff_max);
	for (size_t i = 0; i < rule->n_steps; i++)
		FUZZ_INSIST(step_name(rule->steps[i].kind));
}

static void check_policy(const struct policy *policy)
{
	struct match_subject nothing = {0};
	struct match_subject disk = {.values = {[MATCH_ADDRESS] = "0000:01:00.0",
						[MATCH_VENDOR] = "0x1b36",
						[MATCH_DEVICE] = "0x0010",
						[MATCH_CLASS] = "010802",
						[MATCH_DRIVER] = "nvme",
						[MATCH_IOMMU] = "smmu3.0x9050000",
						[MATCH_REASON] = "atc-timeout"}};

	FUZZ_INSIST(policy->max_parallel >= 1);
	FUZZ_INSIST(policy->n_rules >= 1);
	for (size_t i = 0; i < policy->n_rules; i++)
		check_rule(policy->rules[i]);
	FUZZ_INSIST(policy_match(policy, &nothing));
	FUZZ_INSIST(policy_match(policy, &disk));
	FUZZ_INSIST(rule_mismatch(policy_match(policy, &disk), &disk) == _MATCH_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);

	for (int main = 0; main < 2; main++) {
		char error[POLICY_ERROR_SIZE] = "";
		struct policy *policy = policy_new();

		if (!policy)
			abort();
		if (policy_parse(policy, "fuzz.json", text, size, main, error) < 0)
			check_error(text, error);
		else if (policy_finish(policy) == 0)
			check_policy(policy);
		policy_unref(policy);
	}
	return 0;
}
