// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-topology.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pci/header.h>

#include "pci-slot.h"
#include "sysfs.h"

static void add(struct topology_list *list, const char *dev)
{
	if (list->n == TOPOLOGY_MAX)
		list->more = true;
	else
		str_copy(list->dev[list->n++], PCI_NAME_SIZE, dev);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void sort(struct topology_list *list)
{
	qsort(list->dev, list->n, sizeof(list->dev[0]), compare);
}

static bool is_pci_name(const char *part)
{
	struct pci_address address;
	char name[PCI_NAME_SIZE];

	return !strchr(part, '/') && pci_address_parse(part, &address) >= 0 &&
	       streq(pci_address_format(&address, name), part);
}

/* The directories of sysfs nest as the buses do. */
static void read_path(struct topology *t, const char *dev)
{
	char path[SYSFS_PATH_SIZE];
	char real[PATH_MAX];
	char *rest = real;
	char *part;

	if (!realpath(sysfs_device_path(path, sizeof(path), "pci", dev, ""), real))
		return;
	while ((part = strsep(&rest, "/")))
		if (is_pci_name(part))
			add(&t->path, part);
}

static void read_functions(struct topology *t, const char *dev)
{
	size_t len = strlen(dev) - 1;

	for (unsigned int function = 0; function < 8; function++) {
		char name[PCI_NAME_SIZE + 8];

		snprintf(name, sizeof(name), "%.*s%u", (int)len, dev, function);
		if (!streq(name, dev) && sysfs_device_exists("pci", name))
			add(&t->functions, name);
	}
}

static void read_group(struct topology *t, const char *dev)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	(void)sysfs_link("pci", dev, "iommu_group", t->group_name, sizeof(t->group_name));
	dir = opendir(sysfs_device_path(path, sizeof(path), "pci", dev, "iommu_group/devices"));
	while (dir && (entry = readdir(dir)))
		if (is_pci_name(entry->d_name) && !streq(entry->d_name, dev))
			add(&t->group, entry->d_name);
	if (dir)
		closedir(dir);
	sort(&t->group);
}

static void read_vfs(struct topology *t, const char *dev)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir = opendir(sysfs_device_path(path, sizeof(path), "pci", dev, ""));

	while (dir && (entry = readdir(dir))) {
		char name[64];

		if (strncmp(entry->d_name, "virtfn", 6) == 0 &&
		    sysfs_link("pci", dev, entry->d_name, name, sizeof(name)) >= 0)
			add(&t->vfs, name);
	}
	if (dir)
		closedir(dir);
	sort(&t->vfs);
}

void topology_read(struct topology *t, const char *dev)
{
	char pf[64];

	*t = (struct topology){0};
	read_path(t, dev);
	read_functions(t, dev);
	read_group(t, dev);
	read_vfs(t, dev);
	if (sysfs_link("pci", dev, "physfn", pf, sizeof(pf)) >= 0)
		str_copy(t->pf, sizeof(t->pf), pf);
	(void)pci_slot_find("pci", dev, false, t->slot, sizeof(t->slot));
}

const char *pci_port_type(const char *dev)
{
	static const char *const types[16] = {
		[PCI_EXP_TYPE_ENDPOINT] = "endpoint",
		[PCI_EXP_TYPE_LEG_END] = "endpoint",
		[PCI_EXP_TYPE_ROOT_PORT] = "root port",
		[PCI_EXP_TYPE_UPSTREAM] = "switch upstream port",
		[PCI_EXP_TYPE_DOWNSTREAM] = "switch downstream port",
		[PCI_EXP_TYPE_PCI_BRIDGE] = "bridge to conventional PCI",
		[PCI_EXP_TYPE_PCIE_BRIDGE] = "bridge from conventional PCI",
		[PCI_EXP_TYPE_ROOT_INT_EP] = "integrated endpoint",
		[PCI_EXP_TYPE_ROOT_EC] = "event collector",
	};
	char path[SYSFS_PATH_SIZE];
	uint8_t config[256];
	_cleanup_close_ int fd = open(sysfs_device_path(path, sizeof(path), "pci", dev, "config"),
				      O_RDONLY | O_CLOEXEC);
	uint8_t at;

	/* Those who are not root get 64 bytes only. */
	if (fd < 0 || pread(fd, config, sizeof(config), 0) != sizeof(config))
		return "";
	at = config[PCI_CAPABILITY_LIST] & 0xfc;
	for (unsigned int i = 0; i < 48 && at >= 0x40 && at < 0xfc; i++) {
		if (config[at] == PCI_CAP_ID_EXP) {
			const char *type = types[config[at + 2] >> 4];

			return type ? type : "";
		}
		at = config[at + 1] & 0xfc;
	}
	return "";
}
