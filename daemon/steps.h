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
	char text[STATE_NOTE_SIZE]; /* why the step failed, or a remark */
};

/*
 * Finds out what has to be undone later, and puts back what an earlier worker could not. Fills
 * driver, driver_override and reset_method of the job. Returns 0 or -errno with .text.
 */
int steps_prepare(struct step_context *c);

/* Carries out one step. Returns 0 or -errno with .text. */
int step_run(struct step_context *c, const struct step *step);

#endif
