/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workers: one process for each recovery attempt, because writing to sysfs blocks, sometimes for
 * ever. A worker does nothing to its device before the daemon has put on disk what has to be
 * undone, and it dies with the daemon. It is a fork of the spawner, and holds what the daemon does
 * not: CAP_NET_ADMIN, and the right to write to sysfs and to run programs.
 */
#ifndef SMMU_RAS_WORKER_H
#define SMMU_RAS_WORKER_H

#include <sys/types.h>

#include "policy.h"
#include "state.h"

#define JOB_STEPS_MAX (RULE_HOOKS_MAX + RULE_STEPS_MAX + 1)

/* What a worker is to do. */
struct job {
	char bus[RAS_BUS_SIZE];
	char dev[RAS_DEV_SIZE];
	char identity[SYSFS_IDENTITY_SIZE];
	uint64_t fence_id;	   /* what it is about; 0: not known */
	const char *reset_methods; /* NULL: the kernel's choice */
	unsigned int protect;
	uint64_t step_timeout; /* us, of steps that have none of their own */
	/* The hooks, and the rule's; the last one is always STEP_VERIFY. */
	struct step steps[JOB_STEPS_MAX];
	size_t n_steps;
	bool hooks_only; /* no device is touched, and nothing is verified */

	/* For the environment of programs. */
	char rule[64];
	uint32_t reason;
	unsigned int attempt;
	unsigned int attempts;
	const char *result; /* of the recovery, for hooks that run after it; NULL before */
	char note[STATE_NOTE_SIZE];

	/* What an earlier worker found, when .prepared; otherwise the worker looks. */
	bool prepared;
	char driver[RAS_NAME_SIZE];
	char driver_override[RAS_NAME_SIZE];
	char reset_method[RESET_METHOD_SIZE];
	struct functions functions;
	struct vf_setup vfs;
	char slot[RAS_NAME_SIZE]; /* whose power can be switched; "" for none */
	/* It was, or is going to be, taken out of the system, to come back as a new one. */
	bool away;
};

/* How long @step may take, in us. */
uint64_t job_step_limit(const struct job *job, const struct step *step);

enum worker_report {
	WORKER_PREPARED, /* from .driver to .slot; now it waits for worker_go() */
	WORKER_SAYS,	 /* .level, .text; about the step that runs */
	WORKER_STEP_END, /* .identity, .step, .error, .duration, .text */
	WORKER_FINISHED, /* .error, .text, .device; nothing follows */
};

/*
 * One datagram from the worker. After WORKER_PREPARED and after each step that went well and was
 * not the last one, it waits for worker_go() before it begins the next one.
 */
struct worker_message {
	enum worker_report report;
	unsigned int step; /* index into job.steps */
	int error; /* 0; a negative errno; -EBUSY from a step that policy protects the device from
		    */
	bool protected;	   /* the error is policy's, not the device's */
	bool refenced;	   /* the fence that the job is about is over, and another one has begun */
	bool vetoed;	   /* the error is a hook's, which wants the device left alone */
	int level;	   /* LOG_* of syslog(3) */
	uint64_t duration; /* us */
	char identity[SYSFS_IDENTITY_SIZE]; /* whose job it is; another one when the device came
					       back */
	char driver[RAS_NAME_SIZE];
	char driver_override[RAS_NAME_SIZE];
	char reset_method[RESET_METHOD_SIZE];
	struct functions functions;
	struct vf_setup vfs;
	char slot[RAS_NAME_SIZE];
	char text[STATE_NOTE_SIZE]; /* what went wrong, or a remark, for people */
	struct ras_device
		device; /* what the kernel says in the end; .state 0 when it said nothing */
};

struct worker {
	pid_t pid;
	uint64_t start; /* as in struct device_record */
	int pidfd;	/* readable when the worker has ended */
	int fd;		/* worker_message; non-blocking */
};

/*
 * Forks a worker; for the spawner (spawner.h). Returns 0 with descriptors that the caller closes,
 * or -errno. The caller has to reap the child, which dies with it.
 */
int worker_start(const struct job *job, struct worker *ret);

/* Lets a worker that waits go on. Returns 0 or -errno. */
int worker_go(int fd);

/* Reads one message. Returns 1, 0 when there is none (any more), or -errno. */
int worker_receive(int fd, struct worker_message *ret);

/* When @pid started, for telling it from a later process of the same number; 0 when there is none.
 */
uint64_t process_start_time(pid_t pid);

#endif
