/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known about the machine and its devices, and how it is said. */
#ifndef SMMU_RAS_CTL_STORY_H
#define SMMU_RAS_CTL_STORY_H

#include "by-hand.h"
#include "ctl-output.h"
#include "ctl.h"
#include "policy-force.h"

/* What a device needs, the most urgent first. */
enum verdict {
	VERDICT_STUCK,	    /* the kernel does not come back from a step */
	VERDICT_ISOLATED,   /* given up, or left to the operator */
	VERDICT_DEAD,	    /* unfenced, but its driver cannot use it */
	VERDICT_UNATTENDED, /* fenced, and no daemon is there to recover it */
	VERDICT_BACKOFF,    /* the daemon waits before the next attempt */
	VERDICT_BUSY,	    /* the daemon is at it, or about to be */
	VERDICT_IGNORED,    /* the policy says so */
	VERDICT_GONE,	    /* removed while it was one of these; nothing can be done to it */
	VERDICT_RECOVERED,  /* all is well again */
	VERDICT_WELL,	    /* nothing to tell */
};

struct story {
	struct ras_device device; /* .bus and .dev are always there */
	bool known;		  /* the kernel told about it; otherwise .state is a guess */
	bool has_record;
	struct device_record record;
	enum verdict verdict;
	unsigned int attempts_max; /* of the rule it is recovered by; 0: not known */
};

/* The policy on disk, as the daemon sees it. */
enum standing {
	STANDING_UNKNOWN,  /* no daemon tells what it goes by, or the files may not be read */
	STANDING_IN_FORCE, /* it is the one that the daemon goes by */
	STANDING_CHANGED,  /* it is good, but the daemon has not read it again */
	STANDING_REFUSED,  /* likewise, after the daemon had to refuse an earlier one */
	STANDING_BAD,	   /* it has a mistake, and the daemon goes by something else */
};

struct machine {
	bool family;	       /* this kernel fences devices */
	bool daemon;	       /* smmu-rasd runs */
	struct policy *policy; /* what is on disk; NULL when it cannot be used */
	char policy_error[POLICY_ERROR_SIZE];
	bool policy_hidden; /* that is because only others may read it */
	enum standing standing;
	struct story *stories; /* the most urgent first */
	size_t n;
	size_t size;
	size_t n_damaged; /* records that cannot be read */
	bool no_memory;
};

/*
 * Asks kernel, daemon and disk. Returns an exit status, having said what is wrong; a kernel without
 * the family is no error here. machine_clear() it in any case.
 */
int machine_read(struct machine *m);
void machine_clear(struct machine *m);

/* Fills .policy, .policy_error, .policy_hidden and .standing; .daemon has to be filled. */
void machine_read_policy(struct machine *m);
/* Is another policy in force than the good one on disk? */
bool machine_policy_stale(const struct machine *m);
/* What there is to say about that, and how it is cured; "" for nothing. Returns @buf. */
const char *machine_policy_text(const struct machine *m, char *buf, size_t size);
#define MACHINE_POLICY_TEXT_SIZE 320
/* The JSON object for it: "standing"*, "read"*, "refused"*, "digest"*. */
json_t *machine_policy_json(const struct machine *m);

/* How many stories there are of @first to @last. */
size_t machine_count(const struct machine *m, enum verdict first, enum verdict last);

/* One sentence about all devices, into @text of @size bytes. Returns the exit status of status. */
int machine_summary(const struct machine *m, char *text, size_t size);
#define MACHINE_SUMMARY_SIZE 256

/* Fills .verdict and .attempts_max from the rest. */
void story_judge(struct story *story, const struct machine *m);

/* Frees what is on its heap. */
void story_clear(struct story *story);

/* When this outage began and when the recovery ended, us of CLOCK_REALTIME; 0: not known. */
uint64_t story_begun(const struct story *story);
uint64_t story_recovered(const struct story *story);
/* How long the device was out, us, once it is recovered; 0: not known, or not over. */
uint64_t story_outage(const struct story *story);

/* "fenced", "sanitized", "no driver", "recovered", ... */
const char *story_state(const struct story *story);
/* "2/3", "" before the first one. Returns @buf. */
const char *story_attempts(const struct story *story, char *buf, size_t size);
/* What the daemon does, or why it does nothing, in a few words. Returns @buf. */
const char *story_recovery(const struct story *story, char *buf, size_t size);
/* Likewise, for the column of a table. Returns @buf. */
const char *story_short(const struct story *story, char *buf, size_t size);
/* The driver that it has, or in brackets the one that it is to get back. Returns @buf. */
const char *story_driver(const struct story *story, char *buf, size_t size);
enum color story_color(const struct story *story);

/* One thing that the operator can do. */
struct advice {
	char text[512];		    /* a sentence */
	char command[BY_HAND_SIZE]; /* to paste, or "" */
};
#define ADVICE_MAX 7

/* What to do about the device; returns how many. */
size_t story_advice(const struct story *story, const struct machine *m,
		    struct advice advice[static ADVICE_MAX]);

/*
 * The shell command with which root recovers a device without the daemon, by the steps of its rule;
 * "" when nothing is to be done. Returns @buf.
 */
const char *story_by_hand(const struct story *story, const struct machine *m,
			  char buf[static BY_HAND_SIZE]);
/* Would that take away what somebody uses? @users of @size bytes then names it. */
bool story_lost_by_hand(const struct story *story, const struct machine *m, char *users,
			size_t size);
/* What protect_check() found, without the "in use by". */
const char *story_users(const char *text);
/* The same of a record's note, into @users of @size bytes: was there advice behind it? */
bool story_note_users(const char *note, char *users, size_t size);

/* The JSON object DEVICE of smmu-rasctl(1). */
json_t *story_json(const struct story *story);
/* Its "recovery", and one element of its "history". */
json_t *record_json(const struct device_record *record);
json_t *step_json(const struct step_result *step);

#endif
