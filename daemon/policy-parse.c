// SPDX-License-Identifier: GPL-2.0-or-later
/* From JSON to rules. */
#include "policy-parse.h"

#include <errno.h>

#define RULES_MAX	 4096
#define MAX_PARALLEL_MAX 1024

static int parse_rules(struct context *c, json_t *rules, const struct rule *defaults,
		       struct policy *policy)
{
	struct json_path path = {.key = "rules"};
	struct json_lines lines;
	struct rule **grown;
	bool located;

	if (!json_is_array(rules))
		return fail(c, &path, "expected a list of rules, found %s", type_name(rules));
	if (json_array_size(rules) + policy->n_rules > RULES_MAX)
		return fail(c, &path, "more than %d rules", RULES_MAX);
	/* One more, for the last rule that policy_finish() adds. */
	grown = reallocarray(policy->rules, policy->n_rules + json_array_size(rules) + 1,
			     sizeof(*grown));
	if (!grown)
		return no_memory(c);
	policy->rules = grown;
	located = json_lines_begin(&lines, c->text, "rules");
	for (size_t i = 0; i < json_array_size(rules); i++) {
		struct json_path at = {.parent = &path, .index = i};
		char name[64];
		char origin[512];
		struct rule *rule;
		int r;

		snprintf(name, sizeof(name), "rules[%zu]", i);
		snprintf(origin, sizeof(origin), "%s:%u", c->file,
			 located ? json_lines_next(&lines) : 1);
		rule = rule_new(name, origin);
		if (!rule)
			return no_memory(c);
		policy->rules[policy->n_rules++] = rule;
		if (copy_parameters(rule, defaults) < 0)
			return no_memory(c);
		r = parse_rule(c, &at, json_array_get(rules, i), rule);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_root(struct context *c, json_t *root, struct policy *policy, bool main)
{
	/* "$schema" is what editors look for. */
	static const char *const known[] = {"rules", "defaults", "max_parallel", "description",
					    "$schema"};
	const char *origin = c->file;
	struct json_path path = {.key = "defaults"};
	struct rule *defaults;
	json_t *value;
	const char *key;
	int r;

	if (!json_is_object(root))
		return fail(c, NULL, "expected an object, {\"rules\": [...]}, found %s",
			    type_name(root));
	json_object_foreach(root, key, value)
	{
		struct json_path at = {.key = key};

		if (!one_of(key, known, ARRAY_SIZE(known)))
			return fail_unknown(c, &at, true, "key", key, known, ARRAY_SIZE(known) - 1);
		if ((streq(key, "description") || streq(key, "$schema")) &&
		    (r = parse_text(c, &at, value, NULL)) < 0)
			return r;
	}

	defaults = rule_new("default", origin);
	if (!defaults)
		return no_memory(c);
	value = json_object_get(root, "defaults");
	r = value ? parse_defaults(c, &path, value, defaults) : 0;
	value = json_object_get(root, "rules");
	if (r >= 0 && value)
		r = parse_rules(c, value, defaults, policy);
	value = json_object_get(root, "max_parallel");
	path.key = "max_parallel";
	if (r >= 0 && value) {
		unsigned int n = 0;

		/* The main file is read last, and drop-ins go before it. */
		r = parse_count(c, &path, value, MAX_PARALLEL_MAX, &n);
		if (r >= 0 && (!main || policy->max_parallel == 0))
			policy->max_parallel = n;
	}
	if (r >= 0 && main) {
		rule_free(policy->fallback);
		policy->fallback = defaults;
		defaults = NULL;
	}
	rule_free(defaults);
	return r;
}

int policy_parse(struct policy *policy, const char *file, const char *text, size_t len, bool main,
		 char error[static POLICY_ERROR_SIZE])
{
	struct context c = {.policy = policy, .file = file, .text = text, .error = error};
	char visible[JSON_ERROR_TEXT_LENGTH];
	json_error_t json_error;
	json_t *root;
	int r;

	error[0] = '\0';
	/* jansson lets one pass behind a number, and what follows it could then not be located. */
	if (memchr(text, '\0', len)) {
		unsigned int line = 1;
		const char *begin = text;

		for (const char *s = text; *s; s++) {
			if (*s == '\n') {
				line++;
				begin = s + 1;
			}
		}
		snprintf(error, POLICY_ERROR_SIZE, "%s:%u:%zu: not valid JSON: a NUL byte", file,
			 line, strlen(begin) + 1);
		return -EINVAL;
	}
	if (text[strspn(text, " \t\r\n")] == '\0' && strlen(text) == len) {
		snprintf(error, POLICY_ERROR_SIZE,
			 "%s:1:1: the file is empty; {} is a policy without rules", file);
		return -EINVAL;
	}
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_error);
	if (!root && json_error_code(&json_error) == json_error_null_character) {
		snprintf(error, POLICY_ERROR_SIZE,
			 "%s:%d:%d: not valid JSON: nothing here may hold the character \\u0000",
			 file, json_error.line, json_error.column);
		return -EINVAL;
	}
	if (!root) {
		snprintf(error, POLICY_ERROR_SIZE, "%s:%d:%d: not valid JSON: %s", file,
			 json_error.line > 0 ? json_error.line : 1,
			 json_error.column > 0 ? json_error.column : 1,
			 str_visible(visible, sizeof(visible), json_error.text));
		return -EINVAL;
	}
	r = parse_root(&c, root, policy, main);
	json_decref(root);
	return r;
}
