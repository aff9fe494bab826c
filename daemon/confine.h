/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon gives up once the spawner has it: the daemon listens to the kernel and to people,
 * and parses what they say. It does it for good; there is no way back.
 */
#ifndef SMMU_RAS_CONFINE_H
#define SMMU_RAS_CONFINE_H

/*
 * Gives up all capabilities, running programs (execve(2) fails with EPERM), and, where the kernel
 * has landlock(7), writing to files elsewhere than below the directory @writable, which exists.
 * What is open stays open. For a process of one thread that needs nothing of that any more.
 * Returns 0, or -errno when a capability could not be given up; what the kernel cannot restrict is
 * logged at debug level.
 */
int confine(const char *writable);

#endif
