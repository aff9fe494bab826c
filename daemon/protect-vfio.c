// SPDX-License-Identifier: GPL-2.0-or-later
/* Guests, and other users of VFIO. */
#include "host.h"
#include "protect-find.h"

/*
 * Is it open? vfio-pci enables the device when it is opened and disables it when it is closed, and
 * the PCI core counts. Who has it open could only be seen in the files of other processes.
 */
static bool is_open(const struct object *device)
{
	char enabled[16];

	return sys_line(device->path, "enable", enabled, sizeof(enabled)) < 0 ||
	       !streq(enabled, "0");
}

void find_vfio_users(const char *bus, const struct sys_paths *roots, struct findings *f)
{
	_cleanup_objects_ struct objects devices = {0};
	_cleanup_objects_ struct objects mediated = {0};
	char dir[SYSFS_PATH_SIZE];
	int r;

	snprintf(dir, sizeof(dir), "bus/%s/devices", bus);
	r = objects_read(&devices, dir);
	if (r >= 0)
		r = objects_read(&mediated, "bus/mdev/devices");
	if (r < 0) {
		found(f, "perhaps a guest (cannot tell: %s)", strerror(-r));
		return;
	}
	objects_mark_below(&devices, roots);
	for (size_t i = 0; i < devices.n_marked; i++) {
		const struct object *device = devices.marked[i];
		char driver[RAS_NAME_SIZE];

		(void)sys_link(device->path, "driver", driver, sizeof(driver));
		if (strstr(driver, "vfio") && is_open(device))
			found(f, "a guest, or who else has %s open through %s", device->name,
			      driver);
	}
	/* A part of a device that a guest was given. Its driver does not tell whether it is open.
	 */
	objects_mark_below(&mediated, roots);
	for (size_t i = 0; i < mediated.n_marked; i++)
		found(f, "mediated device %s", mediated.marked[i]->name);
}
