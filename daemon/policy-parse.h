/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files that read the policy language share.
 *
 * policy-parse.c reads a whole file, policy-parse-match.c what a rule fits, policy-parse-steps.c
 * what is done and which programs are run, policy-parse-rule.c the rest; policy-parse-base.c has
 * what all of them need: errors, and objects with known keys.
 */
#ifndef SMMU_RAS_POLICY_PARSE_H
#define SMMU_RAS_POLICY_PARSE_H

#include <jansson.h>

#include "json-locate.h"
#include "policy.h"

struct context {
	struct policy *policy; /* owns the commands */
	const char *file;
	const char *text;
	char *error; /* POLICY_ERROR_SIZE bytes */
};

/* A key of an object, and what reads its value. */
struct member {
	const char *key;
	/* @value stands at @path. Returns 0 or a negative errno after fail(). */
	int (*parse)(struct context *c, const struct json_path *path, json_t *value, void *target);
};

/* --- policy-parse-base.c --------------------------------------------------------------------- */

/*
 * Writes "file:line:column: key: what is wrong" as the error. The place is that of the value at
 * @path, or of its key. Returns -EINVAL.
 */
int fail_at(struct context *c, const struct json_path *path, bool key, const char *format, ...)
	_printf_(4, 5);
#define fail(c, path, ...)     fail_at(c, path, false, __VA_ARGS__)
#define fail_key(c, path, ...) fail_at(c, path, true, __VA_ARGS__)

/* Returns -ENOMEM, and says so. */
int no_memory(struct context *c);

/* The beginning of what stands in a file, fit for a message; valid to the end of the block. */
#define SHOWN(s) str_visible((char[44]){0}, 44, (s))

/* What @value is, for "expected ..., found a list". */
const char *type_name(const json_t *value);

bool one_of(const char *word, const char *const *known, size_t n);

/* Says that @word is none of @known, and which one was meant. @path is a key (with @key) or a
 * value. */
int fail_unknown(struct context *c, const struct json_path *path, bool key, const char *what,
		 const char *word, const char *const *known, size_t n);

/* Hands each member of @object to the parser of its key, with @target. */
int parse_object(struct context *c, const struct json_path *path, json_t *object,
		 const struct member *members, size_t n_members, void *target);

/* Values. */
int parse_text(struct context *c, const struct json_path *path, json_t *value, void *target);
int parse_span(struct context *c, const struct json_path *path, json_t *value, uint64_t min,
	       uint64_t max, uint64_t *ret);
int parse_count(struct context *c, const struct json_path *path, json_t *value, unsigned int max,
		unsigned int *ret);

/* --- the subjects; @target is a struct rule -------------------------------------------------- */

int parse_match(struct context *c, const struct json_path *path, json_t *value, void *target);

int parse_steps(struct context *c, const struct json_path *path, json_t *value, void *target);
int parse_hooks(struct context *c, const struct json_path *path, json_t *value, void *target);
int parse_on_exhausted(struct context *c, const struct json_path *path, json_t *value,
		       void *target);

/* Keys that both a rule and the defaults have, and those of a rule; each reads an object. */
int parse_defaults(struct context *c, const struct json_path *path, json_t *value,
		   struct rule *rule);
int parse_rule(struct context *c, const struct json_path *path, json_t *value, struct rule *rule);
/* Gives @to all that the defaults @from say. Returns 0 or -ENOMEM. */
int copy_parameters(struct rule *to, const struct rule *from);

#endif
