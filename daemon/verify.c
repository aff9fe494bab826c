// SPDX-License-Identifier: GPL-2.0-or-later
#include "verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

#include "host.h"
#include "sysfs.h"

/* A device function has a few dozen directories; something is wrong with one that has more. */
#define DIRECTORIES_MAX 4096
#define DEPTH_MAX	8

/* How often to look when nothing is announced: doubles from the first to the last. */
#define LOOK_FIRST_USEC (10 * USEC_PER_MSEC)
#define LOOK_LAST_USEC	(500 * USEC_PER_MSEC)

/* virtio 1.2, 2.1 "Device Status Field" */
#define VIRTIO_DRIVER_OK   0x04
#define VIRTIO_NEEDS_RESET 0x40
#define VIRTIO_FAILED	   0x80

struct look {
	struct functions found;
	unsigned int directories;
	char trouble[STATE_NOTE_SIZE]; /* the first thing that does not work */
};

/* Last component of the link @name in @fd; "" when there is none. */
static const char *link_name(int fd, const char *name, char buf[static 256])
{
	ssize_t n = readlinkat(fd, name, buf, 255);
	const char *slash;

	buf[n > 0 ? n : 0] = '\0';
	slash = strrchr(buf, '/');
	return slash ? slash + 1 : buf;
}

static void read_attribute(int dir, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	str_chomp(buf);
}

static void trouble(struct look *look, const char *format, ...) _printf_(2, 3);

static void trouble(struct look *look, const char *format, ...)
{
	va_list ap;

	if (look->trouble[0])
		return;
	va_start(ap, format);
	vsnprintf(look->trouble, sizeof(look->trouble), format, ap);
	va_end(ap);
}

static void look_at_nvme(struct look *look, int fd, const char *name)
{
	char state[32];

	look->found.nvme++;
	read_attribute(fd, "state", state, sizeof(state));
	if (state[0] && !streq(state, "live"))
		trouble(look, "the NVMe controller %s is %s, not live", name, state);
}

static void look_at_virtio(struct look *look, int fd, const char *name)
{
	char text[256];
	unsigned long status;

	if (link_name(fd, "driver", text)[0] == '\0')
		return;
	look->found.virtio++;
	read_attribute(fd, "status", text, sizeof(text));
	status = strtoul(text, NULL, 0);
	if (text[0] &&
	    (!(status & VIRTIO_DRIVER_OK) || status & (VIRTIO_NEEDS_RESET | VIRTIO_FAILED)))
		trouble(look, "the virtio device %s does not work (status %s)", name, text);
}

/* Is there more to be found below it? */
static bool look_at(struct look *look, int fd, const char *name)
{
	char buf[256];
	const char *subsystem = link_name(fd, "subsystem", buf);

	if (streq(subsystem, "block"))
		look->found.block++;
	else if (streq(subsystem, "net"))
		look->found.net++;
	else if (streq(subsystem, "nvme"))
		look_at_nvme(look, fd, name);
	else if (streq(subsystem, "virtio"))
		look_at_virtio(look, fd, name);
	/* What is below a bridge are devices of their own. */
	return !streq(subsystem, "block") && !streq(subsystem, "net") && !streq(subsystem, "pci");
}

/* Takes over @fd. */
static void walk(struct look *look, int fd, unsigned int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) && look->directories < DIRECTORIES_MAX) {
		int child;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(dirfd(dir), entry->d_name,
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0)
			continue;
		look->directories++;
		if (look_at(look, child, entry->d_name) && depth < DEPTH_MAX)
			walk(look, child, depth + 1);
		else
			close(child);
	}
	closedir(dir);
}

static void look_below(const char *bus, const char *dev, struct look *look)
{
	char path[SYSFS_PATH_SIZE];
	int fd = open(sysfs_device_path(path, sizeof(path), bus, dev, ""),
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*look = (struct look){0};
	if (fd >= 0)
		walk(look, fd, 0);
}

void functions_count(const char *bus, const char *dev, struct functions *ret)
{
	struct look look;

	look_below(bus, dev, &look);
	*ret = look.found;
}

static void compare(struct look *look, const char *what, uint32_t found, uint32_t wanted)
{
	if (found < wanted)
		trouble(look, "it has %u %s, and had %u before", found, what, wanted);
}

/* Announcements that came while we looked are answered by looking again. */
static void wait_for_change(int fd, uint64_t usec)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct timespec timeout = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
				   .tv_nsec = (long)(usec % USEC_PER_SEC * NSEC_PER_USEC)};
	char buf[8192];

	/* A negative descriptor is passed over: then only the time counts. */
	if (ppoll(&pfd, 1, &timeout, NULL) > 0)
		while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
}

int functions_wait(const char *bus, const char *dev, const struct functions *wanted, uint64_t limit,
		   char *text, size_t size)
{
	uint64_t end = now_usec(CLOCK_MONOTONIC) + limit;
	uint64_t pause = LOOK_FIRST_USEC;
	_cleanup_close_ int fd = -1;
	struct look look;

	for (bool first = true;; first = false) {
		uint64_t now;

		look_below(bus, dev, &look);
		compare(&look, "disks", look.found.block, wanted->block);
		compare(&look, "network interfaces", look.found.net, wanted->net);
		compare(&look, "NVMe controllers", look.found.nvme, wanted->nvme);
		compare(&look, "virtio devices with a driver", look.found.virtio, wanted->virtio);
		if (look.trouble[0] == '\0')
			return 0;
		now = now_usec(CLOCK_MONOTONIC);
		if (now >= end) {
			snprintf(text, size, "%s", look.trouble);
			return -ETIMEDOUT;
		}
		/* What came before this is not announced any more: look once without waiting. */
		if (first) {
			fd = host_uevents_open();
			continue;
		}
		wait_for_change(fd, pause < end - now ? pause : end - now);
		pause = pause * 2 < LOOK_LAST_USEC ? pause * 2 : LOOK_LAST_USEC;
	}
}
