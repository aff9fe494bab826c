/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The "after" hooks of a rule: programs that are run when the story of a device has ended, each set
 * in a process of its own that the event loop only watches. (Those "before" are steps of an
 * attempt.)
 *
 * They are run at most once: a daemon that is stopped or killed takes them with it, and the next
 * one does not begin them again. They touch no device, so nothing is left half done.
 */
#ifndef SMMU_RAS_HOOKS_H
#define SMMU_RAS_HOOKS_H

#include "manager.h"

/*
 * Runs the "after" hooks of the device's rule, if it has any, with @result ("recovered",
 * "isolated", "protected" or "gone", of static storage) and the note of the device. Never waits,
 * never fails: what cannot be run is logged.
 */
void hooks_after(struct device *d, const char *result);

/* Do hooks of the device still run, or wait to? Its next recovery begins when they have ended. */
bool hooks_busy(const struct device *d);

/* Ends all that run, and forgets those that wait. */
void hooks_stop(struct manager *m);

#endif
