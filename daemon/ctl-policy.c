// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl policy check, explain, show. */
#include <ctype.h>
#include <errno.h>

#include "ctl-bus.h"
#include "ctl-rule.h"
#include "ctl-show.h"
#include "sysfs.h"

/* --- check ------------------------------------------------------------------------------------ */

/* An error of the policy in its parts: FILE:LINE:COLUMN: TEXT, or FILE: TEXT. */
struct mistake {
	char file[512];
	unsigned int line; /* 0: not about a line */
	unsigned int column;
	const char *text;
};

/* Reads ":12:3: " at @s. Returns what follows, or NULL. */
static const char *parse_place(const char *s, struct mistake *ret)
{
	char *end;

	if (s[0] != ':' || !isdigit((unsigned char)s[1]))
		return NULL;
	ret->line = (unsigned int)strtoul(s + 1, &end, 10);
	if (end[0] != ':' || !isdigit((unsigned char)end[1]))
		return NULL;
	ret->column = (unsigned int)strtoul(end + 1, &end, 10);
	return end[0] == ':' && end[1] == ' ' ? end + 2 : NULL;
}

static void parse_mistake(const char *error, struct mistake *ret)
{
	const char *at = error;
	const char *text = NULL;

	*ret = (struct mistake){.text = error};
	for (; *at && !text; at++)
		text = parse_place(at, ret);
	if (text) {
		at--;
	} else {
		ret->line = 0;
		at = strstr(error, ": ");
		if (!at)
			return;
		text = at + 2;
	}
	ret->text = text;
	snprintf(ret->file, sizeof(ret->file), "%.*s", (int)(at - error), error);
}

/* As compilers write it, so that editors and CI find the place. */
static void print_mistake(const char *error)
{
	struct mistake m;

	parse_mistake(error, &m);
	if (m.line)
		fprintf(stderr, "%s:%u:%u: error: %s\n", VISIBLE(m.file), m.line, m.column,
			VISIBLE(m.text));
	else if (m.file[0])
		fprintf(stderr, "%s: error: %s\n", VISIBLE(m.file), VISIBLE(m.text));
	else
		fprintf(stderr, "error: %s\n", VISIBLE(m.text));
}

static json_t *mistake_json(const char *error)
{
	struct mistake m;

	parse_mistake(error, &m);
	return json_pack("{s:o, s:o, s:o, s:o}", "file", ctl_json_text(m.file), "line",
			 m.line ? json_integer(m.line) : json_null(), "column",
			 m.line ? json_integer(m.column) : json_null(), "message",
			 ctl_json_text(m.text));
}

/* Checks one file, or with NULL the policy on disk. Returns whether it is good. */
static bool check_one(const struct ctl *ctl, const char *file, json_t *files)
{
	char error[POLICY_ERROR_SIZE];
	struct policy *policy = NULL;
	int r = !file	    ? rule_load_policy(ctl, &policy, error)
		: ctl->root ? policy_load_file_elsewhere(file, &policy, error)
			    : policy_load_file(file, &policy, error);
	size_t n = r < 0 ? 0 : policy->n_rules - 1;
	const char *sources = r < 0 ? NULL : policy->sources;

	if (ctl->json)
		json_array_append_new(files,
				      json_pack("{s:b, s:I, s:s?, s:o}", "valid", r >= 0, "rules",
						(json_int_t)n, "sources", sources, "error",
						r < 0 ? mistake_json(error) : json_null()));
	else if (r < 0)
		print_mistake(error);
	else if (sources)
		printf("%s: good, %zu rule%s\n", VISIBLE(sources), n, n == 1 ? "" : "s");
	else
		printf("There is no policy file; the built-in rule applies to all devices\n");
	policy_unref(policy);
	return r >= 0;
}

