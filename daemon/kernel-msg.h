/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the iommu-ras netlink family: names, and messages from bytes. Nothing here does I/O.
 *
 * The contract is include/uapi/linux/iommu_ras.h and the kernel's
 * Documentation/netlink/specs/iommu-ras.yaml.
 */
#ifndef SMMU_RAS_KERNEL_MSG_H
#define SMMU_RAS_KERNEL_MSG_H

#include <linux/iommu_ras.h>
#include <linux/netlink.h>

#include "util.h"

#define RAS_BUS_SIZE	   16
#define RAS_DEV_SIZE	   64
#define RAS_NAME_SIZE	   64
#define RAS_STREAM_IDS_MAX 8

/* What the kernel said about one device. Zero and "" mean that it did not say. */
struct ras_device {
	uint64_t event_seq; /* of the family in a notification, of the device in a reply */
	uint64_t fence_id;
	uint64_t fence_time; /* ns of CLOCK_BOOTTIME */
	uint64_t suppressed;
	uint32_t group;
	uint32_t fence_count;
	uint32_t state;	 /* enum iommu_ras_state; a newer kernel may know more of them */
	uint32_t reason; /* enum iommu_ras_reason; likewise */
	uint32_t stream_ids[RAS_STREAM_IDS_MAX];
	uint16_t n_stream_ids; /* all that were sent; only the first RAS_STREAM_IDS_MAX are kept */
	bool has_group;
	char bus[RAS_BUS_SIZE];
	char dev[RAS_DEV_SIZE];
	char iommu[RAS_NAME_SIZE];
	char driver[RAS_NAME_SIZE];
};

enum kernel_message_type {
	KERNEL_OTHER,  /* for somebody else, or of a kind we do not know: skip it */
	KERNEL_DEVICE, /* a reply, or one device of a dump */
	KERNEL_FENCED,
	KERNEL_SANITIZED,
	KERNEL_UNFENCED,
	KERNEL_REMOVED,
	KERNEL_DONE,   /* end of a dump; .error tells how it went */
	KERNEL_ERROR,  /* end of a request; .error is 0 for an acknowledgement */
	KERNEL_FAMILY, /* the family exists; .family and .group are its numbers */
	KERNEL_FAMILY_GONE,
	KERNEL_BAD, /* it breaks the contract; never made by kernel_message_parse() */
};

struct kernel_message {
	enum kernel_message_type type;
	uint32_t seq;	  /* of the request this answers */
	bool interrupted; /* the dump changed while it ran, and has to be repeated */
	int error;	  /* 0 or negative errno */
	char text[160];	  /* what the kernel says about the error, or "" */
	uint16_t family;
	uint32_t group;
	struct ras_device device;
};

/*
 * Reads one netlink message. @family is the number of the iommu-ras family, 0 while it is not
 * known; @name and @group_name say which family of nlctrl's messages is wanted, and which of its
 * groups. @nlh has to lie within its buffer (nlmsg_ok(3)).
 *
 * An attribute that a device can do without, and that cannot be read, counts as not sent.
 *
 * Returns 0, or -EBADMSG for a message that breaks the contract; of @ret only .seq and
 * .interrupted are then of use.
 */
int kernel_message_parse(const struct nlmsghdr *nlh, uint16_t family, const char *name,
			 const char *group_name, struct kernel_message *ret);

/* Names as in the YNL spec; "unknown" for what this program does not know. Static storage. */
const char *ras_state_name(uint32_t state);
const char *ras_reason_name(uint32_t reason);

/* The word for a transition ("fenced", "sanitized", "unfenced", "removed"), or NULL. */
const char *kernel_event_name(enum kernel_message_type type);

#endif
