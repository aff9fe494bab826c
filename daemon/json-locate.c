// SPDX-License-Identifier: GPL-2.0-or-later
#include "json-locate.h"

#include <ctype.h>

/* Deeper than any policy; a deeper document is simply not searched. */
#define MAX_DEPTH 16

static const char *skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* @s stands on a quotation mark. Returns what follows the string. */
static const char *skip_string(const char *s)
{
	for (s++; *s != '\0' && *s != '"'; s++)
		if (*s == '\\' && s[1] != '\0')
			s++;
	return *s == '"' ? s + 1 : s;
}

static const char *skip_value(const char *s)
{
	unsigned int depth = 0;

	do {
		s = skip_space(s);
		switch (*s) {
		case '\0':
			return s;
		case '"':
			s = skip_string(s);
			break;
		case '{':
		case '[':
			depth++;
			s++;
			break;
		case '}':
		case ']':
			if (depth == 0)
				return s;
			depth--;
			s++;
			break;
		case ',':
		case ':':
			if (depth == 0)
				return s;
			s++;
			break;
		default:
			while (*s != '\0' && !isspace((unsigned char)*s) && !strchr(",:]}[{\"", *s))
				s++;
		}
	} while (depth > 0);
	return s;
}

/*
 * Keys are compared as they are written. One that is written with escapes is not found, and the
 * error then points to the value around it.
 */
static bool key_is(const char *quoted, const char *key)
{
	size_t len = strlen(key);

	return strncmp(quoted + 1, key, len) == 0 && quoted[1 + len] == '"';
}

/* What follows a value and its comma, or NULL at the end of the object or array. */
static const char *next_item(const char *value)
{
	value = skip_space(skip_value(value));
	return *value == ',' ? skip_space(value + 1) : NULL;
}

static const char *find_member(const char *s, const char *key, const char **ret_key)
{
	if (*s != '{')
		return NULL;
	s = skip_space(s + 1);
	while (*s == '"') {
		const char *quoted = s;

		s = skip_space(skip_string(s));
		if (*s != ':')
			return NULL;
		s = skip_space(s + 1);
		if (key_is(quoted, key)) {
			*ret_key = quoted;
			return s;
		}
		s = next_item(s);
		if (!s)
			return NULL;
	}
	return NULL;
}

static const char *find_element(const char *s, size_t index)
{
	if (*s != '[')
		return NULL;
	s = skip_space(s + 1);
	for (size_t i = 0; *s != '\0' && *s != ']'; i++) {
		if (i == index)
			return s;
		s = next_item(s);
		if (!s)
			return NULL;
	}
	return NULL;
}

bool json_locate(const char *text, const struct json_path *path, bool want_key, unsigned int *line,
		 unsigned int *column)
{
	const struct json_path *parts[MAX_DEPTH];
	const char *s = skip_space(text);
	const char *key = NULL;
	size_t depth = 0;
	bool found = true;

	*line = 1;
	*column = 1;
	for (; path; path = path->parent) {
		if (depth == MAX_DEPTH)
			return false;
		parts[depth++] = path;
	}
	while (depth > 0) {
		const struct json_path *part = parts[--depth];
		const char *next;

		key = NULL;
		next = part->key ? find_member(s, part->key, &key) : find_element(s, part->index);
		if (!next) {
			found = false;
			break;
		}
		s = next;
	}
	if (found && want_key && key)
		s = key;
	for (const char *p = text; p < s; p++) {
		if (*p == '\n') {
			(*line)++;
			*column = 1;
		} else {
			(*column)++;
		}
	}
	return found;
}

bool json_lines_begin(struct json_lines *lines, const char *text, const char *key)
{
	const char *name;

	lines->counted = text;
	lines->line = 1;
	lines->element = find_member(skip_space(text), key, &name);
	if (!lines->element || *lines->element != '[')
		return false;
	lines->element = skip_space(lines->element + 1);
	return true;
}

unsigned int json_lines_next(struct json_lines *lines)
{
	for (; lines->counted < lines->element; lines->counted++)
		if (*lines->counted == '\n')
			lines->line++;
	lines->element = skip_space(skip_value(lines->element));
	if (*lines->element == ',')
		lines->element = skip_space(lines->element + 1);
	return lines->line;
}

const char *json_path_format(const struct json_path *path, char *buf, size_t size)
{
	size_t used;

	buf[0] = '\0';
	if (!path)
		return buf;
	json_path_format(path->parent, buf, size);
	used = strlen(buf);
	if (path->key)
		snprintf(buf + used, size - used, "%s%s", used ? "." : "", path->key);
	else
		snprintf(buf + used, size - used, "[%zu]", path->index);
	return buf;
}
