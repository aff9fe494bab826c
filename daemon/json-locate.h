/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in a JSON text a value stands: jansson tells that for syntax errors only. */
#ifndef SMMU_RAS_JSON_LOCATE_H
#define SMMU_RAS_JSON_LOCATE_H

#include <stdarg.h>

#include "util.h"

/* One step from the root of a document to a value in it; lives on the stack of a parser. */
struct json_path {
	const struct json_path *parent; /* NULL: a member of the root */
	const char *key;		/* member of an object; NULL: element of an array */
	size_t index;
};

/*
 * Finds the value at @path (NULL: the root) in @text, or with @want_key the key in front of it.
 * @text has to be JSON that jansson accepted. Lines and columns count from 1, columns in bytes.
 * Returns false when there is nothing at @path; @line and @column are then 1.
 */
bool json_locate(const char *text, const struct json_path *path, bool want_key, unsigned int *line,
		 unsigned int *column);

/* Where the elements of a list stand, one after the other and in one pass. */
struct json_lines {
	const char *element;
	const char *counted; /* line ends up to here are in .line */
	unsigned int line;
};

/*
 * Begins with the list that is member @key of the object @text. Returns false when there is none.
 * json_lines_next() returns the line of the next element; there have to be so many.
 */
bool json_lines_begin(struct json_lines *lines, const char *text, const char *key);
unsigned int json_lines_next(struct json_lines *lines);

/*
 * Writes what is wrong there to @error: "FILE:LINE:COLUMN: PATH: " and the rest; @text and
 * @want_key as for json_locate().
 */
void json_complain(char *error, size_t size, const char *file, const char *text,
		   const struct json_path *path, bool want_key, const char *format, va_list ap)
	_printf_(7, 0);

/* Writes @path as people do, "rules[2].steps[0]", to @buf; "" for the root. Returns @buf. */
const char *json_path_format(const struct json_path *path, char *buf, size_t size);

#endif
