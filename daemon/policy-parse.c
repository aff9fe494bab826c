// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From JSON to rules. Whoever reads an error here is an operator who has to mend a file at a bad
 * moment: each names the place, what stands there, and what would do.
 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>

#include "json-locate.h"
#include "policy.h"

#define RULES_MAX	 4096
#define GLOBS_MAX	 256
#define TIMEOUT_MAX	 (24 * 3600 * USEC_PER_SEC)
#define ATTEMPTS_MAX	 1000
#define MAX_PARALLEL_MAX 1024

struct context {
	const char *file;
	const char *text;
	char *error;
};

struct member {
	const char *key;
	/* @value stands at @path. Returns 0 or a negative errno after fail(). */
	int (*parse)(struct context *c, const struct json_path *path, json_t *value, void *target);
};

/* Keys of the design that this version does not have yet. */
static const char *const later_keys[] = {"hooks", "slot"};
static const char *const later_steps[] = {"remove", "rescan", "slot-power-cycle", "exec"};

static int fail_at(struct context *c, const struct json_path *path, bool key, const char *format,
		   ...) _printf_(4, 5);

static int fail_at(struct context *c, const struct json_path *path, bool key, const char *format,
		   ...)
{
	char where[128];
	char what[512];
	unsigned int line = 1;
	unsigned int column = 1;
	va_list ap;

	json_locate(c->text, path, key, &line, &column);
	json_path_format(path, where, sizeof(where));
	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	snprintf(c->error, POLICY_ERROR_SIZE, "%s:%u:%u: %s%s%s", c->file, line, column, where,
		 where[0] ? ": " : "", what);
	return -EINVAL;
}

#define fail(c, path, ...)     fail_at(c, path, false, __VA_ARGS__)
#define fail_key(c, path, ...) fail_at(c, path, true, __VA_ARGS__)

static int no_memory(struct context *c)
{
	snprintf(c->error, POLICY_ERROR_SIZE, "%s: out of memory", c->file);
	return -ENOMEM;
}

/* How many letters to add, drop or change to get from @a to @b; gives up beyond 31 letters. */
static unsigned int distance(const char *a, const char *b)
{
	size_t la = strlen(a);
	size_t lb = strlen(b);
	unsigned int row[32];

	if (la >= ARRAY_SIZE(row) || lb >= ARRAY_SIZE(row))
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

static const char *closest(const char *word, const char *const *known, size_t n)
{
	const char *best = NULL;
	unsigned int best_distance = 3;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = distance(word, known[i]);

		if (d < best_distance) {
			best = known[i];
			best_distance = d;
		}
	}
	return best;
}

static bool one_of(const char *word, const char *const *known, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (streq(word, known[i]))
			return true;
	return false;
}

/* "a, b, c" for a message. */
static const char *join(char *buf, size_t size, const char *const *words, size_t n)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", words[i]);
	return buf;
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	default:
		return "null";
	}
}

/* Says that @word is none of @known. @path is a key (with @key) or a value. */
static int fail_unknown(struct context *c, const struct json_path *path, bool key, const char *what,
			const char *word, const char *const *known, size_t n)
{
	const char *near = closest(word, known, n);
	char list[256];

	if (near)
		return fail_at(c, path, key, "unknown %s \"%.40s\"; did you mean \"%s\"?", what,
			       word, near);
	return fail_at(c, path, key, "unknown %s \"%.40s\"; use one of: %s", what, word,
		       join(list, sizeof(list), known, n));
}

