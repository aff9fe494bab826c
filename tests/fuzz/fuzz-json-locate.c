// SPDX-License-Identifier: GPL-2.0-or-later
/* Where a value stands, held against what jansson says is there: each value has to be found, and to
 * be itself. */
#include <jansson.h>

#include "fuzz.h"
#include "json-locate.h"

/* Deeper values are not searched for (MAX_DEPTH in json-locate.c). */
#define DEPTH_MAX 15

static const char *place(const char *text, unsigned int line, unsigned int column)
{
	while (line > 1) {
		text = strchr(text, '\n');
		FUZZ_INSIST(text);
		text++;
		line--;
	}
	FUZZ_INSIST(column >= 1 && strlen(text) >= column - 1);
	return text + column - 1;
}

static bool begins_like(const char *s, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return *s == '{';
	case JSON_ARRAY:
		return *s == '[';
	case JSON_STRING:
		return *s == '"';
	case JSON_TRUE:
		return strncmp(s, "true", 4) == 0;
	case JSON_FALSE:
		return strncmp(s, "false", 5) == 0;
	case JSON_NULL:
		return strncmp(s, "null", 4) == 0;
	case JSON_INTEGER:
		return strtoll(s, NULL, 10) == json_integer_value(value);
	default:
		return *s == '-' || (*s >= '0' && *s <= '9');
	}
}

/* Keys that are written with escapes are not found, and nothing below them either. */
static bool plain(const char *text, const char *key)
{
	return !strchr(text, '\\') && !strpbrk(key, "\"\\");
}

static void walk(const char *text, const struct json_path *path, json_t *value, unsigned int depth)
{
	unsigned int line = 0;
	unsigned int column = 0;
	char written[256];
	const char *key;
	json_t *child;
	size_t i;

	FUZZ_INSIST(json_locate(text, path, false, &line, &column));
	FUZZ_INSIST(begins_like(place(text, line, column), value));
	if (path && path->key) {
		FUZZ_INSIST(json_locate(text, path, true, &line, &column));
		FUZZ_INSIST(*place(text, line, column) == '"');
		FUZZ_INSIST(strncmp(place(text, line, column) + 1, path->key, strlen(path->key)) ==
			    0);
	}
	json_path_format(path, written, sizeof(written));
	if (depth == DEPTH_MAX)
		return;
	json_object_foreach(value, key, child)
	{
		struct json_path at = {.parent = path, .key = key};

		if (plain(text, key))
			walk(text, &at, child, depth + 1);
	}
	json_array_foreach(value, i, child)
	{
		struct json_path at = {.parent = path, .index = i};

		walk(text, &at, child, depth + 1);
	}
}

static void lines(const char *text, json_t *root)
{
	json_t *rules = json_object_get(root, "rules");
	struct json_lines at;

	if (!json_is_array(rules) || !plain(text, "rules"))
		return;
	FUZZ_INSIST(json_lines_begin(&at, text, "rules"));
	for (size_t i = 0; i < json_array_size(rules); i++) {
		struct json_path list = {.key = "rules"};
		struct json_path element = {.parent = &list, .index = i};
		unsigned int line = 0;
		unsigned int column = 0;

		FUZZ_INSIST(json_locate(text, &element, false, &line, &column));
		FUZZ_INSIST(json_lines_next(&at) == line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;
	json_t *root;

	/* The search is quadratic in the size of what is searched, here as for one error in the
	 * daemon it is not. */
	if (size > 4096 || memchr(data, '\0', size)) /* policy_parse() refuses these by itself */
		return -1;
	text = fuzz_text(data, size);
	root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return -1;
	walk(text, NULL, root, 0);
	lines(text, root);
	json_decref(root);
	return 0;
}
