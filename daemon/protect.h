/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blast radius: what would be lost if the driver of a device were unbound.
 *
 * Follows a device to its block devices and what is stacked on them (partitions, device-mapper, md,
 * bcache: "holders" in sysfs), and to its network interfaces and what they are part of (bonds,
 * bridges, VLANs: "master" and "upper_*"). The virtual functions of a PF are looked at as well.
 * Blocks only where reading sysfs and proc does.
 */
#ifndef SMMU_RAS_PROTECT_H
#define SMMU_RAS_PROTECT_H

#include "policy.h"

/*
 * Is there something on the device that @mask (of enum protect) covers? @driver is what is bound.
 * If so, @text of @size bytes says what, and what the operator can do. When something cannot be
 * read, the answer is yes: the daemon does not take away what it could not look at.
 */
bool protect_check(unsigned int mask, const char *bus, const char *dev, const char *driver,
		   char *text, size_t size);

#endif