static int parse_object(struct context *c, const struct json_path *path, json_t *object,
			const struct member *members, size_t n_members, void *target)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return fail(c, path, "expected an object, found %s", type_name(object));
	json_object_foreach(object, key, value)
	{
		struct json_path at = {.parent = path, .key = key};
		const char *names[32];
		size_t i;
		int r;

		for (i = 0; i < n_members; i++) {
			names[i] = members[i].key;
			if (streq(members[i].key, key))
				break;
		}
		if (i == n_members) {
			if (one_of(key, later_keys, ARRAY_SIZE(later_keys)))
				return fail_key(
					c, &at,
					"\"%s\" is not supported by this version; remove it", key);
			return fail_unknown(c, &at, true, "key", key, names, n_members);
		}
		r = members[i].parse(c, &at, value, target);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_text(struct context *c, const struct json_path *path, json_t *value,
		      void *target _unused_)
{
	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	return 0;
}

static int parse_span(struct context *c, const struct json_path *path, json_t *value, uint64_t min,
		      uint64_t max, uint64_t *ret)
{
	uint64_t usec = 0;
	int r;

	if (!json_is_string(value))
		return fail(c, path, "expected a time such as \"30s\" or \"1min 30s\", found %s",
			    type_name(value));
	r = parse_usec(json_string_value(value), &usec);
	if (r == -EINVAL)
		return fail(
			c, path,
			"\"%.40s\" is not a time; write a number and a unit (us, ms, s, min, h, "
			"d), such as \"30s\" or \"1min 30s\"",
			json_string_value(value));
	if (r < 0 || usec < min || usec > max)
		return fail(c, path, "\"%.40s\" is out of range; use %s to %s",
			    json_string_value(value), USEC_TEXT(min), USEC_TEXT(max));
	*ret = usec;
	return 0;
}

static int parse_count(struct context *c, const struct json_path *path, json_t *value,
		       unsigned int max, unsigned int *ret)
{
	json_int_t n;

	if (!json_is_integer(value))
		return fail(c, path, "expected a whole number, found %s", type_name(value));
	n = json_integer_value(value);
	if (n < 1 || n > max)
		return fail(c, path, "%" JSON_INTEGER_FORMAT " is out of range; use 1 to %u", n,
			    max);
	*ret = (unsigned int)n;
	return 0;
}

/* --- match ----------------------------------------------------------------------------------- */

static const char *const reasons[] = {"atc-timeout", "sync-timeout", "reset-failed",
				      "administrative"};

/* Catches patterns that can never fit: a rule that silently does nothing is worse than an error. */
static int check_glob(struct context *c, const struct json_path *path, enum match_key key,
		      const char *glob)
{
	bool is_glob = strpbrk(glob, "*?[") != NULL;

	switch (key) {
	case MATCH_VENDOR:
	case MATCH_DEVICE:
	case MATCH_CLASS:
		for (const char *s = glob; *s; s++)
			if (!isxdigit((unsigned char)*s) && !strchr("*?[]!^-", *s))
				return fail(c, path,
					    "\"%.40s\" is not a PCI %s; use hexadecimal digits and "
					    "wildcards, such as \"%s\"",
					    glob, match_key_name(key),
					    key == MATCH_CLASS ? "0108*" : "8086");
		if (!is_glob && strlen(glob) != (key == MATCH_CLASS ? 6 : 4))
			return fail(c, path,
				    "\"%.40s\" can never fit: a PCI %s has %d hexadecimal digits%s",
				    glob, match_key_name(key), key == MATCH_CLASS ? 6 : 4,
				    key == MATCH_CLASS ? "; for a whole class write \"0108*\""
						       : "");
		return 0;
	case MATCH_REASON:
		if (!is_glob && !one_of(glob, reasons, ARRAY_SIZE(reasons)))
			return fail_unknown(c, path, false, "reason", glob, reasons,
					    ARRAY_SIZE(reasons));
		return 0;
	default:
		return 0;
	}
}

static int add_glob(struct context *c, const struct json_path *path, json_t *value,
		    enum match_key key, struct glob_list *list)
{
	const char *glob;
	int r;

	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	glob = json_string_value(value);
	/* "0x8086" is what lspci's users and sysfs write. */
	if ((key == MATCH_VENDOR || key == MATCH_DEVICE || key == MATCH_CLASS) &&
	    (strncmp(glob, "0x", 2) == 0 || strncmp(glob, "0X", 2) == 0))
		glob += 2;
	r = check_glob(c, path, key, glob);
	if (r < 0)
		return r;
	list->globs[list->n] = strdup(glob);
	if (!list->globs[list->n])
		return no_memory(c);
	list->n++;
	return 0;
}

static int parse_globs(struct context *c, const struct json_path *path, json_t *value,
		       enum match_key key, struct glob_list *list)
{
	size_t n = json_is_array(value) ? json_array_size(value) : 1;

	if (n == 0 || n > GLOBS_MAX)
		return fail(c, path,
			    "expected 1 to %d patterns; leave \"%s\" out to match anything",
			    GLOBS_MAX, match_key_name(key));
	list->globs = calloc(n, sizeof(*list->globs));
	if (!list->globs)
		return no_memory(c);
	if (!json_is_array(value))
		return add_glob(c, path, value, key, list);
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.parent = path, .index = i};
		int r = add_glob(c, &at, json_array_get(value, i), key, list);

		if (r < 0)
			return r;
	}
	return 0;
}

