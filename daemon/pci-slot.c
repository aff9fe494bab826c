// SPDX-License-Identifier: GPL-2.0-or-later
#include "pci-slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "host.h"
#include "kernel-msg.h"
#include "pci-name.h"
#include "sysfs.h"

/* Root port, switch, another switch ...: deeper than any machine. */
#define DEPTH_MAX 32

/* The PCI devices from the host bridge down to one, as its path in sysfs has them. */
struct ancestry {
	struct pci_address at[DEPTH_MAX];
	size_t n;
};

/* What the file "address" of a slot says. */
struct slot_address {
	struct pci_address bus; /* .device and .function do not count */
	bool has_device;	/* otherwise the slot is all of the bus */
};

static int read_ancestry(const char *bus, const char *dev, struct ancestry *ret)
{
	char path[SYSFS_PATH_SIZE];
	char real[PATH_MAX];
	char *rest = NULL;

	ret->n = 0;
	if (!streq(bus, "pci"))
		return -ENOENT;
	if (!realpath(sysfs_device_path(path, sizeof(path), bus, dev, ""), real))
		return -errno;
	for (char *part = strtok_r(real, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
		struct pci_address address;

		/* "pci0000:00" and what is above it are none. */
		if (strchr(part, '.') == NULL || pci_address_parse(part, &address) < 0)
			continue;
		if (ret->n == DEPTH_MAX)
			return -E2BIG;
		ret->at[ret->n++] = address;
	}
	return ret->n ? 0 : -ENOENT;
}

static bool read_slot(const char *slot, struct slot_address *ret)
{
	char path[SYSFS_PATH_SIZE];
	char text[32] = "";
	unsigned int domain = 0;
	unsigned int bus = 0;
	unsigned int device = 0;
	_cleanup_close_ int fd = -1;
	int n;

	snprintf(path, sizeof(path), "%s/bus/pci/slots/%s/address", host_dir(HOST_SYS), slot);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	n = sscanf(text, "%x:%x:%x", &domain, &bus, &device); /* NOLINT(cert-err34-c) */
	if (n < 2 || bus > 0xff || device > 0x1f)
		return false;
	*ret = (struct slot_address){
		.bus = {.domain = domain, .bus = (uint8_t)bus, .device = (uint8_t)device},
		.has_device = n == 3};
	return true;
}

/*
 * How deep in @a the slot is, counted from 1; 0 when the device is not in it. A slot behind a PCIe
 * port has all of its bus and still says device 00 (drivers/pci/slot.c, PCI_SLOT_ALL_DEVICES): with
 * ARI and with virtual functions there are others.
 */
static size_t slot_depth(const struct slot_address *slot, const struct ancestry *a)
{
	for (size_t i = a->n; i > 0; i--) {
		const struct pci_address *at = &a->at[i - 1];

		if (at->domain != slot->bus.domain || at->bus != slot->bus.bus)
			continue;
		if (!slot->has_device || at->device == slot->bus.device ||
		    (slot->bus.device == 0 && i > 1))
			return i;
	}
	return 0;
}

static bool has_power(const char *slot)
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/bus/pci/slots/%s/power", host_dir(HOST_SYS), slot);
	return access(path, F_OK) == 0;
}

/* One slot for each device of an ancestry, the one that fits it best; "" for none. */
struct slots {
	char at[DEPTH_MAX][RAS_NAME_SIZE];
	bool exact[DEPTH_MAX];
};

/* Returns 0 or -errno. */
static int find_slots(const char *bus, const char *dev, bool power, struct slots *ret)
{
	char path[SYSFS_PATH_SIZE];
	struct ancestry ancestry;
	struct dirent *entry;
	DIR *dir;
	int r;

	*ret = (struct slots){0};
	snprintf(path, sizeof(path), "%s/bus/pci/slots", host_dir(HOST_SYS));
	dir = opendir(path);
	if (!dir)
		return -errno;
	r = read_ancestry(bus, dev, &ancestry);
	while (r >= 0 && (entry = readdir(dir))) {
		struct slot_address slot;
		size_t depth;
		bool exact;

		if (entry->d_name[0] == '.' || !read_slot(entry->d_name, &slot))
			continue;
		depth = slot_depth(&slot, &ancestry);
		if (depth == 0 || (power && !has_power(entry->d_name)))
			continue;
		depth--;
		exact = slot.has_device && ancestry.at[depth].device == slot.bus.device;
		if (ret->exact[depth] && !exact)
			continue;
		if (!str_copy(ret->at[depth], RAS_NAME_SIZE, entry->d_name))
			r = -ENAMETOOLONG;
		ret->exact[depth] = exact;
	}
	closedir(dir);
	return r < 0 ? r : 0;
}

int pci_slot_find(const char *bus, const char *dev, bool power, char *buf, size_t size)
{
	struct slots slots;
	int r = find_slots(bus, dev, power, &slots);

	buf[0] = '\0';
	if (r < 0)
		return r;
	for (size_t i = DEPTH_MAX; i > 0; i--)
		if (slots.at[i - 1][0])
			return str_copy(buf, size, slots.at[i - 1]) ? 0 : -ENAMETOOLONG;
	return -ENOENT;
}

int pci_slot_powers(const char *bus, const char *dev,
		    void (*handler)(const char *slot, void *userdata), void *userdata)
{
	struct slots slots;
	int r = find_slots(bus, dev, true, &slots);

	for (size_t i = DEPTH_MAX; r >= 0 && i > 0; i--)
		if (slots.at[i - 1][0])
			handler(slots.at[i - 1], userdata);
	return r;
}

int pci_slot_devices(const char *slot, bool (*handler)(const char *dev, void *userdata),
		     void *userdata)
{
	char path[SYSFS_PATH_SIZE];
	struct slot_address address;
	struct dirent *entry;
	int r = 0;
	DIR *dir;

	if (!read_slot(slot, &address))
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/bus/pci/devices", host_dir(HOST_SYS));
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir))) {
		struct ancestry ancestry;

		if (entry->d_name[0] == '.')
			continue;
		/* One that has gone meanwhile is in no slot any more. */
		if (read_ancestry("pci", entry->d_name, &ancestry) < 0 ||
		    slot_depth(&address, &ancestry) == 0)
			continue;
		r = handler(entry->d_name, userdata) ? 0 : 1;
	}
	closedir(dir);
	return r;
}
