// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the daemon's event path is held against: libnl receives the same messages, takes their
 * attributes apart, and counts them. It is connected to the tests' kernel as the daemon is.
 *
 *   bare-loop SOCKET         prints "ready", and at the end of the connection how many messages
 * there were
 */
#include <errno.h>
#include <linux/iommu_ras.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fd;
static unsigned long messages;
static unsigned long fenced;

/* As nl_recv() does it on a socket as it comes: a look at the size, a buffer of that size, and the
 * datagram. */
static int receive(struct nl_sock *sk, struct sockaddr_nl *from, unsigned char **buf,
		   struct ucred **creds)
{
	struct iovec iov = {.iov_len = 4096};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	(void)sk;
	(void)creds;
	iov.iov_base = malloc(iov.iov_len);
	if (!iov.iov_base)
		return -NLE_NOMEM;
	memset(from, 0, sizeof(*from));
	n = recvmsg(fd, &msg, MSG_PEEK | MSG_TRUNC);
	if (n > 0)
		n = recvmsg(fd, &msg, 0);
	if (n <= 0) {
		free(iov.iov_base);
		return n < 0 ? -nl_syserr2nlerr(errno) : 0;
	}
	*buf = iov.iov_base;
	return (int)n;
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[IOMMU_RAS_A_DEVICE_MAX + 1];

	(void)arg;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, IOMMU_RAS_A_DEVICE_MAX, NULL) < 0)
		return NL_SKIP;
	messages++;
	if (attrs[IOMMU_RAS_A_DEVICE_DEV] && attrs[IOMMU_RAS_A_DEVICE_STATE] &&
	    nla_get_u32(attrs[IOMMU_RAS_A_DEVICE_STATE]) == IOMMU_RAS_STATE_FENCED)
		fenced++;
	return NL_OK;
}

static int no_check(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_OK;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct nl_sock *sk = nl_socket_alloc();
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	unsigned long before;

	if (argc != 2 || !sk || !cb)
		return 2;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", argv[1]);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror(argv[1]);
		return 1;
	}
	nl_cb_overwrite_recv(cb, receive);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	/* Events answer no request, so there is nothing to check. */
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, no_check, NULL);
	puts("ready");
	(void)fflush(stdout);
	do
		before = messages;
	while (nl_recvmsgs(sk, cb) >= 0 && messages != before);
	printf("%lu %lu\n", messages, fenced);
	nl_cb_put(cb);
	nl_socket_free(sk);
	return 0;
}
