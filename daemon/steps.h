/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of a recovery, as a worker carries them out. They block for as long as the kernel does.
 */
#ifndef SMMU_RAS_STEPS_H
#define SMMU_RAS_STEPS_H

#include "kernel-link.h"
#include "worker.h"

struct step_context {
	struct job *job;	  /* a worker's own copy */
	struct kernel_link *link; /* blocking */
	struct ras_device device; /* what the kernel said last */
	bool protected;		  /* the step did nothing because policy protects something */
	bool refenced; /* the fence that the job is about is over, and there is another */
	bool vetoed;   /* a hook says that the attempt is not to be */
	char text[STATE_NOTE_SIZE]; /* why the step failed, or a remark */
	/* Tells something in the midst of a step; @level is a LOG_* of syslog(3). May be NULL. */
	void (*say)(struct step_context *c, int level, const char *text);
	void *userdata; /* of .say */
};

/*
 * Finds out what has to be undone later, and puts back what an earlier worker could not. Fills
 * what the job says about the device. Returns 0 or -errno with .text.
 */
int steps_prepare(struct step_context *c);

/* What the kernel says about the device after a failure; .state is 0 when it says nothing. */
struct ras_device steps_device_now(struct step_context *c);

/* Carries out one step. Returns 0 or -errno with .text. */
int step_run(struct step_context *c, const struct step *step);

#endif
