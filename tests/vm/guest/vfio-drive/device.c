// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening and closing devices, through their group and through their character device. */
#define _GNU_SOURCE
#include "drive.h"
#include "iommufd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The registers' first two pages hold all that is needed, and the command register lets the device
 * do DMA */
static const char *set_up(struct thing *device)
{
	struct vfio_region_info config = {.argsz = sizeof(config),
					  .index = VFIO_PCI_CONFIG_REGION_INDEX};
	const uint16_t command = 0x406; /* memory, bus master, no INTx */

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		return "VFIO_DEVICE_GET_REGION_INFO";
	if (pwrite(device->fd, &command, sizeof(command), (off_t)config.offset + 4) !=
	    sizeof(command))
		return "configuration space";
	return NULL;
}

/* A group can be open only once: devices of one share it. */
static int same_group(unsigned long group_number)
{
	for (int i = 0; i < MAX_THINGS; i++)
		if (things[i].kind == DEVICE && things[i].group >= 0 &&
		    things[i].group_number == group_number)
			return dup(things[i].group);
	return -1;
}

void open_group(char **words, int count)
{
	struct thing *space = find(words[2], CONTAINER);
	char path[64], target[PATH_MAX];
	unsigned long group_number;
	const char *step;
	struct thing *device;
	int group, fd = -1, error;
	ssize_t length;

	(void)count;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", words[1]);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		fail(path);
	target[length] = 0;
	group_number = number(strrchr(target, '/') + 1);
	group = same_group(group_number);
	if (group >= 0)
		goto have_group;
	snprintf(path, sizeof(path), "/dev/vfio/%lu", group_number);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		fail(path);
	step = "VFIO_GROUP_SET_CONTAINER";
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &space->fd))
		goto failed;
	/* Only the first group of a container says what its IOMMU is to be */
	step = "VFIO_SET_IOMMU";
	if (!space->id && ioctl(space->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		goto failed;
	space->id = 1;
have_group:
	step = "VFIO_GROUP_GET_DEVICE_FD";
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, words[1]);
	if (fd < 0)
		goto failed;
	device = add(words[0], DEVICE, fd, 0);
	device->group = group;
	device->group_number = group_number;
	step = set_up(device);
	if (!step) {
		printf("ok\n");
		return;
	}
	drop(device);
failed:
	error = errno;
	if (fd >= 0)
		close(fd);
	close(group);
	fail_with(error, "%s", step);
}

static int open_character_device(const char *address)
{
	char path[300];
	struct dirent *entry;
	int fd = -1;
	DIR *folder;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", address);
	folder = opendir(path);
	if (!folder)
		fail(path);
	while (fd < 0 && (entry = readdir(folder)))
		if (!strncmp(entry->d_name, "vfio", 4)) {
			snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
			fd = open(path, O_RDWR | O_CLOEXEC);
			break;
		}
	closedir(folder);
	if (fd < 0)
		fail(path);
	return fd;
}

void open_cdev(char **words, int count)
{
	struct bind_iommufd arg = {.argsz = sizeof(arg), .iommufd = iommufd()};
	int fd = open_character_device(words[1]);
	struct thing *device;
	const char *step;
	int error;

	(void)count;
	if (ioctl(fd, BIND_IOMMUFD, &arg)) {
		error = errno;
		close(fd);
		fail_with(error, "VFIO_DEVICE_BIND_IOMMUFD");
	}
	device = add(words[0], DEVICE, fd, arg.out_devid);
	step = set_up(device);
	if (step) {
		error = errno;
		drop(device);
		close(fd);
		fail_with(error, "%s", step);
	}
	printf("ok\n");
}

void attach(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE), *to = find(words[1], IOAS | HWPT);
	struct attach_iommufd_pt arg = {.argsz = sizeof(arg), .pt_id = to->id};

	(void)count;
	if (ioctl(device->fd, ATTACH_IOMMUFD_PT, &arg))
		fail("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	printf("ok\n");
}

void detach(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE);
	struct detach_iommufd_pt arg = {.argsz = sizeof(arg)};

	(void)count;
	if (ioctl(device->fd, DETACH_IOMMUFD_PT, &arg))
		fail("VFIO_DEVICE_DETACH_IOMMUFD_PT");
	printf("ok\n");
}

/* The reset of a device clears its command register, and what it was doing comes to nothing. */
static void after_reset(struct thing *device)
{
	const char *step = set_up(device);

	if (step)
		fail(step);
	printf("ok\n");
}

void reset(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE);

	(void)count;
	stop_busy(&device->nvme);
	if (ioctl(device->fd, VFIO_DEVICE_RESET))
		fail("VFIO_DEVICE_RESET");
	after_reset(device);
}

/* Of the device's slot or bus. With a character device nothing has to prove that the others there
 * are its user's. */
void hot_reset(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE);
	struct vfio_pci_hot_reset arg = {.argsz = sizeof(arg)};

	(void)count;
	stop_busy(&device->nvme);
	if (ioctl(device->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg))
		fail("VFIO_DEVICE_PCI_HOT_RESET");
	after_reset(device);
}

void close_thing(char **words, int count)
{
	struct thing *thing = find(words[0], ~0u);
	struct destroy arg = {.size = sizeof(arg), .id = thing->id};

	(void)count;
	stop_busy(&thing->nvme);
	ats_close(thing);
	if (thing->kind & (CONTAINER | DEVICE | VEVENTQ)) {
		close(thing->fd);
		if (thing->group >= 0)
			close(thing->group);
	}
	if (!(thing->kind & (CONTAINER | DEVICE)) && ioctl(iommufd(), IOMMU_DESTROY, &arg))
		fail("IOMMU_DESTROY");
	drop(thing);
	printf("ok\n");
}
