/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the bus*.c share. */
#ifndef SMMU_RAS_BUS_INTERNAL_H
#define SMMU_RAS_BUS_INTERNAL_H

#include <systemd/sd-bus.h>

#include "bus.h"
#include "manager.h"
#include "operator.h"

#define BUS_NAME	     "org.smmuras1"
#define BUS_PATH	     "/org/smmuras1"
#define BUS_DEVICE_PATH	     "/org/smmuras1/device"
#define BUS_MANAGER	     "org.smmuras1.Manager"
#define BUS_DEVICE_INTERFACE "org.smmuras1.Device"

#define BUS_ERROR_NO_SUCH_DEVICE "org.smmuras1.Error.NoSuchDevice"
#define BUS_ERROR_NOT_FENCED	 "org.smmuras1.Error.NotFenced"
#define BUS_ERROR_BUSY		 "org.smmuras1.Error.Busy"
#define BUS_ERROR_STUCK		 "org.smmuras1.Error.Stuck"
#define BUS_ERROR_POLICY_REFUSED "org.smmuras1.Error.PolicyRefused"

#define BUS_ACTION_RECOVER	 "org.smmuras1.recover"
#define BUS_ACTION_RECOVER_FORCE "org.smmuras1.recover-force"
#define BUS_ACTION_ISOLATE	 "org.smmuras1.isolate"
#define BUS_ACTION_RELOAD	 "org.smmuras1.reload"

/* The numbers of the Manager that are counted. */
struct bus_counts {
	uint32_t fenced;
	uint32_t recovering;
	uint32_t isolated;
	uint64_t print; /* of everything else that can change */
};

struct auth;
LIST_HEAD(auth_list, auth);

struct bus {
	struct manager *manager;
	sd_bus *bus;
	bool ready; /* the name is ours, and changes are told */
	bool failed_logged;
	uint64_t wait; /* us before the last retry; 0: none */
	sd_event_source *retry;

	struct device_list dirty;
	bool manager_dirty;
	struct bus_counts told;
	sd_event_source *flush_soon;
	sd_event_source *flush_later;
	uint64_t flushed; /* us of CLOCK_MONOTONIC, when changes were told last */
	uint64_t stalled; /* likewise, since when nobody reads what we write; 0: they do */

	struct auth_list auths;
	unsigned int n_unknown; /* of whom the bus has not said yet who they are */
	unsigned int n_asked;	/* of whom polkit is asked */
};

/* Gives the connection up, logs @why, and makes a new one later. */
void bus_lost(struct bus *b, const char *why);

/* --- bus-manager.c --------------------------------------------------------------------------- */

int bus_manager_register(struct bus *b);
void bus_manager_count(const struct manager *m, struct bus_counts *ret);
/* Tells in what @now differs from what was told last, and takes it over. Returns 0 or -errno. */
int bus_manager_tell(struct bus *b, const struct bus_counts *now);

/* --- bus-device.c ---------------------------------------------------------------------------- */

int bus_device_register(struct bus *b);
/* Tells of a new device, or of what has changed about it. Returns 0 or -errno. */
int bus_device_tell(struct bus *b, struct device *d);
/* Takes all there is to tell about the device for told. */
void bus_device_take_prints(struct device *d);
/* The object's path, which the caller frees. Returns 0 or -errno. */
int bus_device_path(const struct device *d, char **ret);

/* For Recover and Isolate of both interfaces, once their caller may: @call is answered. */
int bus_act_recover(struct bus *b, sd_bus_message *call, const char *dev, bool force, uint32_t uid);
int bus_act_isolate(struct bus *b, sd_bus_message *call, const char *dev, uint32_t uid);

/* --- bus-auth.c ------------------------------------------------------------------------------ */

/* Does what the caller wants, and answers @call. Returns 0 or -errno, which is then the answer. */
typedef int (*bus_act)(struct bus *b, sd_bus_message *call, uint32_t uid);

/*
 * Asks who sent @call: root may; anybody else has to be allowed @action by polkit, which is told
 * the name of the device (NULL: none). Then calls @act, or answers with an error. Never waits.
 * Returns what a method handler has to return.
 */
int bus_authorize(struct bus *b, sd_bus_message *call, const char *action, const char *device,
		  bus_act act, sd_bus_error *error);
/* Forgets all that is being asked. */
void bus_auth_stop(struct bus *b);

#endif
