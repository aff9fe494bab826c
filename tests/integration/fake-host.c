// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * daemon/host.c for the integration tests: the same functions, but the machine is a directory and a
 * socket that tests/integration/fakekernel.py serves.
 *
 * Netlink sockets become SOCK_SEQPACKET connections that carry the very bytes that netlink would.
 * What netlink(7) does with a socket option, and what sysfs does with a write, are messages that
 * begin with a letter no netlink message can begin with... see each function.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../unit/fake-routes.h"
#include "host.h"

/* A message type that no family has. */
#define FAKE_JOIN 0xfffe

static const char *need_env(const char *name)
{
	const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe) */

	if (!value) {
		fprintf(stderr, "This program is for the integration tests; %s is not set\n", name);
		_exit(EXIT_FAILURE);
	}
	return value;
}

/*
 * On a busy machine anything may take its time. SMMU_RAS_TEST_JITTER is how much of it, in
 * milliseconds: tests that rely on who is first then fail soon. Half of the time nothing is lost.
 */
static void dawdle(void)
{
	static long ms = -1;
	struct timespec ts = {0};
	unsigned int random = 0;

	if (ms < 0) {
		const char *most =
			getenv("SMMU_RAS_TEST_JITTER"); /* NOLINT(concurrency-mt-unsafe) */

		ms = most ? strtol(most, NULL, 10) : 0;
	}
	if (ms <= 0 || getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random) ||
	    random % 2)
		return;
	ts.tv_nsec = (long)(random / 2 % (unsigned long)(ms < 999 ? ms : 999)) * 1000000;
	nanosleep(&ts, NULL);
}

const char *host_dir(enum host_dir dir)
{
	static const char *const names[] = {
		[HOST_SYS] = "sys", [HOST_PROC] = "proc", [HOST_RUN] = "run",  [HOST_ETC] = "etc",
		[HOST_LIB] = "lib", [HOST_UDEV] = "udev", [HOST_KEPT] = "kept"};
	static char paths[sizeof(names) / sizeof(names[0])][256];

	if (dir == HOST_ROOT)
		return need_env("SMMU_RAS_TEST_ROOT");
	if (paths[dir][0] == '\0')
		snprintf(paths[dir], sizeof(paths[dir]), "%s/%s", need_env("SMMU_RAS_TEST_ROOT"),
			 names[dir]);
	return paths[dir];
}

/* Connects, and says with one letter what for. */
static int fake_connect(char purpose, bool nonblock)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", need_env("SMMU_RAS_TEST_SOCKET"));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    send(fd, &purpose, 1, MSG_NOSIGNAL) != 1 ||
	    (nonblock && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int host_netlink_open(bool nonblock, int rcvbuf)
{
	(void)rcvbuf;
	return fake_connect('N', nonblock);
}

/* What netlink keeps in sk_err: the kernel writes into it, and recvmsg() takes it out. */
static struct {
	ino_t socket;
	volatile char *full;
} overrun;

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

/* Before the program gives up what it needs to open files. */
__attribute__((constructor)) static void overrun_open(void)
{
	const char *root = getenv("SMMU_RAS_TEST_ROOT"); /* NOLINT(concurrency-mt-unsafe) */
	char path[256];
	void *p;
	int fd;

	if (!root)
		return;
	snprintf(path, sizeof(path), "%s/overrun", root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		overrun.full = p;
}

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	dawdle();
	/* A worker's descriptors may have the same numbers. */
	if (overrun.full && *overrun.full && inode(fd) == overrun.socket) {
		*overrun.full = 0;
		errno = ENOBUFS;
		return -1;
	}
	return __real_recvmsg(fd, message, flags);
}

int host_netlink_join(int fd, uint32_t group)
{
	struct {
		struct nlmsghdr header;
		uint32_t group;
	} message = {.header = {.nlmsg_len = sizeof(message), .nlmsg_type = FAKE_JOIN},
		     .group = group};

	overrun.socket = inode(fd);
	return send(fd, &message, sizeof(message), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int host_route_dump(unsigned char family,
		    int (*handler)(const void *data, size_t size, void *userdata), void *userdata)
{
	return fake_route_dump(family, handler, userdata);
}

int host_uevents_open(void)
{
	return fake_connect('U', true);
}

/* A datagram is a jump. */
int host_clock_watch(void)
{
	return fake_connect('C', true);
}

int host_clock_jumped(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 1 ? 1 : n == 0 ? -ECONNRESET : 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

/* Waits until the test lets a file of the daemon be replaced, or go on after it was. */
static void ask_for_state_file(void)
{
	char answer;
	int fd;

	if (!getenv("SMMU_RAS_TEST_STATE")) /* NOLINT(concurrency-mt-unsafe) */
		return;
	fd = fake_connect('S', false);
	if (fd < 0)
		return;
	if (send(fd, "s", 1, MSG_NOSIGNAL) == 1)
		(void)recv(fd, &answer, 1, 0);
	close(fd);
}

/* What is written to /run/smmu-rasd counts from here on; see -Wl,--wrap=rename in rules.mk. */
int __wrap_rename(const char *from, const char *to)
{
	int r;

	dawdle();
	ask_for_state_file();
	r = __real_rename(from, to);
	ask_for_state_file();
	return r;
}

/* "path NUL value", answered by an errno when the test is done with it. */
int host_sysfs_write(const char *path, const char *value)
{
	char message[1024];
	int length = snprintf(message, sizeof(message), "%s%c%s", path, 0, value);
	int answer = EIO;
	int fd;

	dawdle();
	fd = fake_connect('W', false);
	if (fd < 0)
		return fd;
	if (send(fd, message, (size_t)length, MSG_NOSIGNAL) != length ||
	    recv(fd, &answer, sizeof(answer), 0) != sizeof(answer))
		answer = EIO;
	close(fd);
	dawdle();
	return -answer;
}

/* All fields, each ended by a NUL. */
int host_journal_send(const struct iovec *iov, int n)
{
	static int fd = -1;
	char message[32768];
	size_t used = 0;

	if (fd < 0)
		fd = fake_connect('L', false);
	for (int i = 0; i < n && used + iov[i].iov_len + 1 <= sizeof(message); i++) {
		memcpy(message + used, iov[i].iov_base, iov[i].iov_len);
		used += iov[i].iov_len;
		message[used++] = '\0';
	}
	if (send(fd, message, used, MSG_NOSIGNAL) < 0)
		return -errno;
	dawdle();
	return 0;
}

const char *host_bus_address(void)
{
	static char address[300];

	snprintf(address, sizeof(address), "unix:path=%s/bus", need_env("SMMU_RAS_TEST_ROOT"));
	return address;
}

bool host_stderr_is_journal(void)
{
	return true;
}