static int check(const struct ctl *ctl, int argc, char **argv)
{
	json_t *files = json_array();
	bool good = true;
	int r = CTL_OK;

	if (argc == 0)
		good = check_one(ctl, NULL, files);
	for (int i = 0; i < argc; i++)
		good = check_one(ctl, argv[i], files) && good;
	if (!ctl->json) {
		json_decref(files);
	} else if (json_array_size(files) == 1) {
		r = ctl_print_json(ctl, json_incref(json_array_get(files, 0)));
		json_decref(files);
	} else {
		r = ctl_print_json(ctl, json_pack("{s:b, s:o}", "valid", good, "files", files));
	}
	return r != CTL_OK ? r : good ? CTL_OK : CTL_FAILURE;
}

/*
 * The policy on disk, as @m.policy. Of one below --root it is not known whether it is in force.
 * Returns an exit status, having said what is wrong.
 */
static int load(const struct ctl *ctl, struct machine *m)
{
	char text[MACHINE_POLICY_TEXT_SIZE];

	*m = (struct machine){.daemon = !ctl->root && state_daemon_runs()};
	if (ctl->root) {
		if (rule_load_policy(ctl, &m->policy, m->policy_error) < 0)
			m->policy = NULL;
	} else {
		machine_read_policy(m);
	}
	if (m->policy)
		return CTL_OK;
	print_mistake(m->policy_error);
	if (machine_policy_text(m, text, sizeof(text))[0])
		fprintf(stderr, "%s\n", text);
	return CTL_FAILURE;
}

/* That what was printed is not what the daemon does. */
static void print_stale(const struct machine *m)
{
	char text[MACHINE_POLICY_TEXT_SIZE];

	if (!machine_policy_stale(m))
		return;
	printf("\n%s", color(COLOR_BUSY));
	print_wrapped(machine_policy_text(m, text, sizeof(text)), 0);
	fputs(color(COLOR_NONE), stdout);
}

/* --- explain ---------------------------------------------------------------------------------- */

static bool is_hex(const char *value, size_t n)
{
	if (strncasecmp(value, "0x", 2) == 0)
		value += 2;
	return strlen(value) == n && strspn(value, "0123456789abcdefABCDEF") == n;
}

/* A slip would make a device that no rule can fit. */
static int check_match(const struct ctl *ctl)
{
	static const enum match_key ids[] = {MATCH_VENDOR, MATCH_DEVICE};
	const char *reason = ctl->match[MATCH_REASON];
	bool known = !reason;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		const char *value = ctl->match[ids[i]];

		if (!value || is_hex(value, 4))
			continue;
		fprintf(stderr, "--%s=%s: expected four hexadecimal digits, such as 8086\n",
			match_key_name(ids[i]), VISIBLE(value));
		return CTL_USAGE;
	}
	for (uint32_t i = IOMMU_RAS_REASON_ATC_TIMEOUT; i <= IOMMU_RAS_REASON_ADMINISTRATIVE; i++)
		known = known || streq(reason, ras_reason_name(i));
	if (known)
		return CTL_OK;
	fprintf(stderr,
		"--reason=%s: use atc-timeout, sync-timeout, reset-failed or administrative\n",
		VISIBLE(reason));
	return CTL_USAGE;
}

/* Puts what the command line says in place of what the device is. */
static bool override(struct match_subject *subject, const struct ctl *ctl)
{
	bool any = false;

	for (enum match_key key = 0; key < _MATCH_MAX; key++) {
		const char *value = ctl->match[key];

		if (!value)
			continue;
		/* Rules, as lspci, leave out the "0x" of sysfs. */
		if ((key == MATCH_VENDOR || key == MATCH_DEVICE || key == MATCH_CLASS) &&
		    strncasecmp(value, "0x", 2) == 0)
			value += 2;
		subject->values[key] = value;
		any = true;
	}
	return any;
}

static void print_subject(const char *name, const struct match_subject *subject, bool fenced)
{
	char text[512] = "";
	size_t used = 0;

	for (enum match_key key = 0; key < _MATCH_MAX && used < sizeof(text); key++) {
		const char *value = subject->values[key];

		if (key == MATCH_ADDRESS || !value || !value[0])
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %s",
					 used ? ", " : "", match_key_name(key), value);
	}
	printf("%s: ", name ? name : "Such a device");
	print_wrapped(VISIBLE(text), 2);
	if (name && !fenced)
		printf("It is not fenced now; if it were:\n");
}

