// SPDX-License-Identifier: GPL-2.0-or-later
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tell.h"
#include "util.h"

#ifndef SMMU_RAS_SYSCONFDIR
#define SMMU_RAS_SYSCONFDIR "/etc"
#endif
#ifndef SMMU_RAS_VENDORDIR
#define SMMU_RAS_VENDORDIR "/usr/lib/smmu-rasd"
#endif

const char *host_dir(enum host_dir dir)
{
	switch (dir) {
	case HOST_SYS:
		return "/sys";
	case HOST_PROC:
		return "/proc";
	case HOST_RUN:
		return "/run/smmu-rasd";
	case HOST_KEPT:
		return "/run/smmu-rasd-policy";
	case HOST_ETC:
		return SMMU_RAS_SYSCONFDIR "/smmu-rasd";
	case HOST_UDEV:
		return "/run/udev/data";
	case HOST_ROOT:
		return "";
	case HOST_LIB:
		break;
	}
	return SMMU_RAS_VENDORDIR;
}

int host_netlink_open(bool nonblock, int rcvbuf)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	int one = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0),
			NETLINK_GENERIC);

	if (fd < 0)
		return -errno;
	/*
	 * Losing events costs a dump, nothing else: FORCE needs CAP_NET_ADMIN, the other one is
	 * bounded by net.core.rmem_max, and both may fail.
	 */
	if (rcvbuf > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	/* Without it errors have a number only, and no text from the kernel. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int host_netlink_join(int fd, uint32_t group)
{
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return 0;
}

int host_route_dump(unsigned char family,
		    int (*handler)(const void *data, size_t size, void *userdata), void *userdata)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
	} request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.route = {.rtm_family = family},
	};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_Alignas(struct nlmsghdr) char answer[32768];
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int r = 0;

	if (fd < 0 || sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&kernel,
			     sizeof(kernel)) < 0)
		return -errno;
	while (r == 0) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n < 0 && errno != EINTR)
			r = -errno;
		else if (n >= 0)
			r = handler(answer, (size_t)n, userdata);
	}
	return r == 1 ? 0 : r;
}

int host_uevents_open(void)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* Never expires; only a jump of the clock makes it readable. */
static int clock_arm(int fd)
{
	struct itimerspec never = {.it_value = {.tv_sec = INT64_MAX / 1000000000}};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0
		       ? -errno
		       : 0;
}

int host_clock_watch(void)
{
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = clock_arm(fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int host_clock_jumped(int fd)
{
	uint64_t expirations;
	int r;

	if (read(fd, &expirations, sizeof(expirations)) >= 0)
		return 0;
	if (errno != ECANCELED)
		return errno == EAGAIN ? 0 : -errno;
	r = clock_arm(fd);
	return r < 0 ? r : 1;
}

int host_sysfs_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

int host_journal_send(const struct iovec *iov, int n)
{
	return tell_journal("/run/systemd/journal/socket", iov, n);
}

const char *host_bus_address(void)
{
	const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS"); /* NOLINT(concurrency-mt-unsafe) */

	return address && address[0] ? address : "unix:path=/run/dbus/system_bus_socket";
}

bool host_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev = 0;
	unsigned long long ino = 0;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2) /* NOLINT(cert-err34-c) */
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}
