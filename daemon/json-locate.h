/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in a JSON text a value stands: jansson tells that for syntax errors only. */
#ifndef SMMU_RAS_JSON_LOCATE_H
#define SMMU_RAS_JSON_LOCATE_H

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

/* Writes @path as people do, "rules[2].steps[0]", to @buf; "" for the root. Returns @buf. */
const char *json_path_format(const struct json_path *path, char *buf, size_t size);

#endif
