// SPDX-License-Identifier: GPL-2.0-or-later
/* From what people type or paste to a PCI device. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "ctl.h"
#include "host.h"
#include "sysfs.h"

#define FOUND_MAX 16

/* The devices that a name may mean. */
struct found {
	size_t n;
	bool more; /* than fit here */
	char dev[FOUND_MAX][PCI_NAME_SIZE];
};

static void add_found(struct found *found, const char *dev)
{
	for (size_t i = 0; i < found->n; i++)
		if (streq(found->dev[i], dev))
			return;
	if (found->n == FOUND_MAX)
		found->more = true;
	else
		str_copy(found->dev[found->n++], PCI_NAME_SIZE, dev);
}

/* Is @part exactly what the kernel calls a PCI device? */
static bool is_pci_name(const char *part, char name[static PCI_NAME_SIZE])
{
	struct pci_address address;

	return pci_address_parse(part, &address) >= 0 &&
	       streq(pci_address_format(&address, name), part);
}

/* The PCI device that the thing at @path (followed) belongs to. */
static bool add_from_path(struct found *found, const char *path)
{
	char real[PATH_MAX];
	char *slash;

	if (!realpath(path, real))
		return false;
	while ((slash = strrchr(real, '/'))) {
		char name[PCI_NAME_SIZE];

		if (is_pci_name(slash + 1, name) && sysfs_device_exists("pci", name)) {
			add_found(found, name);
			return true;
		}
		*slash = '\0';
	}
	return false;
}

static void add_block(struct found *found, const char *name, unsigned int depth);

/* What a stacked block device (dm, md, bcache) stands on. */
static void add_slaves(struct found *found, const char *name, unsigned int depth)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/class/block/%s/slaves", host_dir(HOST_SYS), name);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && depth < 8)
			add_block(found, entry->d_name, depth + 1);
	if (dir)
		closedir(dir);
}

/* The controllers behind a multipath NVMe disk: nvme0n1 has paths nvme0c1n1, nvme0c2n1. */
static void add_nvme_paths(struct found *found, const char *name)
{
	unsigned int head;
	unsigned int namespace;
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(name, "nvme%un%u", &head, &namespace) != 2)
		return;
	snprintf(path, sizeof(path), "%s/class/block", host_dir(HOST_SYS));
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		unsigned int part[3];
		char entry_path[SYSFS_PATH_SIZE + 256];

		/* NOLINTNEXTLINE(cert-err34-c) */
		if (sscanf(entry->d_name, "nvme%uc%un%u", &part[0], &part[1], &part[2]) != 3 ||
		    part[0] != head || part[2] != namespace)
			continue;
		snprintf(entry_path, sizeof(entry_path), "%s/%s", path, entry->d_name);
		(void)add_from_path(found, entry_path);
	}
	if (dir)
		closedir(dir);
}

static void add_block(struct found *found, const char *name, unsigned int depth)
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/class/block/%s", host_dir(HOST_SYS), name);
	if (access(path, F_OK) < 0 || add_from_path(found, path))
		return;
	add_nvme_paths(found, name);
	add_slaves(found, name, depth);
	/* A partition of such a device: its disk is the directory above. */
	if (found->n == 0 && depth == 0) {
		char real[PATH_MAX];
		char *slash = realpath(path, real) ? strrchr(real, '/') : NULL;

		if (slash) {
			*slash = '\0';
			slash = strrchr(real, '/');
			if (slash && !streq(slash + 1, "block"))
				add_block(found, slash + 1, 1);
		}
	}
}

/* "eth0", "nvme0", "mlx5_0", "card1": whatever has a class has a name there. */
static void add_from_classes(struct found *found, const char *name)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	if (strchr(name, '/') || name[0] == '.' || name[0] == '\0' || strlen(name) > NAME_MAX / 2)
		return;
	add_block(found, name, 0);
	if (found->n > 0)
		return;
	snprintf(path, sizeof(path), "%s/class", host_dir(HOST_SYS));
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char thing[SYSFS_PATH_SIZE + 512];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(thing, sizeof(thing), "%s/%s/%s", path, entry->d_name, name);
		(void)add_from_path(found, thing);
	}
	if (dir)
		closedir(dir);
}

/* A slot's "address" is a device without its function: "0000:01:00". */
static void add_from_slot(struct found *found, const char *name)
{
	char path[SYSFS_PATH_SIZE];
	char address[32] = "";
	FILE *f;

	if (strchr(name, '/') || name[0] == '.' || strlen(name) > NAME_MAX / 2)
		return;
	snprintf(path, sizeof(path), "%s/bus/pci/slots/%s/address", host_dir(HOST_SYS), name);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(address, sizeof(address), f))
		address[0] = '\0';
	fclose(f);
	str_chomp(address);
	for (unsigned int function = 0; function < 8 && address[0]; function++) {
		char dev[64];
		char checked[PCI_NAME_SIZE];

		snprintf(dev, sizeof(dev), "%s.%u", address, function);
		if (is_pci_name(dev, checked) && sysfs_device_exists("pci", checked))
			add_found(found, checked);
	}
}

/* A device node, or a link to one such as /dev/disk/by-id/...; or one of a machine that has none.
 */
