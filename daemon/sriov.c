// SPDX-License-Identifier: GPL-2.0-or-later
#include "sriov.h"

#include <errno.h>
#include <inttypes.h>

#include "host.h"
#include "sysfs.h"

/* A virtual function's number is 16 bit wide (PCIe 6.0, 9.3.3.5 "InitialVFs"). */
#define VFS_MAX 65535

static bool read_number(const char *bus, const char *dev, const char *attr, uint32_t *ret)
{
	char buf[32];
	unsigned long value;
	char *end;

	if (sysfs_read(bus, dev, attr, buf, sizeof(buf)) < 0)
		return false;
	errno = 0;
	value = strtoul(buf, &end, 10);
	if (errno || end == buf || *end || value > VFS_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

static int write_number(const char *bus, const char *dev, const char *attr, uint32_t value)
{
	char path[SYSFS_PATH_SIZE];
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, value);
	return host_sysfs_write(sysfs_device_path(path, sizeof(path), bus, dev, attr), text);
}

/* The address of virtual function @i. */
static bool vf_name(const char *bus, const char *dev, uint32_t i, char *buf, size_t size)
{
	char link[32];

	snprintf(link, sizeof(link), "virtfn%" PRIu32, i);
	return sysfs_link(bus, dev, link, buf, size) >= 0;
}

struct vf_driver {
	char driver[RAS_NAME_SIZE];
	char override[RAS_NAME_SIZE];
};

static void read_driver(const char *bus, const char *vf, struct vf_driver *ret)
{
	if (sysfs_link(bus, vf, "driver", ret->driver, sizeof(ret->driver)) < 0)
		str_copy(ret->driver, sizeof(ret->driver), "-");
	if (sysfs_read(bus, vf, "driver_override", ret->override, sizeof(ret->override)) < 0 ||
	    ret->override[0] == '\0' || streq(ret->override, "(null)"))
		str_copy(ret->override, sizeof(ret->override), "-");
}

static void add_run(struct vf_setup *vfs, uint32_t first, uint32_t last, const struct vf_driver *d)
{
	size_t used = strlen(vfs->drivers);
	int n = snprintf(vfs->drivers + used, sizeof(vfs->drivers) - used,
			 "%" PRIu32 "-%" PRIu32 " %s %s;", first, last, d->driver, d->override);

	/* Half a run would be another one. */
	if ((size_t)n >= sizeof(vfs->drivers) - used)
		vfs->drivers[used] = '\0';
}

void sriov_read(const char *bus, const char *dev, struct vf_setup *ret)
{
	struct vf_driver run = {.driver = ""};
	uint32_t autoprobe = 1;
	uint32_t first = 0;

	*ret = (struct vf_setup){0};
	if (!read_number(bus, dev, "sriov_numvfs", &ret->n) || ret->n == 0)
		return;
	(void)read_number(bus, dev, "sriov_drivers_autoprobe", &autoprobe);
	ret->autoprobe = autoprobe != 0;
	for (uint32_t i = 0; i < ret->n; i++) {
		struct vf_driver now = {.driver = "-", .override = "-"};
		char vf[RAS_DEV_SIZE];

		if (vf_name(bus, dev, i, vf, sizeof(vf)))
			read_driver(bus, vf, &now);
		if (i > 0 && streq(now.driver, run.driver) && streq(now.override, run.override))
			continue;
		if (i > 0)
			add_run(ret, first, i - 1, &run);
		first = i;
		run = now;
	}
	add_run(ret, first, ret->n - 1, &run);
}

bool sriov_owed(const char *bus, const char *dev, const struct vf_setup *vfs)
{
	char driver[RAS_NAME_SIZE];
	char vf[RAS_DEV_SIZE];

	/* sriov_numvfs waits for the lock of the device (drivers/pci/iov.c), and this may not. */
	return vfs->n > 0 && !vf_name(bus, dev, 0, vf, sizeof(vf)) &&
	       sysfs_link(bus, dev, "driver", driver, sizeof(driver)) >= 0;
}

static void restore_override(const char *bus, const char *vf, const struct vf_driver *want)
{
	char path[SYSFS_PATH_SIZE];
	struct vf_driver now;

	read_driver(bus, vf, &now);
	/* Whether that worked is looked at before a driver is bound. */
	if (!streq(now.override, want->override))
		(void)host_sysfs_write(
			sysfs_device_path(path, sizeof(path), bus, vf, "driver_override"),
			streq(want->override, "-") ? "\n" : want->override);
}

/* Binds what was bound. Returns false when it could not. */
static bool restore_driver(const char *bus, const char *vf, const struct vf_driver *want)
{
	char path[SYSFS_PATH_SIZE];
	struct vf_driver now;

	read_driver(bus, vf, &now);
	if (!streq(now.override, want->override))
		return false;
	if (streq(want->driver, "-") || streq(want->driver, now.driver))
		return true;
	if (!streq(now.driver, "-"))
		return false;
	snprintf(path, sizeof(path), "%s/bus/%s/drivers/%s/bind", host_dir(HOST_SYS), bus,
		 want->driver);
	return host_sysfs_write(path, vf) >= 0;
}

/* Gives them @driver_too, or only their overrides. Returns how many have not got theirs back. */
static uint32_t restore_all(const char *bus, const char *dev, const struct vf_setup *vfs,
			    bool driver_too)
{
	uint32_t failed = 0;

	for (const char *s = vfs->drivers; s && *s;
	     s = strchr(s, ';') ? strchr(s, ';') + 1 : NULL) {
		struct vf_driver want;
		uint32_t first;
		uint32_t last;

		/* NOLINTNEXTLINE(cert-err34-c): written by add_run() */
		if (sscanf(s, "%" SCNu32 "-%" SCNu32 " %63s %63[^;]", &first, &last, want.driver,
			   want.override) != 4)
			break;
		for (uint32_t i = first; i <= last && i < vfs->n; i++) {
			char vf[RAS_DEV_SIZE];

			if (!vf_name(bus, dev, i, vf, sizeof(vf)))
				failed++;
			else if (!driver_too)
				restore_override(bus, vf, &want);
			else if (!restore_driver(bus, vf, &want))
				failed++;
		}
	}
	return failed;
}

/*
 * The kernel refuses to bind a virtual function that has no driver_override while nobody is to
 * probe them (drivers/pci/pci-driver.c, pci_device_can_probe()). Once each has the one that it had,
 * probing may be allowed: nothing begins to probe them because of that.
 */
static uint32_t restore_drivers(const char *bus, const char *dev, const struct vf_setup *vfs)
{
	uint32_t failed;

	(void)restore_all(bus, dev, vfs, false);
	(void)write_number(bus, dev, "sriov_drivers_autoprobe", 1);
	failed = restore_all(bus, dev, vfs, true);
	(void)write_number(bus, dev, "sriov_drivers_autoprobe", vfs->autoprobe);
	return failed;
}

int sriov_restore(const char *bus, const char *dev, const struct vf_setup *vfs, char *text,
		  size_t size)
{
	uint32_t now;
	uint32_t failed;
	int r;

	text[0] = '\0';
	if (vfs->n == 0 || !read_number(bus, dev, "sriov_numvfs", &now))
		return 0;
	if (now != 0 && now != vfs->n) {
		snprintf(text, size, "it has %" PRIu32 " virtual functions now, and had %" PRIu32,
			 now, vfs->n);
		return 0;
	}
	if (now == 0) {
		/*
		 * Nobody probes them before each has the driver_override that it had: a guest's
		 * device must not show up as the host's network card in between.
		 */
		(void)write_number(bus, dev, "sriov_drivers_autoprobe", 0);
		r = write_number(bus, dev, "sriov_numvfs", vfs->n);
		if (r < 0) {
			(void)write_number(bus, dev, "sriov_drivers_autoprobe", vfs->autoprobe);
			snprintf(text, size,
				 "cannot put its %" PRIu32 " virtual functions back: %s", vfs->n,
				 strerror(-r));
			return r;
		}
	}
	failed = restore_drivers(bus, dev, vfs);
	if (failed)
		snprintf(text, size,
			 "%" PRIu32 " of its %" PRIu32 " virtual functions have not got their "
			 "drivers back",
			 failed, vfs->n);
	return 0;
}
