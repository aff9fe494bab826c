/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket to the kernel's iommu-ras family.
 *
 * The daemon has two that never block, one for events and one for dumps; workers and smmu-rasctl
 * have one that does. Requests are carried out by the kernel inside send(2), so the ones that can
 * take long (device-reattach) are for workers only.
 */
#ifndef SMMU_RAS_KERNEL_LINK_H
#define SMMU_RAS_KERNEL_LINK_H

#include "kernel-msg.h"

struct kernel_link {
	int fd;
	uint32_t seq;	 /* of the last request */
	uint16_t family; /* 0: not known (yet) */
	uint32_t group;	 /* its "events" group */
};

#define KERNEL_LINK_NONE                                                                           \
	(struct kernel_link)                                                                       \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Opens the socket. Returns 0 or -errno. kernel_link_close() it. */
int kernel_link_open(struct kernel_link *link, bool nonblock, int rcvbuf);
void kernel_link_close(struct kernel_link *link);

/*
 * Asks the kernel for the numbers of the family; takes microseconds, also on a non-blocking link.
 * Returns 0; -ENOENT when this kernel has no such family; -errno.
 */
int kernel_link_resolve(struct kernel_link *link);

/* Subscribes to the family's events. Returns 0 or -errno. */
int kernel_link_join(struct kernel_link *link);

/* Subscribes to the coming and going of families. Returns 0 or -errno. */
int kernel_link_watch_families(struct kernel_link *link);

/* Asks for all devices that are not active. The answers come through kernel_link_receive(). */
int kernel_link_send_dump(struct kernel_link *link);

/* Called for each message; a return value other than 0 stops, and is passed on. */
typedef int (*kernel_handler)(const struct kernel_message *message, void *userdata);

/*
 * Reads one datagram and hands each of its messages to @handler; those that cannot be read as
 * KERNEL_BAD, of which only .seq counts.
 *
 * Returns the number of messages (0 for an empty datagram); -EAGAIN when a non-blocking link has
 * none; -ENOBUFS when the kernel had to drop some (recv(2), netlink(7)): dump to be whole again;
 * -EBADMSG when there was one that cannot be read; -ECONNRESET when the other end is gone; another
 * -errno; or what @handler returned.
 */
int kernel_link_receive(struct kernel_link *link, kernel_handler handler, void *userdata);

/*
 * Sends one command (enum of IOMMU_RAS_CMD_*) about a device on a blocking link and waits for its
 * end. @ret (may be NULL) is filled by device-get. @text of @size bytes gets the kernel's own words
 * on an error, or "".
 *
 * Returns 0 or the kernel's -errno: -ENODEV for a device it does not know, -EPERM, ...
 */
int kernel_link_request(struct kernel_link *link, uint8_t command, const char *bus, const char *dev,
			struct ras_device *ret, char *text, size_t size);

/* Dumps on a blocking link. @handler is called with KERNEL_DEVICE messages only. 0 or -errno. */
int kernel_link_dump(struct kernel_link *link, kernel_handler handler, void *userdata);

#endif
