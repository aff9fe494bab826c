// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl policy check [FILE], policy explain DEV. */
#include <errno.h>

#include "ctl.h"
#include "policy.h"
#include "sysfs.h"

static int load(const char *file, struct policy **ret)
{
	char error[POLICY_ERROR_SIZE];
	char visible[4 * POLICY_ERROR_SIZE];
	int r = file ? policy_load_file(file, ret, error) : policy_load(ret, error);

	if (r < 0) {
		fprintf(stderr, "%s\n", str_visible(visible, sizeof(visible), error));
		return CTL_FAILURE;
	}
	return CTL_OK;
}

static int check(const struct ctl *ctl, const char *file)
{
	struct policy *policy = NULL;
	int r = load(file, &policy);

	if (r != CTL_OK)
		return r;
	if (ctl->json)
		r = ctl_print_json(ctl, json_pack("{s:b, s:I, s:s?}", "valid", 1, "rules",
						  (json_int_t)policy->n_rules - 1, "sources",
						  policy->sources));
	else if (policy->sources)
		printf("%s: good, %zu rule%s\n", VISIBLE(policy->sources), policy->n_rules - 1,
		       policy->n_rules == 2 ? "" : "s");
	else
		printf("There is no policy file; the built-in rule applies to all devices\n");
	policy_unref(policy);
	return r;
}

/* What a device is, and the strings that say so. */
struct subject {
	struct match_subject match;
	char vendor[16];
	char device[16];
	char class[16];
	char driver[RAS_NAME_SIZE];
	struct ras_device kernel;
};

static const char *number(const char *dev, const char *attr, char *buf, size_t size)
{
	if (sysfs_read("pci", dev, attr, buf, size) < 0)
		return "";
	return strncmp(buf, "0x", 2) == 0 ? buf + 2 : buf;
}

static void fill_subject(const char *name, struct subject *s)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	struct device_record record;
	char text[160];

	/* Without the kernel's part everything but iommu and reason is known. */
	memset(&s->kernel, 0, sizeof(s->kernel));
	if (kernel_link_open(&link, false, 0) >= 0 && kernel_link_resolve(&link) >= 0)
		(void)kernel_link_request(&link, IOMMU_RAS_CMD_DEVICE_GET, "pci", name, &s->kernel,
					  text, sizeof(text));
	kernel_link_close(&link);
	(void)sysfs_link("pci", name, "driver", s->driver, sizeof(s->driver));
	if (state_load("pci", name, &record) >= 0 && record.prepared)
		memcpy(s->driver, record.driver, sizeof(s->driver));
	s->match = (struct match_subject){.values = {
						  [MATCH_ADDRESS] = name,
						  [MATCH_DRIVER] = s->driver,
						  [MATCH_IOMMU] = s->kernel.iommu,
					  }};
	s->match.values[MATCH_VENDOR] = number(name, "vendor", s->vendor, sizeof(s->vendor));
	s->match.values[MATCH_DEVICE] = number(name, "device", s->device, sizeof(s->device));
	s->match.values[MATCH_CLASS] = number(name, "class", s->class, sizeof(s->class));
	s->match.values[MATCH_REASON] =
		ras_reason_name(s->kernel.reason ? s->kernel.reason : IOMMU_RAS_REASON_ATC_TIMEOUT);
}

static const char *steps_text(const struct rule *rule, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < rule->n_steps && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 step_name(rule->steps[i].kind));
	return buf;
}

static json_t *steps_json(const struct rule *rule)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < rule->n_steps; i++)
		json_array_append_new(steps, json_string(step_name(rule->steps[i].kind)));
	return steps;
}

static int explain(const struct ctl *ctl, const char *device)
{
	struct policy *policy = NULL;
	struct subject s;
	char name[PCI_NAME_SIZE];
	char steps[256];
	json_t *tried = json_array();
	const struct rule *rule = NULL;
	int r = ctl_find_device(device, name);

	if (r == CTL_OK && !sysfs_device_exists("pci", name)) {
		fprintf(stderr, "There is no PCI device %s; lspci -D lists those that are\n", name);
		r = CTL_NO_DEVICE;
	}
	if (r == CTL_OK)
		r = load(NULL, &policy);
	if (r != CTL_OK) {
		json_decref(tried);
		return r;
	}
	fill_subject(name, &s);
	if (!ctl->json)
		printf("%s: vendor %s, device %s, class %s, driver %s, reason %s%s\n", name,
		       s.match.values[MATCH_VENDOR], s.match.values[MATCH_DEVICE],
		       s.match.values[MATCH_CLASS], s.driver[0] ? VISIBLE(s.driver) : "none",
		       s.match.values[MATCH_REASON], s.kernel.reason ? "" : " (if it were fenced)");
	for (size_t i = 0; i < policy->n_rules && !rule; i++) {
		const struct rule *candidate = policy->rules[i];
		enum match_key key = rule_mismatch(candidate, &s.match);

		if (key == _MATCH_MAX)
			rule = candidate;
		else if (ctl->json)
			json_array_append_new(tried, json_pack("{s:s, s:s, s:s, s:s}", "rule",
							       candidate->name, "origin",
							       candidate->origin, "mismatch",
							       match_key_name(key), "value",
							       s.match.values[key]));
		else
			printf("  no   %s (%s): %s is \"%s\"\n", VISIBLE(candidate->name),
			       VISIBLE(candidate->origin), match_key_name(key),
			       VISIBLE(s.match.values[key]));
	}
	if (!rule) {
		/* A finished policy ends with a rule for everything. */
		r = CTL_FAILURE;
	} else if (ctl->json) {
		r = ctl_print_json(ctl, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "device", name,
						  "rule", rule->name, "origin", rule->origin,
						  "action", action_name(rule->action), "steps",
						  steps_json(rule), "tried", json_incref(tried)));
	} else {
		printf("  yes  %s (%s): %s", VISIBLE(rule->name), VISIBLE(rule->origin),
		       action_name(rule->action));
		if (rule->action == ACTION_RECOVER)
			printf(": %s; up to %u attempts, %s for a step",
			       steps_text(rule, steps, sizeof(steps)), rule->attempts,
			       USEC_TEXT(rule->step_timeout));
		putchar('\n');
	}
	json_decref(tried);
	policy_unref(policy);
	return r;
}

int ctl_policy(const struct ctl *ctl, int argc, char **argv)
{
	if (argc >= 2 && argc <= 3 && streq(argv[1], "check"))
		return check(ctl, argc == 3 ? argv[2] : NULL);
	if (argc == 3 && streq(argv[1], "explain"))
		return explain(ctl, argv[2]);
	fprintf(stderr,
		"Use: smmu-rasctl policy check [FILE], or: smmu-rasctl policy explain DEV\n");
	return CTL_USAGE;
}
