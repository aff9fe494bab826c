// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whoever reads an error here is an operator who has to mend a file at a bad moment: each names the
 * place, what stands there, and what would do.
 */
#include "policy-parse.h"

#include <errno.h>
#include <stdarg.h>

int fail_at(struct context *c, const struct json_path *path, bool key, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	json_complain(c->error, POLICY_ERROR_SIZE, c->file, c->text, path, key, format, ap);
	va_end(ap);
	return -EINVAL;
}

int no_memory(struct context *c)
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

bool one_of(const char *word, const char *const *known, size_t n)
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

const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	default:
		return "null";
	}
}

/* Says that @word is none of @known. @path is a key (with @key) or a value. */
int fail_unknown(struct context *c, const struct json_path *path, bool key, const char *what,
		 const char *word, const char *const *known, size_t n)
{
	const char *near = closest(word, known, n);
	char list[256];

	if (near)
		return fail_at(c, path, key, "unknown %s \"%s\"; did you mean \"%s\"?", what,
			       SHOWN(word), near);
	return fail_at(c, path, key, "unknown %s \"%s\"; use one of: %s", what, SHOWN(word),
		       join(list, sizeof(list), known, n));
}

int parse_object(struct context *c, const struct json_path *path, json_t *object,
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
			return fail_unknown(c, &at, true, "key", key, names, n_members);
		}
		r = members[i].parse(c, &at, value, target);
		if (r < 0)
			return r;
	}
	return 0;
}

int parse_text(struct context *c, const struct json_path *path, json_t *value,
	       void *target _unused_)
{
	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	return 0;
}

int parse_span(struct context *c, const struct json_path *path, json_t *value, uint64_t min,
	       uint64_t max, uint64_t *ret)
{
	uint64_t usec = 0;
	int r;

	if (!json_is_string(value))
		return fail(c, path, "expected a time such as \"30s\" or \"1min 30s\", found %s",
			    type_name(value));
	r = parse_usec(json_string_value(value), &usec);
	if (r == -EINVAL)
		return fail(c, path,
			    "\"%s\" is not a time; write a number and a unit (us, ms, s, min, h, "
			    "d), such as \"30s\" or \"1min 30s\"",
			    SHOWN(json_string_value(value)));
	if (r < 0 || usec < min || usec > max)
		return fail(c, path, "\"%s\" is out of range; use %s to %s",
			    SHOWN(json_string_value(value)), USEC_TEXT(min), USEC_TEXT(max));
	*ret = usec;
	return 0;
}

int parse_count(struct context *c, const struct json_path *path, json_t *value, unsigned int max,
		unsigned int *ret)
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
