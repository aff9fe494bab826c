/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last good policy, kept in /run/smmu-rasd-policy: a daemon that is started while the policy on
 * disk is bad goes on with it. It names programs that root runs, so it has a directory of its own,
 * where the spawner may write and the daemon may not. It holds the texts of the files, not what
 * they came to, so that the daemon that reads it may be a newer one than the one that wrote it.
 */
#ifndef SMMU_RAS_POLICY_KEPT_H
#define SMMU_RAS_POLICY_KEPT_H

#include "policy.h"

/* Writes the texts that @policy was read from, atomically. Returns 0 or -errno. */
int policy_keep(const struct policy *policy);

/*
 * Reads what policy_keep() wrote. Returns 0 with a policy that the caller owns; -ENOENT when there
 * is none; or -errno with @error filled, also when others than root may write the file.
 */
int policy_load_kept(struct policy **ret, char error[static POLICY_ERROR_SIZE]);

#endif
