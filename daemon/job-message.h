/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A job on its way from the daemon to the spawner: flat, of one size, and without pointers. Both
 * ends are forks of one process, so the layout is that of the compiler. Whoever has taken over the
 * daemon may have written it: each field is looked at before it is used.
 */
#ifndef SMMU_RAS_JOB_MESSAGE_H
#define SMMU_RAS_JOB_MESSAGE_H

#include "programs.h"
#include "worker.h"

#define JOB_RESET_METHODS_SIZE 128

struct job_message {
	uint64_t fence_id;
	uint64_t step_timeout;
	struct {
		uint64_t kind;
		uint64_t timeout;
		uint64_t wait;
		uint64_t program; /* program_id(); 0: none */
		uint64_t may_fail;
	} steps[JOB_STEPS_MAX];
	uint32_t n_steps;
	uint32_t protect;
	uint32_t reason;
	uint32_t attempt;
	uint32_t attempts;
	uint32_t result; /* 0: none; see job_results[] */
	struct functions functions;
	uint32_t vfs;
	uint8_t vfs_autoprobe;
	uint8_t hooks_only;
	uint8_t prepared;
	uint8_t away;
	char bus[RAS_BUS_SIZE];
	char dev[RAS_DEV_SIZE];
	char identity[SYSFS_IDENTITY_SIZE];
	char reset_methods[JOB_RESET_METHODS_SIZE]; /* "": the kernel's choice */
	char rule[sizeof(((struct job *)0)->rule)];
	char note[STATE_NOTE_SIZE];
	char driver[RAS_NAME_SIZE];
	char driver_override[RAS_NAME_SIZE];
	char reset_method[RESET_METHOD_SIZE];
	char vf_drivers[VF_DRIVERS_SIZE];
	char slot[RAS_NAME_SIZE];
};

/* Returns 0, or -EINVAL for a job that cannot be said this way. */
int job_encode(struct job_message *ret, const struct job *job);

/*
 * Fills @ret, which points into @message and @programs. Returns 0; -EINVAL when something in it can
 * be in no job, -EPERM when it wants a program that is not one of @programs; with the name of the
 * field in @ret_field then.
 */
int job_decode(struct job *ret, const struct job_message *message, const struct programs *programs,
	       const char **ret_field);

#endif
