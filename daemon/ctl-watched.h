/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is being watched, and by whom: kernel, daemon, policy, devices, and what was recovered. */
#ifndef SMMU_RAS_CTL_WATCHED_H
#define SMMU_RAS_CTL_WATCHED_H

#include "ctl-story.h"

/* Prints what is not as it should be; with @all also what is. */
void watched_print(const struct machine *m, bool all);

/* {"good", "error"*, "sources"*, "rules", "in_force"} of the policy on disk. */
json_t *watched_policy_json(const struct machine *m);
/* The devices with ATS enabled, or null when that may not be read (root may). */
json_t *watched_devices_json(void);

/*
 * Is ATS enabled for the PCI device? 1, 0, -ENODATA when it has none, -EACCES, -ENODEV when it does
 * not answer at all, or -errno. */
int pci_ats_enabled(const char *dev);

/*
 * Hands every PCI device with ATS enabled to @handler. Returns how many there are, or -EACCES when
 * that can only be read by root.
 */
int pci_foreach_ats(void (*handler)(const char *dev, void *userdata), void *userdata);

#endif
