/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smmu-rasctl: what its verbs share. Each verb is in a file of its own, ctl-VERB.c. */
#ifndef SMMU_RAS_CTL_H
#define SMMU_RAS_CTL_H

#include <jansson.h>

#include "kernel-link.h"
#include "pci-name.h"
#include "policy.h"
#include "state.h"

/* Exit status; part of the interface (smmu-rasctl(1)). */
enum {
	CTL_OK = 0,
	CTL_FAILURE = 1,
	CTL_USAGE = 2,
	CTL_NO_FAMILY = 3,   /* the kernel does not have the iommu-ras family */
	CTL_NO_DEVICE = 4,   /* there is no such device, or the kernel cannot fence it */
	CTL_NO_DAEMON = 5,   /* smmu-rasd does not run, or cannot be reached */
	CTL_REFUSED = 6,     /* the daemon or the kernel refuses: not fenced, busy, not allowed */
	CTL_NOT_WELL = 7,    /* it was tried, and the device is not well */
	CTL_DECLINED = 8,    /* the question was answered with no, or nobody could be asked */
	CTL_RECOVERING = 10, /* of status: devices are fenced, and the daemon is at it */
	CTL_ATTENTION = 11,  /* of status: a device needs somebody */
	CTL_UNWATCHED = 12,  /* of status: no device would be recovered as the policy says */
};

enum ctl_json {
	CTL_TEXT,
	CTL_JSON_PRETTY,
	CTL_JSON_SHORT,
};

/* What the command line said. */
struct ctl {
	enum ctl_json json;
	bool legend;
	bool pager;
	bool all;
	bool force;
	bool yes;
	bool wait;
	const char *root;	       /* --root, or NULL */
	const char *policy;	       /* --policy, or NULL */
	const char *match[_MATCH_MAX]; /* --driver and friends, or NULL */
};

/* Verbs: @argv[0] is the verb. They return an exit status, having said what is wrong. */
int ctl_list(const struct ctl *ctl, int argc, char **argv);
int ctl_show(const struct ctl *ctl, int argc, char **argv);
int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_monitor(const struct ctl *ctl, int argc, char **argv);
int ctl_recover(const struct ctl *ctl, int argc, char **argv);
int ctl_isolate(const struct ctl *ctl, int argc, char **argv);
int ctl_fence(const struct ctl *ctl, int argc, char **argv);
int ctl_reattach(const struct ctl *ctl, int argc, char **argv);
int ctl_policy(const struct ctl *ctl, int argc, char **argv);
int ctl_metrics(const struct ctl *ctl, int argc, char **argv);
int ctl_simulate(const struct ctl *ctl, int argc, char **argv);

/* --- ctl-common.c ----------------------------------------------------------------------------- */

/*
 * Opens a blocking link to the family. Returns an exit status; CTL_NO_FAMILY silently, of the
 * others it has said what is wrong. kernel_link_close() @link in any case.
 */
int ctl_connect(struct kernel_link *link);
/* Says on stderr that this kernel does not fence devices. Returns CTL_NO_FAMILY. */
int ctl_no_family(void);
/* What uname(2) says, in static storage. */
const char *ctl_kernel_release(void);
/* Says on stderr that memory is short. Returns CTL_FAILURE. */
int ctl_no_memory(void);

/* "Vendor Device" of two ids from the PCI ID database, or "" without one. Returns @buf. */
const char *ctl_id_name(unsigned int vendor, unsigned int device, char *buf, size_t size);
/* The same of a device in this machine. */
const char *ctl_device_name(const char *bus, const char *dev, char *buf, size_t size);

/* What the daemon's record of PCI device @dev says; RECOVERY_IDLE without one. */
enum recovery_state ctl_recovery_state(const char *dev);

/* When the fence began, us of CLOCK_REALTIME; 0 when the kernel did not say. */
uint64_t ctl_fence_time(const struct ras_device *device);

/* us of CLOCK_REALTIME as "2026-01-31 12:34:56" (local) or as RFC 3339 with microseconds (UTC). */
const char *ctl_time_text(uint64_t usec, char *buf, size_t size);
const char *ctl_time_json(uint64_t usec, char *buf, size_t size);
#define CTL_TIME_TEXT(usec) ctl_time_text((usec), (char[32]){0}, 32)
/* How long ago @usec (CLOCK_REALTIME) was, "5min 2s"; "0s" for the future. */
#define CTL_AGE_TEXT(usec) USEC_TEXT(ctl_age(usec))
uint64_t ctl_age(uint64_t usec);

/* The JSON values for a string and a time: null for "" and 0. */
json_t *ctl_json_text(const char *s);
json_t *ctl_json_time(uint64_t usec);
/* Prints @json with a newline, as @ctl asks for, and drops the reference. Returns an exit status.
 */
int ctl_print_json(const struct ctl *ctl, json_t *json);

/*
 * Asks on the terminal. Returns CTL_OK for yes and with --yes; CTL_DECLINED for no, and, with
 * advice, when there is nobody to ask.
 */
int ctl_ask(const struct ctl *ctl, const char *question);

/* --- ctl-device.c ----------------------------------------------------------------------------- */

/*
 * Finds the device that people mean: an address as of lspci, a path below /sys or /dev, the name
 * of a block device, network interface or any other thing with a class, or of a PCI slot.
 * Returns an exit status, having said what is wrong and what could have been meant.
 */
int ctl_find_device(const char *text, char name[static PCI_NAME_SIZE]);

/* The one of @words that @word may be a slip of, or NULL. */
const char *ctl_closest(const char *word, const char *const *words, size_t n);

#endif
