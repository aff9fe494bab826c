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

static int hex4(const char *s)
{
	unsigned int n = 0;

	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return -1;
		n = n * 16 + (unsigned int)(isdigit((unsigned char)s[i])
						    ? s[i] - '0'
						    : tolower((unsigned char)s[i]) - 'a' + 10);
	}
	return (int)n;
}

/* Writes a character as UTF-8. Returns its length. */
static size_t put_utf8(unsigned int c, char out[static 4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/*
 * Reads one character of a string, or its escape (RFC 8259, section 7), at *@s. Returns the length
 * of what it stands for, 0 for what is no escape.
 */
static size_t read_char(const char **s, char out[static 4])
{
	static const char letters[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	const char *letter;
	int high;
	int low;

	if (**s != '\\') {
		out[0] = *(*s)++;
		return 1;
	}
	(*s)++;
	if (**s == '\0')
		return 0;
	if (**s != 'u') {
		letter = strchr(letters, **s);
		out[0] = letter ? meant[letter - letters] : **s;
		(*s)++;
		return 1;
	}
	high = hex4(*s + 1);
	if (high < 0)
		return 0;
	*s += 5;
	if (high < 0xd800 || high > 0xdbff)
		return put_utf8((unsigned int)high, out);
	low = (*s)[0] == '\\' && (*s)[1] == 'u' ? hex4(*s + 2) : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*s += 6;
	return put_utf8(0x10000U + ((unsigned int)(high - 0xd800) << 10) +
				(unsigned int)(low - 0xdc00),
			out);
}

static bool key_is(const char *quoted, const char *key)
{
	const char *s = quoted + 1;

	while (*s != '"' && *s != '\0') {
		char c[4];
		size_t n = read_char(&s, c);

		if (n == 0 || strncmp(key, c, n) != 0)
			return false;
		key += n;
	}
	return *s == '"' && *key == '\0';
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

void json_complain(char *error, size_t size, const char *file, const char *text,
		   const struct json_path *path, bool want_key, const char *format, va_list ap)
{
	char where[128];
	char visible[256];
	char what[512];
	unsigned int line = 1;
	unsigned int column = 1;

	json_locate(text, path, want_key, &line, &column);
	json_path_format(path, where, sizeof(where));
	vsnprintf(what, sizeof(what), format, ap);
	/* A key is what somebody else wrote, too. */
	str_visible(visible, sizeof(visible), where);
	snprintf(error, size, "%s:%u:%u: %s%s%s", file, line, column, visible,
		 visible[0] ? ": " : "", what);
}
