// SPDX-License-Identifier: GPL-2.0-or-later
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "host.h"

const char *sysfs_device_path(char *buf, size_t size, const char *bus, const char *dev,
			      const char *attr)
{
	snprintf(buf, size, "%s/bus/%s/devices/%s%s%s", host_dir(HOST_SYS), bus, dev,
		 attr[0] ? "/" : "", attr);
	return buf;
}

bool sysfs_device_exists(const char *bus, const char *dev)
{
	char path[SYSFS_PATH_SIZE];

	return access(sysfs_device_path(path, sizeof(path), bus, dev, ""), F_OK) == 0;
}

int sysfs_read_path(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	str_chomp(buf);
	return 0;
}

int sysfs_read(const char *bus, const char *dev, const char *attr, char *buf, size_t size)
{
	char path[SYSFS_PATH_SIZE];

	return sysfs_read_path(sysfs_device_path(path, sizeof(path), bus, dev, attr), buf, size);
}

int sysfs_link(const char *bus, const char *dev, const char *link, char *buf, size_t size)
{
	char path[SYSFS_PATH_SIZE];
	char target[SYSFS_PATH_SIZE];
	const char *name;
	ssize_t n;

	buf[0] = '\0';
	n = readlink(sysfs_device_path(path, sizeof(path), bus, dev, link), target,
		     sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	return str_copy(buf, size, name) ? 0 : -ENAMETOOLONG;
}

int sysfs_identity(const char *bus, const char *dev, char *buf, size_t size)
{
	static const char *const ids[] = {"vendor", "device", "subsystem_vendor",
					  "subsystem_device", "revision"};
	char path[SYSFS_PATH_SIZE];
	struct stat st;
	size_t used;

	buf[0] = '\0';
	if (stat(sysfs_device_path(path, sizeof(path), bus, dev, ""), &st) < 0)
		return -errno;
	used = (size_t)snprintf(buf, size, "%ju", (uintmax_t)st.st_ino);
	for (size_t i = 0; i < ARRAY_SIZE(ids) && used < size; i++) {
		char id[16];

		/* Other buses than PCI have none of them. */
		(void)sysfs_read(bus, dev, ids[i], id, sizeof(id));
		used += (size_t)snprintf(buf + used, size - used, " %s", id[0] ? id : "-");
	}
	return 0;
}

bool sysfs_identity_same_card(const char *a, const char *b)
{
	/* Behind the inode. */
	a = strchr(a, ' ');
	b = strchr(b, ' ');
	return a && b && streq(a, b);
}
