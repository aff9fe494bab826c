// SPDX-License-Identifier: GPL-2.0-or-later
/* daemon/host.c for the unit tests: a directory, and nothing that could be talked to. */
#include <errno.h>
#include <ftw.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake-routes.h"
#include "host.h"
#include "tell.h"
#include "unit.h"
#include "util.h"

static char root[64];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void unit_host_setup(void)
{
	static const char *const names[] = {"sys", "proc", "run", "etc", "lib", "udev"};
	char path[128];

	snprintf(root, sizeof(root), "/tmp/smmu-ras-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		ck_assert_int_eq(mkdir(path, 0755), 0);
	}
}

void unit_host_teardown(void)
{
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *unit_host_root(void)
{
	return root;
}

static void make_parents(const char *name, char path[static 512])
{
	snprintf(path, 512, "%s/%s", root, name);
	for (char *s = path + strlen(root) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		if (mkdir(path, 0755) < 0)
			ck_assert_int_eq(errno, EEXIST);
		*s = '/';
	}
}

void unit_file(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	make_parents(name, path);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
}

void unit_link(const char *name, const char *target)
{
	char path[512];

	make_parents(name, path);
	ck_assert_int_eq(symlink(target, path), 0);
}

const char *host_dir(enum host_dir dir)
{
	static const char *const names[] = {
		[HOST_SYS] = "sys", [HOST_PROC] = "proc", [HOST_RUN] = "run",  [HOST_ETC] = "etc",
		[HOST_LIB] = "lib", [HOST_UDEV] = "udev", [HOST_KEPT] = "kept"};
	static char paths[ARRAY_SIZE(names)][128];

	if (dir == HOST_ROOT)
		return root;
	snprintf(paths[dir], sizeof(paths[dir]), "%s/%s", root, names[dir]);
	return paths[dir];
}

int host_netlink_open(bool nonblock, int rcvbuf)
{
	(void)nonblock;
	(void)rcvbuf;
	return -EAFNOSUPPORT;
}

int host_netlink_join(int fd, uint32_t group)
{
	(void)fd;
	(void)group;
	return -EAFNOSUPPORT;
}

int host_route_dump(unsigned char family,
		    int (*handler)(const void *data, size_t size, void *userdata), void *userdata)
{
	return fake_route_dump(family, handler, userdata);
}

int host_clock_watch(void)
{
	return -EAFNOSUPPORT;
}

int host_clock_jumped(int fd)
{
	(void)fd;
	return 0;
}

int host_uevents_open(void)
{
	return -EAFNOSUPPORT;
}

int host_sysfs_write(const char *path, const char *value)
{
	(void)path;
	(void)value;
	return -EACCES;
}

bool unit_journal_is_stuck;
char unit_journal[4096];
char *unit_records[UNIT_RECORDS_MAX];
unsigned int unit_n_records;

int host_journal_send(const struct iovec *iov, int n)
{
	size_t used = strlen(unit_journal);
	size_t size = 2;
	char *end;

	if (unit_journal_is_stuck)
		return -EAGAIN;
	snprintf(unit_journal + used, sizeof(unit_journal) - used, "%.*s\n",
		 (int)iov[n - 1].iov_len, (const char *)iov[n - 1].iov_base);
	if (unit_n_records == UNIT_RECORDS_MAX)
		return 0;
	for (int i = 0; i < n; i++)
		size += iov[i].iov_len + 1;
	end = malloc(size);
	ck_assert_ptr_nonnull(end);
	unit_records[unit_n_records++] = end;
	*end++ = '\n';
	for (int i = 0; i < n; i++) {
		end = mempcpy(end, iov[i].iov_base, iov[i].iov_len);
		*end++ = '\n';
	}
	*end = '\0';
	return 0;
}

void unit_stuff_stderr(int ends[static 2])
{
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	while (tell_stderr("something") == 0)
		;
}

const char *host_bus_address(void)
{
	return "unix:path=/nowhere";
}

bool host_stderr_is_journal(void)
{
	return true;
}
