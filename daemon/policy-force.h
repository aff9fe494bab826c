/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which policy is in force: what the daemon tells about it in /run/smmu-rasd/policy.state, for
 * those who want to hold it against the files. A policy that was edited is in force only when the
 * daemon has read it again.
 */
#ifndef SMMU_RAS_POLICY_FORCE_H
#define SMMU_RAS_POLICY_FORCE_H

#include "policy.h"

enum force_origin {
	FORCE_FILES,   /* as it was read from its files */
	FORCE_KEPT,    /* the files had a mistake when the daemon began: the last good one */
	FORCE_NOTHING, /* likewise, and there was none: all devices stay fenced */
	_FORCE_MAX,
};

struct policy_force {
	enum force_origin origin;
	uint64_t digest;  /* policy_digest() of the one in force; 0: not known */
	uint64_t read;	  /* when it was read, us of CLOCK_REALTIME; 0: not known */
	uint64_t refused; /* when another one was refused since, likewise; 0: none was */
};

/*
 * A number for the names and texts of the files of @policy, in their order: another one for another
 * policy, and never 0. The texts must not have been dropped.
 */
uint64_t policy_digest(const struct policy *policy);

/* "0123456789abcdef", as it is told to people and programs. Returns @buf. */
#define POLICY_DIGEST_SIZE 17
const char *policy_digest_text(uint64_t digest, char buf[static POLICY_DIGEST_SIZE]);

/* When the files of @policy, or their directories, were changed last, us of CLOCK_REALTIME; 0:
 * there are none. */
uint64_t policy_changed(const struct policy *policy);

/* Writes what is in force, for everybody to read, atomically. Returns 0 or -errno. */
int policy_force_save(const struct policy_force *force);

/* Reads it. Returns 0; -ENOENT when nothing was told; -EBADMSG when it is damaged; or -errno. */
int policy_force_load(struct policy_force *ret);

#endif
