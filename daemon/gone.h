/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that left the system while they were fenced, or owed something: the kernel has forgotten
 * them, and an operator still has to be told. Their records are kept in /run/smmu-rasd/gone for
 * smmu-rasctl, for a day, the last GONE_MAX of them.
 */
#ifndef SMMU_RAS_GONE_H
#define SMMU_RAS_GONE_H

#include "state.h"

#define GONE_MAX       64
#define GONE_KEEP_USEC (24 * 3600 * USEC_PER_SEC)

/* What is on disk, the oldest first. */
struct gone_list {
	unsigned int n;
	struct gone_entry {
		char bus[RAS_BUS_SIZE];
		char dev[RAS_DEV_SIZE];
		uint64_t until; /* us of CLOCK_BOOTTIME */
	} entries[GONE_MAX];
};

/* Takes over what an earlier daemon has left. */
void gone_load(struct gone_list *list);

/*
 * Keeps @record of a device that was removed just now; @driver is the one that it had, where the
 * record does not say. What cannot be written is not kept: nothing but words depends on it.
 */
void gone_remember(struct gone_list *list, const struct device_record *record, const char *driver,
		   uint32_t reason);

/* Is the record of a device that is gone still to be shown? */
bool gone_is_shown(const struct device_record *record);

#endif
