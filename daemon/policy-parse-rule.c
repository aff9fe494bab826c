// SPDX-License-Identifier: GPL-2.0-or-later
/* A rule, and the defaults of its file. */
#include "policy-parse.h"

#include <errno.h>

#define ATTEMPTS_MAX 1000

static int parse_action(struct context *c, const struct json_path *path, json_t *value,
			void *target)
{
	static const char *const names[] = {"recover", "isolate", "ignore"};
	struct rule *rule = target;

	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	for (enum policy_action action = 0; action < ARRAY_SIZE(names); action++) {
		if (streq(json_string_value(value), action_name(action))) {
			rule->action = action;
			return 0;
		}
	}
	return fail_unknown(c, path, false, "action", json_string_value(value), names,
			    ARRAY_SIZE(names));
}

static int parse_reset_methods(struct context *c, const struct json_path *path, json_t *value,
			       void *target)
{
	/* pci_reset_fn_methods of the kernel's drivers/pci/pci.c; device_specific, acpi, ... */
	static const char *const known[] = {"device_specific", "acpi", "flr", "af_flr", "pm", "bus",
					    "cxl_bus"};
	struct rule *rule = target;
	char methods[128] = "";
	size_t used = 0;

	if (!json_is_array(value) || json_array_size(value) == 0)
		return fail(c, path,
			    "expected a list such as [\"flr\", \"bus\"]; leave it out for the "
			    "kernel's own choice");
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path at = {.parent = path, .index = i};
		json_t *method = json_array_get(value, i);

		if (!json_is_string(method))
			return fail(c, &at, "expected a string, found %s", type_name(method));
		if (!one_of(json_string_value(method), known, ARRAY_SIZE(known)))
			return fail_unknown(c, &at, false, "reset method",
					    json_string_value(method), known, ARRAY_SIZE(known));
		for (size_t j = 0; j < i; j++)
			if (json_equal(method, json_array_get(value, j)))
				return fail(c, &at, "\"%s\" is named twice",
					    json_string_value(method));
		used += (size_t)snprintf(methods + used, sizeof(methods) - used, "%s%s",
					 i ? " " : "", json_string_value(method));
	}
	free(rule->reset_methods);
	rule->reset_methods = strdup(methods);
	return rule->reset_methods ? 0 : no_memory(c);
}

static int parse_timeout(struct context *c, const struct json_path *path, json_t *value,
			 void *target)
{
	struct rule *rule = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &rule->step_timeout);
}

static int parse_attempts(struct context *c, const struct json_path *path, json_t *value,
			  void *target)
{
	struct rule *rule = target;

	return parse_count(c, path, value, ATTEMPTS_MAX, &rule->attempts);
}

static int parse_backoff_first(struct context *c, const struct json_path *path, json_t *value,
			       void *target)
{
	struct rule *rule = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &rule->backoff);
}

static int parse_backoff_max(struct context *c, const struct json_path *path, json_t *value,
			     void *target)
{
	struct rule *rule = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &rule->backoff_max);
}

static const struct member backoff_members[] = {
	{"first", parse_backoff_first},
	{"max", parse_backoff_max},
};

static int parse_backoff(struct context *c, const struct json_path *path, json_t *value,
			 void *target)
{
	struct rule *rule = target;
	int r;

	if (json_is_object(value))
		r = parse_object(c, path, value, backoff_members, ARRAY_SIZE(backoff_members),
				 target);
	else
		r = parse_backoff_first(c, path, value, target);
	if (r < 0)
		return r;
	if (rule->backoff > rule->backoff_max) {
		if (json_is_object(value) && json_object_get(value, "max"))
			return fail(c, path, "\"first\" is longer than \"max\"");
		rule->backoff_max = rule->backoff;
	}
	return 0;
}

static int parse_rate_count(struct context *c, const struct json_path *path, json_t *value,
			    void *target)
{
	struct rule *rule = target;

	return parse_count(c, path, value, 32, &rule->rate_count);
}

static int parse_rate_window(struct context *c, const struct json_path *path, json_t *value,
			     void *target)
{
	struct rule *rule = target;

	return parse_span(c, path, value, USEC_PER_SEC, 30 * TIMEOUT_MAX, &rule->rate_window);
}

static const struct member rate_members[] = {
	{"count", parse_rate_count},
	{"window", parse_rate_window},
};