static json_t *tried_json(const struct rule *rule, const struct match_result *result)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "rule", rule->name, "origin", rule->origin,
			 "mismatch", result->name, "value", json_string(VISIBLE(result->value)),
			 "wanted", json_string(VISIBLE(result->wanted)));
}

static void print_tried(const struct rule *rule, const struct match_result *result, bool device)
{
	char text[1024];

	if (result->value[0])
		snprintf(text, sizeof(text), "%s (%s): it wants %s %s, and this is \"%s\"",
			 rule->name, rule->origin, result->name, result->wanted, result->value);
	else if (!device)
		snprintf(text, sizeof(text),
			 "%s (%s): not known: it wants %s %s; say --%s=", rule->name, rule->origin,
			 result->name, result->wanted, result->name);
	else
		snprintf(text, sizeof(text), "%s (%s): it wants %s %s, and this has none",
			 rule->name, rule->origin, result->name, result->wanted);
	printf("  no   ");
	print_wrapped(VISIBLE(text), 7);
}

/* The rules behind the one that applies, which are not asked. */
static void print_rest(const struct policy *policy, size_t from)
{
	char text[512] = "";
	size_t used = 0;

	for (size_t i = from; i < policy->n_rules && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "",
					 policy->rules[i]->name);
	if (used == 0)
		return;
	printf("  -    not asked: ");
	print_wrapped(VISIBLE(text), 18);
}

static int explain_subject(const struct ctl *ctl, const struct machine *m, const char *name,
			   const struct match_subject *subject, bool fenced)
{
	const struct policy *policy = m->policy;
	json_t *tried = json_array();
	json_t *json;
	size_t i;

	if (!ctl->json) {
		pager_open(ctl->pager);
		print_subject(name, subject, fenced);
	}
	/* A finished policy ends with a rule for everything. */
	for (i = 0; i < policy->n_rules; i++) {
		struct match_result result;

		if (rule_explain(policy->rules[i], subject, &result))
			break;
		if (ctl->json)
			json_array_append_new(tried, tried_json(policy->rules[i], &result));
		else
			print_tried(policy->rules[i], &result, name != NULL);
	}
	if (i == policy->n_rules) {
		json_decref(tried);
		return CTL_FAILURE;
	}
	if (ctl->json) {
		json = rule_to_json(policy->rules[i]);
		json_object_set_new(json, "device", ctl_json_text(name ? name : ""));
		json_object_set_new(json, "fenced", json_boolean(fenced));
		json_object_set_new(json, "rule", json_string(policy->rules[i]->name));
		json_object_set_new(json, "tried", tried);
		json_object_set_new(json, "policy_in_force", machine_policy_json(m));
		return ctl_print_json(ctl, json);
	}
	json_decref(tried);
	printf("  %syes  %s%s (%s)\n", color(COLOR_GOOD), VISIBLE(policy->rules[i]->name),
	       color(COLOR_NONE), VISIBLE(policy->rules[i]->origin));
	rule_print(policy->rules[i], 7);
	print_rest(policy, i + 1);
	print_stale(m);
	return CTL_OK;
}

static int explain(const struct ctl *ctl, const char *device)
{
	struct machine m = {0};
	struct story story = {0};
	struct device_subject s = {
		.match = {.values = {
				  [MATCH_REASON] = ras_reason_name(IOMMU_RAS_REASON_ATC_TIMEOUT),
			  }}};
	char name[PCI_NAME_SIZE] = "";
	char text[160];
	bool fenced = false;
	int r = check_match(ctl);

	if (r != CTL_OK)
		return r;
	if (device) {
		r = ctl_find_device(device, name);
		if (r != CTL_OK)
			return r;
		/* Without the kernel's part everything but iommu and reason is known. */
		(void)show_read(name, &story, &m, text, sizeof(text));
		fenced = story.device.state != IOMMU_RAS_STATE_ACTIVE;
		show_subject(&s, &story);
		story_clear(&story);
	}
	if (!override(&s.match, ctl) && !device) {
		fprintf(stderr, "Say which device, or what it is like: smmu-rasctl policy explain "
				"01:00.0, or: smmu-rasctl policy explain --driver=nvme\n");
		return CTL_USAGE;
	}
	r = load(ctl, &m);
	if (r == CTL_OK)
		r = explain_subject(ctl, &m, device ? name : NULL, &s.match, fenced);
	policy_unref(m.policy);
	return r;
}

