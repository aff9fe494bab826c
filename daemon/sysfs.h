/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sysfs knows about a device. Everything here only reads, and reads what the kernel answers
 * without taking the device lock: it is safe in the event loop. Writing is for workers (steps.c).
 */
#ifndef SMMU_RAS_SYSFS_H
#define SMMU_RAS_SYSFS_H

#include "util.h"

/* Absolute path of @attr ("" for the device itself) of device @dev on @bus. Returns @buf. */
const char *sysfs_device_path(char *buf, size_t size, const char *bus, const char *dev,
			      const char *attr);
#define SYSFS_PATH_SIZE 512

bool sysfs_device_exists(const char *bus, const char *dev);

/* Reads an attribute without its trailing newline. Returns 0, -ENOENT without one, or -errno. */
int sysfs_read(const char *bus, const char *dev, const char *attr, char *buf, size_t size);
int sysfs_read_path(const char *path, char *buf, size_t size);

/*
 * Last component of a symbolic link of the device: "driver", "iommu_group", "physfn".
 * Returns 0; -ENOENT, with "" in @buf, when there is none; or -errno.
 */
int sysfs_link(const char *bus, const char *dev, const char *link, char *buf, size_t size);

/*
 * What tells the device from another one that is put into its place later: the inode of its
 * directory, which the kernel makes anew for each device that it finds, and the ids of the card.
 * Returns 0, or -errno with "" in @buf.
 */
int sysfs_identity(const char *bus, const char *dev, char *buf, size_t size);
#define SYSFS_IDENTITY_SIZE 128

/* Are the ids of the two the same, though the kernel found the device anew? */
bool sysfs_identity_same_card(const char *a, const char *b);

#endif
