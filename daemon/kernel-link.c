// SPDX-License-Identifier: GPL-2.0-or-later
#include "kernel-link.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <poll.h>
#include <sys/socket.h>

#include "host.h"

/* Netlink never puts more into one datagram than a reader's page-sized buffers ask for. */
#define RECEIVE_SIZE (64 * 1024)

/* One thread, one message at a time: the buffer is shared by all links. */
static union {
	struct nlmsghdr align;
	char bytes[RECEIVE_SIZE];
} receive_buffer;

static void msg_freep(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int kernel_link_open(struct kernel_link *link, bool nonblock, int rcvbuf)
{
	*link = KERNEL_LINK_NONE;
	link->fd = host_netlink_open(nonblock, rcvbuf);
	return link->fd < 0 ? link->fd : 0;
}

void kernel_link_close(struct kernel_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	*link = KERNEL_LINK_NONE;
}

static int send_message(struct kernel_link *link, struct nl_msg *msg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	ssize_t n;

	nlh->nlmsg_seq = ++link->seq;
	do
		n = send(link->fd, nlh, nlh->nlmsg_len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int receive(struct kernel_link *link, const char *family_name, const char *group_name,
		   kernel_handler handler, void *userdata)
{
	struct kernel_message message;
	struct nlmsghdr *nlh = &receive_buffer.align;
	struct iovec iov = {.iov_base = receive_buffer.bytes, .iov_len = RECEIVE_SIZE};
	union {
		struct sockaddr_nl nl;
		struct sockaddr_storage any;
	} from = {0};
	struct msghdr msghdr = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof(from)};
	ssize_t n;
	int rest;
	int count = 0;
	bool bad = false;

	do
		n = recvmsg(link->fd, &msghdr, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A netlink socket has no end; only the tests' socket pair has. */
	if (n == 0)
		return -ECONNRESET;
	/* What was cut off is lost, which is cured like any other loss. */
	if (msghdr.msg_flags & MSG_TRUNC)
		return -ENOBUFS;
	/* Other processes of root could send to us as well; only port 0 is the kernel. */
	if (from.nl.nl_family == AF_NETLINK && from.nl.nl_pid != 0)
		return 0;

	rest = (int)n;
	while (nlmsg_ok(nlh, rest)) {
		int r = kernel_message_parse(nlh, link->family, family_name, group_name, &message);

		/* The others are none the worse for it, and one may be the end of the dump. */
		if (r < 0)
			message.type = KERNEL_BAD;
		bad |= r < 0;
		r = handler(&message, userdata);
		if (r != 0)
			return r;
		count++;
		nlh = nlmsg_next(nlh, &rest);
	}
	return rest == 0 && !bad ? count : -EBADMSG;
}

int kernel_link_receive(struct kernel_link *link, kernel_handler handler, void *userdata)
{
	return receive(link, IOMMU_RAS_FAMILY_NAME, IOMMU_RAS_MCGRP_EVENTS, handler, userdata);
}

/* A request waiting for its end. */
struct pending {
	uint32_t seq;
	bool dump;
	bool done;
	bool interrupted;
	bool bad; /* a part of the answer could not be read */
	int error;
	char *text;
	size_t text_size;
	struct kernel_message *family; /* keep KERNEL_FAMILY here */
	struct ras_device *device;     /* keep KERNEL_DEVICE here */
	kernel_handler handler;	       /* or give it to this one */
	void *userdata;
};

static int pending_handler(const struct kernel_message *message, void *userdata)
{
	struct pending *p = userdata;

	/* Events that come in between are not for us: a link that has requests has no group. */
	if (message->seq != p->seq)
		return 0;
	p->interrupted |= message->interrupted;
	switch (message->type) {
	case KERNEL_FAMILY:
		if (p->family)
			*p->family = *message;
		break;
	case KERNEL_DEVICE:
		if (p->device)
			*p->device = message->device;
		if (p->handler)
			return p->handler(message, p->userdata);
		break;
	case KERNEL_BAD:
		p->bad = true;
		break;
	case KERNEL_DONE:
	case KERNEL_ERROR:
		p->done = true;
		p->error = message->error < 0 || !p->bad ? message->error : -EBADMSG;
		if (p->text)
			str_copy(p->text, p->text_size, message->text);
		break;
	default:
		break;
	}
	return 0;
}

static int wait_pending(struct kernel_link *link, struct pending *p, const char *family_name,
			const char *group_name)
{
	while (!p->done) {
		int r = receive(link, family_name, group_name, pending_handler, p);

		if (r == -EAGAIN) {
			struct pollfd pfd = {.fd = link->fd, .events = POLLIN};

			if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
				return -errno;
			continue;
		}
		/* Read on to the end: pending_handler() has made a note of it. */
		if (r == -EBADMSG && p->bad)
			continue;
		if (r < 0)
			return r;
	}
	return p->error;
}

/* Sends @msg, and reads until it is answered. */
static int ask(struct kernel_link *link, struct nl_msg *msg, struct pending *p,
	       const char *family_name, const char *group_name)
{
	int r = send_message(link, msg);

	if (r < 0)
		return r;
	p->seq = link->seq;
	return wait_pending(link, p, family_name, group_name);
}

static int resolve(struct kernel_link *link, const char *family_name, const char *group_name,
		   struct kernel_message *ret)
{
	_cleanup_(msg_freep) struct nl_msg *msg = nlmsg_alloc();
	struct pending p = {.family = ret};
	int r;

	if (!msg ||
	    !genlmsg_put(msg, 0, 0, GENL_ID_CTRL, 0, NLM_F_REQUEST | NLM_F_ACK, CTRL_CMD_GETFAMILY,
			 1) ||
	    nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, family_name) < 0)
		return -ENOMEM;
	ret->type = KERNEL_OTHER;
	r = ask(link, msg, &p, family_name, group_name);
	if (r < 0)
		return r;
	return ret->type == KERNEL_FAMILY ? 0 : -EBADMSG;
}

int kernel_link_resolve(struct kernel_link *link)
{
	struct kernel_message family;
	int r = resolve(link, IOMMU_RAS_FAMILY_NAME, IOMMU_RAS_MCGRP_EVENTS, &family);

	if (r < 0)
		return r;
	link->family = family.family;
	link->group = family.group;
	return 0;
}

int kernel_link_join(struct kernel_link *link)
{
	return host_netlink_join(link->fd, link->group);
}

int kernel_link_watch_families(struct kernel_link *link)
{
	struct kernel_message family;
	int r = resolve(link, "nlctrl", "notify", &family);

	if (r < 0)
		return r;
	return host_netlink_join(link->fd, family.group);
}

int kernel_link_send_dump(struct kernel_link *link)
{
	_cleanup_(msg_freep) struct nl_msg *msg = nlmsg_alloc();

	if (!msg || !genlmsg_put(msg, 0, 0, link->family, 0, NLM_F_REQUEST | NLM_F_DUMP,
				 IOMMU_RAS_CMD_DEVICE_GET, IOMMU_RAS_FAMILY_VERSION))
		return -ENOMEM;
	return send_message(link, msg);
}

int kernel_link_request(struct kernel_link *link, uint8_t command, const char *bus, const char *dev,
			struct ras_device *ret, char *text, size_t size)
{
	_cleanup_(msg_freep) struct nl_msg *msg = nlmsg_alloc();
	struct pending p = {.device = ret, .text = text, .text_size = size};
	int r;

	if (size > 0)
		text[0] = '\0';
	if (ret)
		memset(ret, 0, sizeof(*ret));
	if (!msg ||
	    !genlmsg_put(msg, 0, 0, link->family, 0, NLM_F_REQUEST | NLM_F_ACK, command,
			 IOMMU_RAS_FAMILY_VERSION) ||
	    nla_put_string(msg, IOMMU_RAS_A_DEVICE_BUS, bus) < 0 ||
	    nla_put_string(msg, IOMMU_RAS_A_DEVICE_DEV, dev) < 0)
		return -ENOMEM;
	r = ask(link, msg, &p, IOMMU_RAS_FAMILY_NAME, IOMMU_RAS_MCGRP_EVENTS);
	if (r < 0)
		return r;
	return ret && ret->dev[0] == '\0' ? -EBADMSG : 0;
}

int kernel_link_dump(struct kernel_link *link, kernel_handler handler, void *userdata)
{
	struct pending p = {.handler = handler, .userdata = userdata};
	int r = kernel_link_send_dump(link);

	if (r < 0)
		return r;
	p.seq = link->seq;
	r = wait_pending(link, &p, IOMMU_RAS_FAMILY_NAME, IOMMU_RAS_MCGRP_EVENTS);
	if (r < 0)
		return r;
	return p.interrupted ? -EINTR : 0;
}
