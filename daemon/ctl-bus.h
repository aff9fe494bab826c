/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the daemon for something, over D-Bus (org.smmuras1 on the system bus). */
#ifndef SMMU_RAS_CTL_BUS_H
#define SMMU_RAS_CTL_BUS_H

#include "ctl.h"

/*
 * Calls method Recover or Isolate of org.smmuras1.Manager for PCI device @dev; @force goes with
 * Recover only. polkit may ask the user for a password meanwhile.
 * Returns an exit status, having said what is wrong and what can be done.
 */
int bus_call_recover(const char *dev, bool force);
int bus_call_isolate(const char *dev);

/*
 * Has the daemon read its policy again. CTL_FAILURE with @mistake of @size bytes filled when it
 * refuses the policy on disk; otherwise as above.
 */
int bus_call_reload(char *mistake, size_t size);

#endif
