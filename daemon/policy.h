/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operator's policy: which devices are recovered, and how.
 *
 * policy.c finds and reads the files, policy-parse.c turns one into rules, policy-match.c picks the
 * rule for a device.
 */
#ifndef SMMU_RAS_POLICY_H
#define SMMU_RAS_POLICY_H

#include "kernel-msg.h"
#include "util.h"

enum policy_action {
	ACTION_RECOVER,
	ACTION_ISOLATE, /* leave it fenced, for the operator */
	ACTION_IGNORE,	/* as isolate, but say nothing more about it */
};

enum step_kind {
	STEP_UNBIND,
	STEP_RESET,
	STEP_BIND,
	STEP_REATTACH,
	STEP_VERIFY,
	STEP_WAIT,
	_STEP_KIND_MAX,
};

struct step {
	enum step_kind kind;
	uint64_t timeout; /* us; 0: the rule's step_timeout */
	uint64_t wait;	  /* us; for STEP_WAIT */
};

/* What a device is held against. The order is that of `policy explain`. */
enum match_key {
	MATCH_ADDRESS,
	MATCH_VENDOR,
	MATCH_DEVICE,
	MATCH_CLASS,
	MATCH_DRIVER,
	MATCH_IOMMU,
	MATCH_REASON,
	_MATCH_MAX,
};

struct glob_list {
	char **globs;
	size_t n; /* 0: anything fits */
};

/* What unbinding a driver may not take away, as a mask. */
enum protect {
	PROTECT_MOUNTED = 1 << 0,	/* a mounted filesystem */
	PROTECT_SWAP = 1 << 1,		/* active swap */
	PROTECT_DEFAULT_ROUTE = 1 << 2, /* the way out */
	PROTECT_VFIO = 1 << 3,		/* a guest or another VFIO user */
	PROTECT_ALL = (1 << 4) - 1,
};

#define RULE_STEPS_MAX 16

struct rule {
	char *name;
	char *origin; /* "/etc/smmu-rasd/policy.json:12", or "built in" */
	struct glob_list match[_MATCH_MAX];
	enum policy_action action;
	struct step steps[RULE_STEPS_MAX];
	size_t n_steps;
	char *reset_methods; /* separated by blanks, as sysfs wants them; NULL: the kernel's choice
			      */
	uint64_t step_timeout;	 /* us */
	unsigned int attempts;	 /* per fence */
	uint64_t backoff;	 /* us before the second attempt; doubles each time ... */
	uint64_t backoff_max;	 /* ... up to this */
	unsigned int rate_count; /* recoveries per ... */
	uint64_t rate_window;	 /* ... us; 0: no limit */
	unsigned int protect;	 /* mask of enum protect */
};

struct policy {
	unsigned int refs;
	struct rule **rules; /* in the order in which they are tried; the last fits everything */
	size_t n_rules;
	struct rule *fallback;	   /* becomes the last rule */
	unsigned int max_parallel; /* recoveries at the same time; 0: not set yet */
	char *sources;		   /* the files it came from, for people */
};

/* Room for "file:line:column: key: what is wrong, and the cure". */
#define POLICY_ERROR_SIZE 1024

/*
 * Reads the policy in force: policy.json of /etc or else of the vendor, with the drop-ins of both.
 * Returns 0 with a policy that the caller owns (policy_unref()), or -errno with @error filled;
 * with no file at all the built-in rule alone.
 */
int policy_load(struct policy **ret, char error[static POLICY_ERROR_SIZE]);

/* As policy_load() for the one file @path, "-" for stdin, whoever owns it. */
int policy_load_file(const char *path, struct policy **ret, char error[static POLICY_ERROR_SIZE]);

struct policy *policy_ref(struct policy *policy);
struct policy *policy_unref(struct policy *policy); /* returns NULL */

/* An empty policy for policy_parse() to fill. NULL: out of memory. */
struct policy *policy_new(void);

/*
 * Adds what the JSON in @text says to @policy; @file is its name for messages. The defaults of the
 * @main file are also those of devices that no rule fits.
 * Returns 0 or -EINVAL, -ENOMEM with @error filled; @policy may then hold part of it.
 */
int policy_parse(struct policy *policy, const char *file, const char *text, size_t len, bool main,
		 char error[static POLICY_ERROR_SIZE]);

/* Ends a policy with the rule for what no other rule fits. Returns 0 or -ENOMEM. */
int policy_finish(struct policy *policy);

/* A rule with the built-in values, and its end. NULL: out of memory. */
struct rule *rule_new(const char *name, const char *origin);
struct rule *rule_free(struct rule *rule); /* returns NULL */

/* What a device is, as strings; NULL counts as "". The strings belong to the caller. */
struct match_subject {
	const char *values[_MATCH_MAX];
};

/* The first match key of @rule that does not fit @subject, or _MATCH_MAX when all do. */
enum match_key rule_mismatch(const struct rule *rule, const struct match_subject *subject);

/* The rule for @subject; a finished policy always has one. It lives as long as the policy. */
const struct rule *policy_match(const struct policy *policy, const struct match_subject *subject);

/* How long to wait after @attempts failed ones, in us. */
uint64_t rule_backoff(const struct rule *rule, unsigned int attempts);

const char *step_name(enum step_kind kind);
const char *match_key_name(enum match_key key);
const char *action_name(enum policy_action action);

#endif