static void add_from_dev(struct found *found, const char *text)
{
	char path[SYSFS_PATH_SIZE];
	struct stat st;

	if (stat(text, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))) {
		char real[PATH_MAX];
		const char *slash;

		snprintf(path, sizeof(path), "%s/dev/%s/%u:%u", host_dir(HOST_SYS),
			 S_ISBLK(st.st_mode) ? "block" : "char", major(st.st_rdev),
			 minor(st.st_rdev));
		if (add_from_path(found, path) || !realpath(path, real))
			return;
		slash = strrchr(real, '/');
		if (slash && S_ISBLK(st.st_mode))
			add_block(found, slash + 1, 0);
	} else if (strncmp(text, "/dev/", 5) == 0) {
		add_from_classes(found, text + 5);
	}
}

static void add_from_sys(struct found *found, const char *text)
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s%s", host_dir(HOST_SYS), text + 4);
	if (!add_from_path(found, path) && strncmp(text, "/sys/class/block/", 17) == 0)
		add_block(found, text + 17, 0);
}

/* --- suggestions ------------------------------------------------------------------------------ */

/* Letters to add, drop, change or swap to get from @a to @b. */
static unsigned int distance(const char *a, const char *b)
{
	size_t la = strlen(a);
	size_t lb = strlen(b);
	unsigned int rows[3][40];

	if (la >= ARRAY_SIZE(rows[0]) || lb >= ARRAY_SIZE(rows[0]))
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		rows[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int *row = rows[i % 3];
		const unsigned int *above = rows[(i + 2) % 3];
		const unsigned int *above2 = rows[(i + 1) % 3];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < row[j])
				row[j] = above[j] + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    above2[j - 2] + 1 < row[j])
				row[j] = above2[j - 2] + 1;
		}
	}
	return rows[la % 3][lb];
}

const char *ctl_closest(const char *word, const char *const *words, size_t n)
{
	const char *best = NULL;
	/* A short word is close to everything. */
	unsigned int best_distance = strlen(word) < 4 ? 2 : 3;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = distance(word, words[i]);

		/* "mon" for "monitor". */
		if (strlen(word) >= 3 && strncmp(word, words[i], strlen(word)) == 0)
			d = 0;
		if (d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}

struct near {
	const char *word;
	unsigned int distance;
	char name[128];
};

static void suggest_from(struct near *near, const char *directory)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", host_dir(HOST_SYS), directory);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		unsigned int d;

		if (entry->d_name[0] == '.')
			continue;
		d = distance(near->word, entry->d_name);
		if (d < near->distance && str_copy(near->name, sizeof(near->name), entry->d_name))
			near->distance = d;
	}
	if (dir)
		closedir(dir);
}

static int no_such_device(const char *text, const char *name)
{
	struct near near = {.word = name, .distance = name == text ? 3 : 2};
	char named[256];

	if (strncmp(near.word, "/dev/", 5) == 0)
		near.word += 5;
	suggest_from(&near, "bus/pci/devices");
	if (name == text) {
		suggest_from(&near, "class/block");
		suggest_from(&near, "class/net");
		suggest_from(&near, "class/nvme");
		suggest_from(&near, "bus/pci/slots");
	}
	if (name == text)
		fprintf(stderr, "There is no device, disk, network interface or PCI slot \"%s\"",
			VISIBLE(text));
	else
		fprintf(stderr, "There is no PCI device %s", name);
	if (near.name[0]) {
		ctl_device_name("pci", near.name, named, sizeof(named));
		fprintf(stderr, "; did you mean %s%s%s%s?\n", VISIBLE(near.name),
			named[0] ? " (" : "", VISIBLE(named), named[0] ? ")" : "");
	} else {
		fprintf(stderr, "; \"lspci -D\" lists the PCI devices, \"smmu-rasctl --all\" those "
				"that were fenced\n");
	}
	return CTL_NO_DEVICE;
}

static int ambiguous(const char *text, const struct found *found)
{
	fprintf(stderr, "\"%s\" is on more than one PCI device; say which:", VISIBLE(text));
	for (size_t i = 0; i < found->n; i++)
		fprintf(stderr, " %s", found->dev[i]);
	fprintf(stderr, "%s\n", found->more ? " ..." : "");
	return CTL_NO_DEVICE;
}

int ctl_find_device(const char *text, char name[static PCI_NAME_SIZE])
{
	struct found found = {0};
	struct pci_address address;
	struct device_record record;

	if (text[0] == '\0') {
		fprintf(stderr,
			"A device cannot be \"\"; write it as lspci does, such as 01:00.0\n");
		return CTL_USAGE;
	}
	if (pci_address_parse(text, &address) >= 0) {
		pci_address_format(&address, name);
		/* What is gone from the machine may still have a story. */
		if (sysfs_device_exists("pci", name))
			return CTL_OK;
		if (state_load("pci", name, &record) >= 0 ||
		    state_load_in(STATE_GONE, "pci", name, &record) >= 0) {
			record_clear_history(&record);
			return CTL_OK;
		}
		return no_such_device(text, name);
	}
	if (strncmp(text, "/sys/", 5) == 0)
		add_from_sys(&found, text);
	else if (text[0] == '/')
		add_from_dev(&found, text);
	else
		add_from_classes(&found, text);
	if (found.n == 0)
		add_from_slot(&found, text);
	if (found.n == 0)
		return no_such_device(text, text);
	if (found.n > 1)
		return ambiguous(text, &found);
	str_copy(name, PCI_NAME_SIZE, found.dev[0]);
	return CTL_OK;
}
