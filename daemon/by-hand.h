/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How root recovers a device without the daemon, for the journal and for smmu-rasctl. */
#ifndef SMMU_RAS_BY_HAND_H
#define SMMU_RAS_BY_HAND_H

#include "policy.h"
#include "state.h"

struct by_hand {
	const char *bus;
	const char *dev;
	uint32_t state;		 /* enum iommu_ras_state */
	const char *driver;	 /* the one that is bound; "" for none */
	const char *wanted;	 /* the one that it is to have in the end; "" for none */
	const struct rule *rule; /* whose way of recovering it is taken; NULL: the built-in one */
	bool away;		 /* it is out of the system */
};

/* Room for each of the texts below. */
#define BY_HAND_SIZE 768

/* The shell command; "" when nothing is to be done. Returns @buf. */
const char *by_hand_command(const struct by_hand *h, char buf[static BY_HAND_SIZE]);

/*
 * Does @rule, or (NULL) the built-in one, take off the driver? One that resets in place relies on
 * the driver to keep what is in use.
 */
bool by_hand_takes_off_driver(const struct rule *rule);

/*
 * What was tried: "attempt 1: unbind done, reset failed (timed out); attempts 2 to 3: reset
 * failed", without the reasons that the record's note has; "" when nothing was. Returns @buf.
 */
const char *tried_text(const struct device_record *record, char buf[static BY_HAND_SIZE]);

#endif
