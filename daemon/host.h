/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the program touches the machine it runs on.
 *
 * Nothing else opens a netlink socket, talks to journald, or knows where /sys is. The integration
 * tests link tests/integration/fake-host.c in place of host.c; all other objects are the ones that
 * are installed, and the installed programs hold no test hook.
 */
#ifndef SMMU_RAS_HOST_H
#define SMMU_RAS_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum host_dir {
	HOST_SYS,  /* /sys */
	HOST_PROC, /* /proc */
	HOST_RUN,  /* /run/smmu-rasd: what a restarted daemon must know */
	HOST_KEPT, /* /run/smmu-rasd-policy: the last good policy; only the spawner writes here */
	HOST_ETC,  /* /etc/smmu-rasd: the operator's policy */
	HOST_LIB,  /* /usr/lib/smmu-rasd: the vendor's policy */
	HOST_UDEV, /* /run/udev/data: what udev knows of disks */
	HOST_ROOT, /* "" for /, where programs are looked for */
};

/* Absolute path without a trailing slash. Static storage. */
const char *host_dir(enum host_dir dir);

/*
 * Opens a generic netlink socket (netlink(7)) with extended acknowledgements and a receive buffer
 * of @rcvbuf bytes, or as much as the system allows; 0 keeps the default.
 * Returns a descriptor that the caller closes, or -errno.
 */
int host_netlink_open(bool nonblock, int rcvbuf);

/* Joins multicast group @group, a number given by the family. Returns 0 or -errno. */
int host_netlink_join(int fd, uint32_t group);

/*
 * Asks the kernel for the routes of all tables of address @family, rtnetlink(7), and hands each
 * datagram of the answer to @handler until that returns something else than 0. Blocks; for workers.
 * Returns 0 when @handler returned 1, what else it returned, or -errno.
 */
int host_route_dump(unsigned char family,
		    int (*handler)(const void *data, size_t size, void *userdata), void *userdata);

/*
 * Opens a socket that becomes readable when the kernel announces a change of its devices
 * (NETLINK_KOBJECT_UEVENT); what is read from it is of no meaning. Never blocks.
 * Returns a descriptor that the caller closes, or -errno.
 */
int host_uevents_open(void);

/*
 * Opens a descriptor that becomes readable when the wall clock jumps: somebody set it, or the
 * machine was resumed from suspend (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
 * Returns a descriptor that the caller closes, or -errno.
 */
int host_clock_watch(void);

/* Has it jumped since it was asked last, or opened? Returns 1, 0, or -errno. */
int host_clock_jumped(int fd);

/*
 * Writes @value to the sysfs attribute @path in one write(2), as sysfs needs it. May block for as
 * long as the kernel pleases, so it is for workers only. Returns 0 or -errno.
 */
int host_sysfs_write(const char *path, const char *value);

/* Hands one structured record to journald; never waits. Returns 0 or -errno (-EAGAIN). */
int host_journal_send(const struct iovec *iov, int n);

/* The system bus, as an address of the D-Bus specification. Static storage. */
const char *host_bus_address(void);

/* Does what we print on stderr end up in the journal anyway (systemd.exec(5), $JOURNAL_STREAM)? */
bool host_stderr_is_journal(void);

#endif
