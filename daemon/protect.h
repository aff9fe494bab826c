/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blast radius: who would lose what if a device were taken away.
 *
 * Follows a device to its block devices and what is stacked on them, to its network interfaces and
 * what they are part of, and to guests that have it, or one of its virtual functions, open. All of
 * it from what everybody may read in sysfs, proc and rtnetlink: the daemon has no privilege to look
 * into other processes, and opens no device node. What cannot be seen in this way:
 *
 *  - who has a disk or a logical volume open without mounting it or swapping to it: a data base or
 *    a guest's disk on a raw device. A rule with "action": "isolate" is for those;
 *  - filesystems other than btrfs, ext4, xfs, f2fs, nilfs2 and erofs that are mounted only in
 *    another mount namespace;
 *  - the other disks of an f2fs of several, and the journal of an ext4 on a disk of its own: the
 *    kernel does not tell what they belong to; likewise the log of an xfs if a link such as
 *    /dev/disk/by-id/... was given for it;
 *  - network filesystems and network disks, unless the default route goes over the card; and what
 *    other network namespaces do with a card that was moved there.
 *
 * An array or a multipath device counts as a whole, also where other members could stand in.
 * Blocks only where reading those does; never waits for a disk.
 */
#ifndef SMMU_RAS_PROTECT_H
#define SMMU_RAS_PROTECT_H

#include "policy.h"

/*
 * Each returns whether somebody uses what @mask (of enum protect) covers, and would lose it. @text
 * of @size bytes then names it: "in use by filesystem /srv (dm-3), swap /dev/sda2, and 2 more".
 * When something cannot be read, the answer is yes, with what it was: nothing is taken away that
 * could not be looked at. @bus and @dev name the device.
 *
 * What taking off its driver, or removing it from the bus, would take away: everything on it and
 * below it. The virtual functions of a PF go with its driver. Says also if a reset in place, with
 * @driver bound, would take away nothing.
 */
bool protect_check(unsigned int mask, const char *bus, const char *dev, const char *driver,
		   char *text, size_t size);

/*
 * What a reset with the driver bound would take away behind the driver's back: what is on its
 * virtual functions, which are reset with the PF. Of the rest the driver takes care; that a driver
 * does is what a rule without "unbind" says.
 */
bool protect_check_reset(unsigned int mask, const char *bus, const char *dev, char *text,
			 size_t size);

#endif
