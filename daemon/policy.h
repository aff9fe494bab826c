/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operator's policy: which devices are recovered, and how.
 *
 * policy.c finds and reads the files, policy-parse*.c turn one into rules, policy-match.c picks the
 * rule for a device, policy-subject.c finds out what a device is held against.
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
	STEP_REMOVE,	       /* take the device out of the system, as if it were unplugged */
	STEP_RESCAN,	       /* look for it again on its bus */
	STEP_SLOT_POWER_CYCLE, /* switch its slot off and on */
	STEP_EXEC,	       /* run a program */
	_STEP_KIND_MAX,
	STEP_HOOK = _STEP_KIND_MAX, /* a "before" hook on its way to the worker; in no file */
};

/* A program that root runs: no shell, no search path. Belongs to the policy it was read with. */
struct command {
	struct command *next;
	char *origin; /* "file:line:column: key", for messages about it */
	char *argv[]; /* ends with NULL; the first one is an absolute path */
};

struct step {
	enum step_kind kind;
	uint64_t timeout;	       /* us; 0: the rule's step_timeout */
	uint64_t wait;		       /* us; for STEP_WAIT */
	const struct command *command; /* for STEP_EXEC and STEP_HOOK */
	bool may_fail;		       /* STEP_HOOK: the attempt goes on without it */
};

#define RULE_HOOKS_MAX 8

/* Of all times that a policy names: us. */
#define TIMEOUT_MAX (24 * 3600 * USEC_PER_SEC)

/* A program that is run before an attempt, or after the last one. */
struct hook {
	const struct command *command;
	uint64_t timeout; /* us; 0: the rule's step_timeout */
	bool stop;	  /* "before" only: when it fails, so does the attempt */
};

/* What is done when all attempts have failed, before the device is left to the operator. */
enum exhausted {
	EXHAUSTED_ISOLATE,
	EXHAUSTED_REMOVE,
	EXHAUSTED_SLOT_POWER_CYCLE,
	EXHAUSTED_EXEC,
	_EXHAUSTED_MAX,
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
	MATCH_SLOT,
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

/* Room for what a rule wants of one key, for people. */
#define MATCH_WANTED_SIZE 256

#define RULE_STEPS_MAX	    16
#define EXHAUSTED_STEPS_MAX 3

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
	struct hook before[RULE_HOOKS_MAX];
	size_t n_before;
	struct hook after[RULE_HOOKS_MAX];
	size_t n_after;
	enum exhausted on_exhausted;
	/* What it comes to; none for EXHAUSTED_ISOLATE. */
	struct step on_exhausted_steps[EXHAUSTED_STEPS_MAX];
	size_t n_on_exhausted_steps;
};

/* One of the files that a policy was read from. */
struct policy_text {
	struct policy_text *next;
	char *file;
	char *text;
	size_t len;
	bool main;
};

struct policy {
	unsigned int refs;
	struct rule **rules; /* in the order in which they are tried; the last fits everything */
	size_t n_rules;
	struct rule *fallback;	   /* becomes the last rule */
	struct command *commands;  /* all that its rules name */
	unsigned int max_parallel; /* recoveries at the same time; 0: not set yet */
	char *sources;		   /* the files it came from, for people */
	struct policy_text *texts; /* in the order in which they were read; policy_drop_texts() */
};

/* Room for "file:line:column: key: what is wrong, and the cure". */
#define POLICY_ERROR_SIZE 1024

/*
 * Reads the policy in force: policy.json of /etc or else of the vendor, with the drop-ins of both.
 * Returns 0 with a policy that the caller owns (policy_unref()), or -errno with @error filled;
 * with no file at all the built-in rule alone.
 */
int policy_load(struct policy **ret, char error[static POLICY_ERROR_SIZE]);

/*
 * As policy_load() for other directories than those of this machine, whoever owns them: @etc in
 * place of /etc/smmu-rasd, and @lib (may be NULL) in place of /usr/lib/smmu-rasd.
 */
int policy_load_below(const char *etc, const char *lib, struct policy **ret,
		      char error[static POLICY_ERROR_SIZE]);

/* As policy_load() for the one file @path, "-" for stdin, whoever owns it. */
int policy_load_file(const char *path, struct policy **ret, char error[static POLICY_ERROR_SIZE]);

/* Likewise, but the policy is another machine's: the programs that it names need not be here. */
int policy_load_file_elsewhere(const char *path, struct policy **ret,
			       char error[static POLICY_ERROR_SIZE]);

struct policy *policy_ref(struct policy *policy);
struct policy *policy_unref(struct policy *policy); /* returns NULL */

/* Frees the texts of the files; nothing else needs them. */
void policy_drop_texts(struct policy *policy);

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

/* A subject with its strings. */
struct device_subject {
	struct match_subject match;
	char address[RAS_DEV_SIZE];
	char vendor[16];
	char device[16];
	char class[16];
	char driver[RAS_NAME_SIZE];
	char iommu[RAS_NAME_SIZE];
	char slot[RAS_NAME_SIZE];
};

/*
 * Fills @s with what sysfs knows about device @dev of @bus, and with what the caller knows:
 * @driver NULL stands for the one that is bound now, @iommu may be "" or NULL. Only reads, and
 * takes no lock of the device. What cannot be found out is "".
 */
void device_subject_fill(struct device_subject *s, const char *bus, const char *dev,
			 const char *driver, const char *iommu, uint32_t reason);

/* The first match key of @rule that does not fit @subject, or _MATCH_MAX when all do. */
enum match_key rule_mismatch(const struct rule *rule, const struct match_subject *subject);

/* Why a rule does not fit a device, or that it does. */
struct match_result {
	enum match_key key; /* the first one that does not fit, in the order of the enum */
	const char *name;   /* of the key, as in the file; NULL when all fit */
	const char *value;  /* what the device has there; never NULL. Belongs to the subject */
	/* What the rule wants, quoted: "0302*" or "0300*"; cut with an ellipsis. "" when all fit */
	char wanted[MATCH_WANTED_SIZE];
};

/*
 * Holds @rule against @subject, for `smmu-rasctl policy explain`, and fills @ret (always).
 * Returns true when it fits.
 */
bool rule_explain(const struct rule *rule, const struct match_subject *subject,
		  struct match_result *ret);

/* The rule for @subject; a finished policy always has one. It lives as long as the policy. */
const struct rule *policy_match(const struct policy *policy, const struct match_subject *subject);

/* The first rule called @name, or NULL. For a device that is not there to be held against any. */
const struct rule *policy_rule(const struct policy *policy, const char *name);

/*
 * A step that belongs to a recovery by @rule whether it is among the rule's steps or not: with its
 * timeout where it is, the last one counts.
 */
struct step rule_step(const struct rule *rule, enum step_kind kind);
/* How long to wait after @attempts failed ones, in us. */
uint64_t rule_backoff(const struct rule *rule, unsigned int attempts);

/* A "before" hook as a step of a worker. */
struct step hook_step(const struct hook *hook);

/* How long the daemon gives a worker for @step of a rule whose step_timeout is @timeout, in us. */
uint64_t step_limit(const struct step *step, uint64_t timeout);

/*
 * Is the device going to be out of the system during the first of @steps, and to come back as a new
 * one in it, or in another of the @n?
 */
bool steps_bring_back(const struct step *steps, size_t n);

const char *step_name(enum step_kind kind);
const char *exhausted_name(enum exhausted what);
const char *match_key_name(enum match_key key);
const char *action_name(enum policy_action action);

#endif
