// SPDX-License-Identifier: GPL-2.0-or-later
/* Datagrams of netlink messages, walked as kernel_link_receive() does. */
#include <linux/genetlink.h>
#include <netlink/msg.h>

#include "fuzz.h"
#include "kernel-msg.h"

#define FAMILY 0x21 /* of tests/integration/fakekernel.py, which makes the seeds */

/* What becomes part of paths and of what is printed. */
static void check_name(const char *name, size_t size)
{
	FUZZ_INSIST(memchr(name, '\0', size));
	FUZZ_INSIST(!strchr(name, '/') && name[0] != '.');
	for (const char *s = name; *s; s++)
		FUZZ_INSIST((unsigned char)*s >= ' ' && *s != 0x7f);
}

static void check_device(const struct ras_device *device)
{
	FUZZ_INSIST(device->bus[0] && device->dev[0] && device->state != 0);
	check_name(device->bus, sizeof(device->bus));
	check_name(device->dev, sizeof(device->dev));
	check_name(device->driver, sizeof(device->driver));
	check_name(device->iommu, sizeof(device->iommu));
	FUZZ_INSIST(ras_state_name(device->state) && ras_reason_name(device->reason));
}

static void check_message(const struct kernel_message *message)
{
	FUZZ_INSIST(message->error <= 0);
	FUZZ_INSIST(memchr(message->text, '\0', sizeof(message->text)));
	FUZZ_INSIST(message->type != KERNEL_BAD);
	if (message->type == KERNEL_DEVICE || kernel_event_name(message->type))
		check_device(&message->device);
	if (message->type == KERNEL_FAMILY)
		FUZZ_INSIST(message->family != 0 && message->group != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nlmsghdr *datagram = malloc(size ? size : 1);
	struct nlmsghdr *nlh = datagram;
	int left = (int)size;

	if (!datagram)
		abort();
	memcpy(datagram, data, size);
	for (; nlmsg_ok(nlh, left); nlh = nlmsg_next(nlh, &left)) {
		struct kernel_message message;

		memset(&message, 0x5a, sizeof(message));
		if (kernel_message_parse(nlh, FAMILY, "iommu-ras", "events", &message) == 0)
			check_message(&message);
		/* While the family is not known yet, only nlctrl's messages count. */
		if (kernel_message_parse(nlh, 0, "iommu-ras", "events", &message) == 0)
			FUZZ_INSIST(!kernel_event_name(message.type));
	}
	free(datagram);
	return 0;
}