#define MATCH_PARSER(name, key)                                                                    \
	static int parse_match_##name(struct context *c, const struct json_path *path,             \
				      json_t *value, void *target)                                 \
	{                                                                                          \
		struct rule *rule = target;                                                        \
                                                                                                   \
		return parse_globs(c, path, value, key, &rule->match[key]);                        \
	}

MATCH_PARSER(address, MATCH_ADDRESS)
MATCH_PARSER(vendor, MATCH_VENDOR)
MATCH_PARSER(device, MATCH_DEVICE)
MATCH_PARSER(class, MATCH_CLASS)
MATCH_PARSER(driver, MATCH_DRIVER)
MATCH_PARSER(iommu, MATCH_IOMMU)
MATCH_PARSER(reason, MATCH_REASON)

static const struct member match_members[] = {
	{"address", parse_match_address}, {"vendor", parse_match_vendor},
	{"device", parse_match_device},	  {"class", parse_match_class},
	{"driver", parse_match_driver},	  {"iommu", parse_match_iommu},
	{"reason", parse_match_reason},
};

static int parse_match(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	return parse_object(c, path, value, match_members, ARRAY_SIZE(match_members), target);
}

/* --- steps ----------------------------------------------------------------------------------- */

static const char *const step_names[] = {"unbind", "reset", "bind", "reattach", "verify", "wait"};

static int parse_step_name(struct context *c, const struct json_path *path, json_t *value,
			   void *target)
{
	struct step *step = target;
	const char *name;

	if (!json_is_string(value))
		return fail(c, path, "expected the name of a step, found %s", type_name(value));
	name = json_string_value(value);
	for (enum step_kind kind = 0; kind < _STEP_KIND_MAX; kind++) {
		if (streq(name, step_name(kind))) {
			step->kind = kind;
			return 0;
		}
	}
	if (one_of(name, later_steps, ARRAY_SIZE(later_steps)))
		return fail(c, path, "step \"%s\" is not supported by this version; remove it",
			    name);
	return fail_unknown(c, path, false, "step", name, step_names, ARRAY_SIZE(step_names));
}

static int parse_step_timeout(struct context *c, const struct json_path *path, json_t *value,
			      void *target)
{
	struct step *step = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &step->timeout);
}

static int parse_step_for(struct context *c, const struct json_path *path, json_t *value,
			  void *target)
{
	struct step *step = target;

	return parse_span(c, path, value, 1, TIMEOUT_MAX, &step->wait);
}

static const struct member step_members[] = {
	{"step", parse_step_name},
	{"timeout", parse_step_timeout},
	{"for", parse_step_for},
	{"description", parse_text},
};

static int parse_step(struct context *c, const struct json_path *path, json_t *value,
		      struct step *step)
{
	int r;