/* --- show ------------------------------------------------------------------------------------- */

static int show(const struct ctl *ctl)
{
	struct machine m;
	json_t *rules = json_array();
	char digest[POLICY_DIGEST_SIZE];
	char match[512];
	int r = load(ctl, &m);
	const struct policy *policy = m.policy;

	if (r != CTL_OK) {
		json_decref(rules);
		return r;
	}
	if (!ctl->json) {
		pager_open(ctl->pager);
		printf("Files, in the order in which their rules are tried: ");
		print_wrapped(policy->sources ? VISIBLE(policy->sources) : "none", 2);
		printf("Recoveries at the same time: %u\n", policy->max_parallel);
	}
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *rule = policy->rules[i];

		if (ctl->json) {
			json_array_append_new(rules, rule_to_json(rule));
			continue;
		}
		printf("\n%s%s%s (%s)\n", color(COLOR_HEAD), VISIBLE(rule->name), color(COLOR_NONE),
		       VISIBLE(rule->origin));
		printf("  for        ");
		print_wrapped(VISIBLE(rule_match_text(rule, match, sizeof(match))), 13);
		rule_print(rule, 2);
	}
	if (ctl->json)
		r = ctl_print_json(ctl, json_pack("{s:s?, s:I, s:O, s:s, s:o}", "sources",
						  policy->sources, "max_parallel",
						  (json_int_t)policy->max_parallel, "rules", rules,
						  "digest",
						  policy_digest_text(policy_digest(policy), digest),
						  "in_force", machine_policy_json(&m)));
	else
		print_stale(&m);
	json_decref(rules);
	policy_unref(m.policy);
	return r;
}

/* --- reload ----------------------------------------------------------------------------------- */

/* systemctl reload cannot tell that the daemon refused; this can. */
static int reload(const struct ctl *ctl)
{
	char mistake[POLICY_ERROR_SIZE];
	int r = bus_call_reload(mistake, sizeof(mistake));

	if (r == CTL_FAILURE && mistake[0]) {
		print_mistake(mistake);
		fprintf(stderr, "smmu-rasd refused it; the policy it had stays in force.\n");
	}
	if (r == CTL_OK && !ctl->json)
		printf("smmu-rasd has read its policy again.\n");
	return r;
}

int ctl_policy(const struct ctl *ctl, int argc, char **argv)
{
	static const char *const verbs[] = {"check", "explain", "show", "reload"};
	const char *near = argc >= 2 ? ctl_closest(argv[1], verbs, ARRAY_SIZE(verbs)) : NULL;

	if (argc >= 2 && !streq(argv[1], "explain"))
		for (enum match_key key = 0; key < _MATCH_MAX; key++)
			if (ctl->match[key]) {
				fprintf(stderr,
					"\"policy %s\" has no option --%s; \"policy explain\" "
					"has\n",
					VISIBLE(argv[1]), match_key_name(key));
				return CTL_USAGE;
			}
	if (argc >= 2 && streq(argv[1], "check"))
		return check(ctl, argc - 2, argv + 2);
	if (argc >= 2 && argc <= 3 && streq(argv[1], "explain"))
		return explain(ctl, argc == 3 ? argv[2] : NULL);
	if (argc == 2 && streq(argv[1], "show"))
		return show(ctl);
	if (argc == 2 && streq(argv[1], "reload"))
		return reload(ctl);
	if (near && !streq(near, argv[1]))
		fprintf(stderr,
			"\"policy\" has no verb \"%s\"; did you mean: smmu-rasctl policy %s\n",
			VISIBLE(argv[1]), near);
	else
		fprintf(stderr,
			"Use: smmu-rasctl policy check [FILE...] | explain DEV | show | reload\n");
	return CTL_USAGE;
}