static int parse_rate_limit(struct context *c, const struct json_path *path, json_t *value,
			    void *target)
{
	struct rule *rule = target;

	if (json_is_false(value)) {
		rule->rate_window = 0;
		return 0;
	}
	if (!json_is_object(value) || !json_object_get(value, "count") ||
	    !json_object_get(value, "window"))
		return fail(c, path,
			    "expected {\"count\": 5, \"window\": \"1h\"}, or false for no limit");
	return parse_object(c, path, value, rate_members, ARRAY_SIZE(rate_members), target);
}

static int parse_protect(struct context *c, const struct json_path *path, json_t *value,
			 void *target)
{
	static const char *const names[] = {"mounted", "swap", "default-route", "vfio"};
	struct rule *rule = target;
	unsigned int mask = 0;

	if (json_is_true(value) || json_is_false(value)) {
		rule->protect = json_is_true(value) ? PROTECT_ALL : 0;
		return 0;
	}
	if (!json_is_array(value))
		return fail(c, path,
			    "expected true, false, or a list of \"mounted\", \"swap\", "
			    "\"default-route\", \"vfio\"; found %s",
			    type_name(value));
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path at = {.parent = path, .index = i};
		json_t *what = json_array_get(value, i);
		size_t j;

		if (!json_is_string(what))
			return fail(c, &at, "expected a string, found %s", type_name(what));
		for (j = 0; j < ARRAY_SIZE(names); j++)
			if (streq(json_string_value(what), names[j]))
				break;
		if (j == ARRAY_SIZE(names))
			return fail_unknown(c, &at, false, "thing to protect",
					    json_string_value(what), names, ARRAY_SIZE(names));
		mask |= 1U << j;
	}
	rule->protect = mask;
	return 0;
}

static int parse_name(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	struct rule *rule = target;
	char *name;

	if (!json_is_string(value) || json_string_length(value) == 0 ||
	    json_string_length(value) > 63)
		return fail(c, path, "expected a name of 1 to 63 bytes");
	name = strdup(json_string_value(value));
	if (!name)
		return no_memory(c);
	free(rule->name);
	rule->name = name;
	return 0;
}

/* What both a rule and the defaults may say, and what only a rule has. */
static const struct member parameter_members[] = {
	{"action", parse_action},
	{"steps", parse_steps},
	{"reset_methods", parse_reset_methods},
	{"step_timeout", parse_timeout},
	{"attempts", parse_attempts},
	{"backoff", parse_backoff},
	{"rate_limit", parse_rate_limit},
	{"on_exhausted", parse_on_exhausted},
	{"protect", parse_protect},
	{"hooks", parse_hooks},
	{"description", parse_text},
	{"name", parse_name},
	{"match", parse_match},
};
#define RULE_ONLY_MEMBERS 2

int parse_defaults(struct context *c, const struct json_path *path, json_t *value,
		   struct rule *rule)
{
	static const char *const of_rules[] = {"match", "name"};

	for (size_t i = 0; i < ARRAY_SIZE(of_rules); i++) {
		struct json_path at = {.parent = path, .key = of_rules[i]};

		if (json_object_get(value, of_rules[i]))
			return fail_key(c, &at,
					"only a rule has \"%s\"; the defaults are for all rules of "
					"the file",
					of_rules[i]);
	}
	return parse_object(c, path, value, parameter_members,
			    ARRAY_SIZE(parameter_members) - RULE_ONLY_MEMBERS, rule);
}

int parse_rule(struct context *c, const struct json_path *path, json_t *value, struct rule *rule)
{
	return parse_object(c, path, value, parameter_members, ARRAY_SIZE(parameter_members), rule);
}

int copy_parameters(struct rule *to, const struct rule *from)
{
	to->action = from->action;
	memcpy(to->steps, from->steps, sizeof(to->steps));
	to->n_steps = from->n_steps;
	to->step_timeout = from->step_timeout;
	to->attempts = from->attempts;
	to->backoff = from->backoff;
	to->backoff_max = from->backoff_max;
	to->rate_count = from->rate_count;
	to->rate_window = from->rate_window;
	to->protect = from->protect;
	memcpy(to->before, from->before, sizeof(to->before));
	to->n_before = from->n_before;
	memcpy(to->after, from->after, sizeof(to->after));
	to->n_after = from->n_after;
	to->on_exhausted = from->on_exhausted;
	memcpy(to->on_exhausted_steps, from->on_exhausted_steps, sizeof(to->on_exhausted_steps));
	to->n_on_exhausted_steps = from->n_on_exhausted_steps;
	if (from->reset_methods) {
		free(to->reset_methods);
		to->reset_methods = strdup(from->reset_methods);
		if (!to->reset_methods)
			return -ENOMEM;
	}
	return 0;
}
