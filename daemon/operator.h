/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator asks of the engine. Nothing here waits: a request is a step of the state
 * machine, and what comes of it is told like everything else.
 */
#ifndef SMMU_RAS_OPERATOR_H
#define SMMU_RAS_OPERATOR_H

#include <stdbool.h>

struct manager;

/* Room for a sentence that says why not, and what can be done. */
#define OPERATOR_REASON_SIZE 320

/*
 * Starts a recovery now: of a device that is isolated, ignored, protected or waits for its next
 * attempt. Attempts count anew, and neither the rate limit nor an action of policy stands in the
 * way. @force: nor does protect, until this fence is over.
 *
 * Returns 0, or -errno with @reason filled: -ENODEV there is no such device; -ENOENT it is not
 * fenced; -EALREADY its recovery runs, or has its turn soon; -EBUSY its worker is stuck.
 */
int device_request_recover(struct manager *m, const char *dev, bool force,
			   char reason[static OPERATOR_REASON_SIZE]);

/*
 * Gives up on a device: it stays fenced until somebody asks to recover it. A step that runs is let
 * end, and no further one begins. Asked twice it is 0 again.
 *
 * Returns 0, or -errno with @reason filled: -ENODEV there is no such device; -ENOENT it is not
 * fenced.
 */
int device_request_isolate(struct manager *m, const char *dev,
			   char reason[static OPERATOR_REASON_SIZE]);

#endif
