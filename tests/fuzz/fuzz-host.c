// SPDX-License-Identifier: GPL-2.0-or-later
/* daemon/host.c for the fuzz targets: an empty machine in a directory of its own, and nothing to
 * talk to. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static char root[64];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void set_up(void)
{
	static const char *const names[] = {"sys",	     "proc", "proc/self",
					    "proc/self/net", "run",  "run/devices",
					    "etc",	     "lib",  "kept"};
	char path[128];

	/* Files are written for each input: not on a disk, where there is anything else. */
	snprintf(root, sizeof(root), "%s/smmu-ras-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(root))
		abort();
	(void)atexit(clean_up);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		if (mkdir(path, 0755) < 0)
			abort();
	}
}

const char *fuzz_path(const char *name)
{
	static char path[512];

	if (root[0] == '\0')
		set_up();
	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

void fuzz_file(const char *name, const void *data, size_t size)
{
	int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

const char *host_dir(enum host_dir dir)
{
	static const char *const names[] = {
		[HOST_SYS] = "sys", [HOST_PROC] = "proc", [HOST_RUN] = "run",
		[HOST_ETC] = "etc", [HOST_LIB] = "lib",	  [HOST_KEPT] = "kept"};
	static char paths[ARRAY_SIZE(names)][512];

	if (paths[dir][0] == '\0')
		snprintf(paths[dir], sizeof(paths[dir]), "%s", fuzz_path(names[dir]));
	return paths[dir];
}

int host_netlink_open(bool nonblock, int rcvbuf)
{
	(void)nonblock;
	(void)rcvbuf;
	return -EPROTONOSUPPORT;
}

int host_netlink_join(int fd, uint32_t group)
{
	(void)fd;
	(void)group;
	return -EPROTONOSUPPORT;
}

int host_clock_watch(void)
{
	return -EPROTONOSUPPORT;
}

int host_clock_jumped(int fd)
{
	(void)fd;
	return 0;
}

int host_uevents_open(void)
{
	return -EPROTONOSUPPORT;
}

int host_sysfs_write(const char *path, const char *value)
{
	(void)path;
	(void)value;
	return -EACCES;
}

int host_journal_send(const struct iovec *iov, int n)
{
	(void)iov;
	(void)n;
	return 0;
}

bool host_stderr_is_journal(void)
{
	return true;
}
