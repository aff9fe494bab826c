/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SMMU_RAS_MEMORY_H
#define SMMU_RAS_MEMORY_H

/*
 * Keeps the program and its libraries in memory: it may be the fenced disk that they, or swap, are
 * on. Workers are forks and do not inherit this (mlock(2)); what they execute stays all the same,
 * for the daemon has it mapped. What hooks and exec steps run is on disk.
 *
 * With a limit on locked memory (RLIMIT_MEMLOCK) it is only tried, and nothing is kept that comes
 * later: memory that cannot be had would be worse. Without one, a failure is logged.
 */
void memory_keep(void);

#endif
