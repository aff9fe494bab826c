/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smmu-rasctl: what its verbs share. Each verb is in a file of its own, ctl-VERB.c. */
#ifndef SMMU_RAS_CTL_H
#define SMMU_RAS_CTL_H

#include <jansson.h>

#include "kernel-link.h"
#include "pci-name.h"
#include "state.h"

/* Exit status; part of the interface (daemon/README.md). */
enum {
	CTL_OK = 0,
	CTL_FAILURE = 1,
	CTL_USAGE = 2,
	CTL_NO_FAMILY = 3, /* the kernel does not have the iommu-ras family */
	CTL_NO_DEVICE = 4, /* there is no such device, or the kernel cannot fence it */
};

struct ctl {
	bool json;
	bool legend;
};

/* Verbs: @argv[0] is the verb. They return an exit status, having said what is wrong. */
int ctl_list(const struct ctl *ctl, int argc, char **argv);
int ctl_show(const struct ctl *ctl, int argc, char **argv);
int ctl_monitor(const struct ctl *ctl, int argc, char **argv);
int ctl_policy(const struct ctl *ctl, int argc, char **argv);

/* Opens a blocking link to the family. Returns an exit status, having said what is wrong. */
int ctl_connect(struct kernel_link *link);

/* Reads DEV as people paste it. Returns an exit status, having said what is wrong. */
int ctl_parse_device(const char *text, char name[static PCI_NAME_SIZE]);

/* "Vendor Device" from the PCI ID database, or "" without one. Returns @buf. */
const char *ctl_device_name(const char *bus, const char *dev, char *buf, size_t size);

/* The record of the daemon about a device; false when it has none. */
bool ctl_record(const char *bus, const char *dev, struct device_record *ret);

/* A word on what the daemon does about it: "running reset, attempt 1". Returns @buf. */
const char *ctl_recovery_text(const struct device_record *record, char *buf, size_t size);

/* When the fence began, us of CLOCK_REALTIME; 0 when the kernel did not say. */
uint64_t ctl_fence_time(const struct ras_device *device);

/* us of CLOCK_REALTIME as "2026-01-31 12:34:56" (local) or as RFC 3339 with microseconds (UTC). */
const char *ctl_time_text(uint64_t usec, char *buf, size_t size);
const char *ctl_time_json(uint64_t usec, char *buf, size_t size);

/* The JSON object for a device; @record may be NULL. The caller drops the reference. */
json_t *ctl_device_json(const struct ras_device *device, const struct device_record *record);

/* Prints @json with a newline and drops the reference. Returns an exit status. */
int ctl_print_json(json_t *json, bool one_line);

#endif
