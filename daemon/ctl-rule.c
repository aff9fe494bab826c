// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-rule.h"

#include <limits.h>

#include "ctl-output.h"

static const struct {
	unsigned int bit;
	const char *name;
} protections[] = {
	{PROTECT_MOUNTED, "mounted"},
	{PROTECT_SWAP, "swap"},
	{PROTECT_DEFAULT_ROUTE, "default-route"},
	{PROTECT_VFIO, "vfio"},
};

int rule_load_policy(const struct ctl *ctl, struct policy **ret,
		     char error[static POLICY_ERROR_SIZE])
{
	char etc[PATH_MAX];
	char lib[PATH_MAX];

	if (!ctl->root)
		return policy_load(ret, error);
	snprintf(etc, sizeof(etc), "%s%s/smmu-rasd", ctl->root, SMMU_RAS_SYSCONFDIR);
	snprintf(lib, sizeof(lib), "%s%s", ctl->root, SMMU_RAS_VENDORDIR);
	return policy_load_below(etc, lib, ret, error);
}

/* --- for people ------------------------------------------------------------------------------- */

const char *rule_match_text(const struct rule *rule, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};

	buf[0] = '\0';
	for (enum match_key key = 0; key < _MATCH_MAX; key++) {
		const struct glob_list *list = &rule->match[key];

		if (list->n == 0)
			continue;
		text_add(&t, "%s%s ", t.used ? ", " : "", match_key_name(key));
		for (size_t i = 0; i < list->n; i++)
			text_add(&t, "%s%s", i ? " or " : "", list->globs[i]);
	}
	if (t.used == 0)
		str_copy(buf, size, "any device");
	return buf;
}

static void add_command(struct text *t, const struct command *command)
{
	for (size_t i = 0; command && command->argv[i]; i++)
		text_add(t, " %s", command->argv[i]);
}

static void add_step(struct text *t, const struct step *step)
{
	text_add(t, "%s", step_name(step->kind));
	if (step->kind == STEP_WAIT)
		text_add(t, " %s", USEC_TEXT(step->wait));
	add_command(t, step->command);
	if (step->timeout)
		text_add(t, " (up to %s)", USEC_TEXT(step->timeout));
}

static void print_part(int indent, const char *label, const char *text)
{
	printf("%*s%-10s ", indent, "", label);
	print_wrapped(VISIBLE(text), (unsigned int)indent + 11);
}

static void print_steps(const char *label, const struct step *steps, size_t n, int indent)
{
	char buf[512] = "";
	struct text t = {.buf = buf, .size = sizeof(buf)};

	for (size_t i = 0; i < n; i++) {
		text_add(&t, "%s", i ? ", " : "");
		add_step(&t, &steps[i]);
	}
	print_part(indent, label, buf);
}

static void print_hooks(const char *label, const struct hook *hooks, size_t n, int indent)
{
	for (size_t i = 0; i < n; i++) {
		char buf[512] = "";
		struct text t = {.buf = buf, .size = sizeof(buf)};

		text_add(&t, "run");
		add_command(&t, hooks[i].command);
		if (hooks[i].stop)
			text_add(&t, "; when it fails, so does the attempt");
		print_part(indent, label, buf);
	}
}

