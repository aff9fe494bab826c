/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs that workers may run: those of each policy that the spawner has read itself. Who
 * asks for one can only say which; what is run is what the policy says, word by word.
 */
#ifndef SMMU_RAS_PROGRAMS_H
#define SMMU_RAS_PROGRAMS_H

#include "policy.h"

/* All of them together; beyond it, those of earlier policies are forgotten. */
#define PROGRAMS_MAX	  4096
#define PROGRAMS_SIZE_MAX (8 * 1024 * 1024)

struct programs {
	struct command *first;
	size_t n;
	size_t size; /* bytes, on the heap */
};

/* Stands for the program and all its arguments. The same in all processes of one version; not 0. */
uint64_t program_id(const struct command *command);

/*
 * Adds all that @policy names. A recovery goes on by the policy that it began under, so those of
 * earlier ones stay. Returns 0, or -ENOMEM, -E2BIG: then some are missing.
 */
int programs_add(struct programs *programs, const struct policy *policy);

/* Belongs to @programs; NULL when there is none. */
const struct command *programs_find(const struct programs *programs, uint64_t id);

void programs_clear(struct programs *programs);

#endif
