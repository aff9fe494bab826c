/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files with steps share. Functions return 0 or -errno with .text, unless they say
 * otherwise. */
#ifndef SMMU_RAS_STEPS_INTERNAL_H
#define SMMU_RAS_STEPS_INTERNAL_H

#include "steps.h"

/* --- steps.c --------------------------------------------------------------------------------- */

/* Writes .text, and returns @r. */
int step_fail(struct step_context *c, int r, const char *format, ...) _printf_(3, 4);
/* Tells people something in the midst of a step; @level is a LOG_* of syslog(3). */
void step_say(struct step_context *c, int level, const char *format, ...) _printf_(3, 4);
/* Writes an attribute of device @dev, without .text. */
int step_write(struct step_context *c, const char *dev, const char *attr, const char *value);
/* Asks the kernel about the device. Fills .device. */
int step_ask_kernel(struct step_context *c);
/*
 * What the daemon heard may be old, and the operator quick: a device that works is not taken away
 * from who uses it. Returns 1 when it is well, with a remark; 0 when not.
 */
int step_not_fenced(struct step_context *c);
/*
 * Is the device, with @driver bound, in use by what the policy protects? Returns 0 when not; -EBUSY
 * with .text and .protected when it is.
 */
int step_not_in_use(struct step_context *c, const char *driver);
/* Fills @buf with the name of the bound driver, "" for none. */
int step_driver(struct step_context *c, char *buf, size_t size);
/* driver_override of device @dev; "" where it is not set. */
void step_override(struct step_context *c, const char *dev, char *buf, size_t size);
/* Sets driver_override of device @dev, unless it is @override already. Without .text. */
int step_set_override(struct step_context *c, const char *dev, const char *override);
/* Binds @driver to device @dev. Without .text. */
int step_bind_driver(struct step_context *c, const char *dev, const char *driver);
/* How long @step may take, in us. */
uint64_t step_timeout(const struct step_context *c, const struct step *step);

/* --- steps-reset.c --------------------------------------------------------------------------- */

int step_reset(struct step_context *c);
/* Puts back the reset methods that policy changed. */
void step_restore_reset_method(struct step_context *c);

/* --- steps-sriov.c --------------------------------------------------------------------------- */

/* Takes the drivers off the virtual functions, so that none works on a device that is gone. */
int step_sriov_detach(struct step_context *c);
/* Puts back those that are missing, with their drivers. May also leave a remark. */
int step_sriov_restore(struct step_context *c);

/* --- steps-return.c -------------------------------------------------------------------------- */

int step_remove(struct step_context *c);
int step_rescan(struct step_context *c, const struct step *step);
int step_slot_power_cycle(struct step_context *c, const struct step *step);
/* Is the device in the system? When it came back meanwhile, its new identity becomes the job's. */
bool step_device_is_there(struct step_context *c);

/* --- steps-exec.c ---------------------------------------------------------------------------- */

int step_exec(struct step_context *c, const struct step *step);

#endif