	if (json_is_string(value)) {
		r = parse_step_name(c, path, value, step);
	} else if (json_is_object(value)) {
		if (!json_object_get(value, "step"))
			return fail(c, path,
				    "a step needs its name, such as {\"step\": \"reset\"}");
		r = parse_object(c, path, value, step_members, ARRAY_SIZE(step_members), step);
	} else {
		return fail(c, path, "expected the name of a step or an object, found %s",
			    type_name(value));
	}
	if (r < 0)
		return r;
	if (step->kind == STEP_WAIT && step->wait == 0)
		return fail(
			c, path,
			"\"wait\" needs to know how long: {\"step\": \"wait\", \"for\": \"2s\"}");
	if (step->kind != STEP_WAIT && step->wait != 0) {
		struct json_path at = {.parent = path, .key = "for"};

		return fail_key(c, &at,
				"only the step \"wait\" has \"for\"; use \"timeout\" to "
				"limit another one");
	}
	return 0;
}

static int parse_steps(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	struct rule *rule = target;
	bool bound = true;

	if (!json_is_array(value))
		return fail(c, path, "expected a list of steps, found %s", type_name(value));
	if (json_array_size(value) == 0 || json_array_size(value) > RULE_STEPS_MAX)
		return fail(c, path,
			    "expected 1 to %d steps; to leave a device fenced, use "
			    "\"action\": \"isolate\"",
			    RULE_STEPS_MAX);
	memset(rule->steps, 0, sizeof(rule->steps));
	rule->n_steps = 0;
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path at = {.parent = path, .index = i};
		struct step *step = &rule->steps[i];
		int r = parse_step(c, &at, json_array_get(value, i), step);

		if (r < 0)
			return r;
		if (step->kind == STEP_UNBIND)
			bound = false;
		if (step->kind == STEP_BIND)
			bound = true;
		rule->n_steps++;
	}
	if (!bound)
		return fail(c, path, "the driver is unbound and never bound again; add \"bind\"");
	return 0;
}

/* --- the rest of a rule ---------------------------------------------------------------------- */

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
		used += (size_t)snprintf(methods + used, sizeof(methods) - used, "%s%s",
					 i ? " " : "", json_string_value(method));
		if (used >= sizeof(methods))
			return fail(c, path, "too many reset methods; name each one once");
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

static int parse_on_exhausted(struct context *c, const struct json_path *path, json_t *value,
			      void *target _unused_)
{
	if (json_is_string(value) && streq(json_string_value(value), "isolate"))
		return 0;
	return fail(c, path, "only \"isolate\" is supported by this version");
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

/* What both a rule and the defaults may say: everything from here to the end ... */
#define PARAMETER_MEMBERS                                                                          \
	{"action", parse_action}, {"steps", parse_steps}, {"reset_methods", parse_reset_methods},  \
		{"step_timeout", parse_timeout}, {"attempts", parse_attempts},                     \
		{"backoff", parse_backoff}, {"rate_limit", parse_rate_limit},                      \
		{"on_exhausted", parse_on_exhausted}, {"protect", parse_protect},                  \
	{                                                                                          \
		"description", parse_text                                                          \
	}

static const struct member default_members[] = {PARAMETER_MEMBERS};
/* ... and what only a rule has. */
static const struct member rule_members[] = {
	PARAMETER_MEMBERS,
	{"name", parse_name},
	{"match", parse_match},
};

static int copy_parameters(struct rule *to, const struct rule *from)
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
	if (from->reset_methods) {
		free(to->reset_methods);
		to->reset_methods = strdup(from->reset_methods);
		if (!to->reset_methods)
			return -ENOMEM;
	}
	return 0;
}

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
		r = parse_object(c, &at, json_array_get(rules, i), rule_members,
				 ARRAY_SIZE(rule_members), rule);
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
	r = value ? parse_object(c, &path, value, default_members, ARRAY_SIZE(default_members),
				 defaults)
		  : 0;
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
	struct context c = {.file = file, .text = text, .error = error};
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
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_error);
	if (!root) {
		snprintf(error, POLICY_ERROR_SIZE, "%s:%d:%d: not valid JSON: %s", file,
			 json_error.line > 0 ? json_error.line : 1,
			 json_error.column > 0 ? json_error.column : 1, json_error.text);
		return -EINVAL;
	}
	r = parse_root(&c, root, policy, main);
	json_decref(root);
	return r;
}