void rule_print(const struct rule *rule, int indent)
{
	char buf[512] = "";
	struct text t = {.buf = buf, .size = sizeof(buf)};

	if (rule->action != ACTION_RECOVER) {
		print_part(indent, "action",
			   rule->action == ACTION_ISOLATE
				   ? "isolate: it stays fenced, and an operator is told"
				   : "ignore: it stays fenced, and nothing more is said");
		return;
	}
	print_hooks("before", rule->before, rule->n_before, indent);
	print_steps("steps", rule->steps, rule->n_steps, indent);
	if (rule->reset_methods)
		print_part(indent, "resets", rule->reset_methods);
	snprintf(buf, sizeof(buf), "%u, each step up to %s, %s%s%s between them", rule->attempts,
		 USEC_TEXT(rule->step_timeout), USEC_TEXT(rule->backoff),
		 rule->backoff < rule->backoff_max ? " to " : "",
		 rule->backoff < rule->backoff_max ? USEC_TEXT(rule->backoff_max) : "");
	print_part(indent, "attempts", buf);
	if (rule->rate_window) {
		snprintf(buf, sizeof(buf), "%u recover%s in %s, then it is isolated",
			 rule->rate_count, rule->rate_count == 1 ? "y" : "ies",
			 USEC_TEXT(rule->rate_window));
		print_part(indent, "rate limit", buf);
	}
	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(protections); i++)
		if (rule->protect & protections[i].bit)
			text_add(&t, "%s%s", t.used ? ", " : "", protections[i].name);
	print_part(indent, "protect", buf[0] ? buf : "nothing");
	print_hooks("after", rule->after, rule->n_after, indent);
	if (rule->n_on_exhausted_steps)
		print_steps("exhausted", rule->on_exhausted_steps, rule->n_on_exhausted_steps,
			    indent);
	else
		print_part(indent, "exhausted", exhausted_name(rule->on_exhausted));
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *usec_json(uint64_t usec)
{
	return json_integer((json_int_t)usec);
}

static json_t *command_json(const struct command *command)
{
	json_t *list = json_array();

	for (size_t i = 0; command->argv[i]; i++)
		json_array_append_new(list, ctl_json_text(command->argv[i]));
	return list;
}

static json_t *steps_json(const struct step *steps, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *step = json_pack("{s:s}", "step", step_name(steps[i].kind));

		if (steps[i].timeout)
			json_object_set_new(step, "timeout_usec", usec_json(steps[i].timeout));
		if (steps[i].kind == STEP_WAIT)
			json_object_set_new(step, "for_usec", usec_json(steps[i].wait));
		if (steps[i].command)
			json_object_set_new(step, "command", command_json(steps[i].command));
		json_array_append_new(list, step);
	}
	return list;
}

static json_t *hooks_json(const struct hook *hooks, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, command_json(hooks[i].command));
	return list;
}

static json_t *match_json(const struct rule *rule)
{
	json_t *match = json_object();

	for (enum match_key key = 0; key < _MATCH_MAX; key++) {
		json_t *globs = json_array();

		for (size_t i = 0; i < rule->match[key].n; i++)
			json_array_append_new(globs, ctl_json_text(rule->match[key].globs[i]));
		if (json_array_size(globs) > 0)
			json_object_set(match, match_key_name(key), globs);
		json_decref(globs);
	}
	return match;
}

json_t *rule_to_json(const struct rule *rule)
{
	json_t *protect = json_array();
	json_t *json;

	for (size_t i = 0; i < ARRAY_SIZE(protections); i++)
		if (rule->protect & protections[i].bit)
			json_array_append_new(protect, json_string(protections[i].name));
	json = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "name",
			 rule->name, "origin", rule->origin, "match", match_json(rule), "action",
			 action_name(rule->action), "steps", steps_json(rule->steps, rule->n_steps),
			 "reset_methods",
			 ctl_json_text(rule->reset_methods ? rule->reset_methods : ""),
			 "step_timeout_usec", usec_json(rule->step_timeout), "attempts",
			 (json_int_t)rule->attempts, "backoff_usec", usec_json(rule->backoff),
			 "backoff_max_usec", usec_json(rule->backoff_max), "protect", protect,
			 "on_exhausted_steps",
			 steps_json(rule->on_exhausted_steps, rule->n_on_exhausted_steps));
	if (!json)
		return NULL;
	json_object_set_new(json, "on_exhausted", json_string(exhausted_name(rule->on_exhausted)));
	json_object_set_new(json, "rate_limit",
			    rule->rate_window
				    ? json_pack("{s:I, s:o}", "count", (json_int_t)rule->rate_count,
						"window_usec", usec_json(rule->rate_window))
				    : json_null());
	json_object_set_new(json, "hooks",
			    json_pack("{s:o, s:o}", "before",
				      hooks_json(rule->before, rule->n_before), "after",
				      hooks_json(rule->after, rule->n_after)));
	return json;
}
