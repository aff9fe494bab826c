// SPDX-License-Identifier: GPL-2.0-or-later
#include "protect.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

#include "host.h"
#include "sysfs.h"

/* Names of kernel objects of one class that depend on the device, and why. */
#define NAMES_MAX 1024

struct names {
	size_t n;
	char name[NAMES_MAX][RAS_NAME_SIZE];
};

static bool names_have(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (streq(names->name[i], name))
			return true;
	return false;
}

/* Returns false when there are too many to tell. */
static bool names_add(struct names *names, const char *name)
{
	if (names_have(names, name))
		return true;
	if (names->n == NAMES_MAX)
		return false;
	return str_copy(names->name[names->n++], RAS_NAME_SIZE, name);
}

/* The real path of @class/@name, "" when there is none. */
static void class_path(const char *class, const char *name, char buf[static PATH_MAX])
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/class/%s/%s", host_dir(HOST_SYS), class, name);
	if (!realpath(path, buf))
		buf[0] = '\0';
}

/* Adds every object of @class whose real path lies below @root. */
static bool add_below(struct names *names, const char *class, const char *root)
{
	char path[SYSFS_PATH_SIZE];
	size_t len = strlen(root);
	struct dirent *entry;
	bool good = true;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/class/%s", host_dir(HOST_SYS), class);
	dir = opendir(path);
	/* A kernel without the class has nothing of it on the device. */
	if (!dir)
		return errno == ENOENT;
	while (good && (entry = readdir(dir))) {
		char real[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		class_path(class, entry->d_name, real);
		if (strncmp(real, root, len) == 0 && real[len] == '/')
			good = names_add(names, entry->d_name);
	}
	closedir(dir);
	return good;
}

/* Adds the entries of a directory whose names begin with @prefix, without the prefix. */
static bool add_entries(struct names *names, const char *path, const char *prefix)
{
	size_t len = strlen(prefix);
	struct dirent *entry;
	bool good = true;
	DIR *dir = opendir(path);

	if (!dir)
		return errno == ENOENT;
	while (good && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, len) == 0)
			good = names_add(names, entry->d_name + len);
	closedir(dir);
	return good;
}

/*
 * A namespace of a multipath NVMe disk, nvme0c1n1, is one path to nvme0n1. That one lives
 * elsewhere in sysfs, and is what people mount.
 */
static bool add_nvme_head(struct names *names, const char *name)
{
	unsigned int controller;
	unsigned int path;
	unsigned int namespace;
	char head[RAS_NAME_SIZE];
	int end = 0;

	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(name, "nvme%uc%un%u%n", &controller, &path, &namespace, &end) != 3 ||
	    name[end] != '\0')
		return true;
	snprintf(head, sizeof(head), "nvme%un%u", controller, namespace);
	return names_add(names, head);
}

/* All block devices on the device @root, and all that are stacked on those. */
static bool find_block(const char *root, struct names *names)
{
	if (!add_below(names, "block", root))
		return false;
	/* The list grows while it is walked. */
	for (size_t i = 0; i < names->n; i++) {
		char path[PATH_MAX + 16];
		char real[PATH_MAX];

		class_path("block", names->name[i], real);
		if (real[0] == '\0')
			continue;
		snprintf(path, sizeof(path), "%s/holders", real);
		/* Partitions of what is stacked are found below it. */
		if (!add_nvme_head(names, names->name[i]) || !add_entries(names, path, "") ||
		    !add_below(names, "block", real))
			return false;
	}
	return true;
}

static bool find_net(const char *root, struct names *names)
{
	if (!add_below(names, "net", root))
		return false;
	for (size_t i = 0; i < names->n; i++) {
		char path[SYSFS_PATH_SIZE];

		snprintf(path, sizeof(path), "%s/class/net/%s", host_dir(HOST_SYS), names->name[i]);
		if (!add_entries(names, path, "upper_"))
			return false;
	}
	return true;
}

/* Is the block device called @source, "/dev/sda1" or "/dev/mapper/vg-root", one of @names? */
static const char *find_source(const struct names *names, const char *source)
{
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->name[i];
		char attr[RAS_NAME_SIZE + 16];
		char path[SYSFS_PATH_SIZE];
		char mapper[128] = "";
		FILE *f;

		if (strncmp(source, "/dev/", 5) == 0 && streq(source + 5, name))
			return name;
		snprintf(attr, sizeof(attr), "%s/dm/name", name);
		snprintf(path, sizeof(path), "%s/class/block/%s", host_dir(HOST_SYS), attr);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (!fgets(mapper, sizeof(mapper), f))
			mapper[0] = '\0';
		fclose(f);
		str_chomp(mapper);
		if (mapper[0] && strncmp(source, "/dev/mapper/", 12) == 0 &&
		    streq(source + 12, mapper))
			return name;
	}
	return NULL;
}

static const char *find_number(const struct names *names, const char *number)
{
	for (size_t i = 0; i < names->n; i++) {
		char path[SYSFS_PATH_SIZE];
		char text[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "%s/class/block/%s/dev", host_dir(HOST_SYS),
			 names->name[i]);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (!fgets(text, sizeof(text), f))
			text[0] = '\0';
		fclose(f);
		if (streq(str_chomp(text), number))
			return names->name[i];
	}
	return NULL;
}

static FILE *open_proc(const char *name)
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", host_dir(HOST_PROC), name);
	return fopen(path, "re");
}

/*
 * Filesystems whose device numbers are their own, so that only the name of the source tells where
 * they are. Of all others it tells nothing: who mounts with FUSE writes there what he likes.
 */
static const char *const anonymous_types[] = {"btrfs", "bcachefs"};

static const char *find_anonymous(const struct names *names, const char *type, char *source)
{
	for (size_t i = 0; i < ARRAY_SIZE(anonymous_types); i++) {
		const char *found = NULL;

		if (!streq(type, anonymous_types[i]))
			continue;
		/* bcachefs names all its disks: "/dev/sda:/dev/sdb". */
		for (char *part = source; part && !found;) {
			char *colon = strstr(part, ":/dev/");

			if (colon)
				*colon++ = '\0';
			found = find_source(names, part);
			part = colon;
		}
		return found;
	}
	return NULL;
}

/* Where a line of mountinfo is mounted, as far as it matters here. Points into the line. */
struct mount {
	const char *number;
	const char *target;
	const char *type;
	char *source;
};

/*
 * proc(5): "36 35 98:0 /root /mount/point options [field...] - type source options". Only blanks
 * part the fields; other white space stands as it is in the name of a directory.
 */
static bool parse_mount(char *line, struct mount *ret)
{
	unsigned int field = 0;
	unsigned int dash = 0;
	char *word;

	*ret = (struct mount){0};
	for (; (word = strsep(&line, " ")); field++) {
		if (field == 2)
			ret->number = word;
		else if (field == 4)
			ret->target = word;
		else if (field > 5 && !dash && streq(word, "-"))
			dash = field;
		else if (dash && field == dash + 1)
			ret->type = word;
		else if (dash && field == dash + 2)
			ret->source = word;
	}
	return ret->source;
}

/* Returns true with a text when something is mounted from @names, or when that cannot be told. */
static bool check_mounted(const struct names *names, char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = open_proc("self/mountinfo");
	_cleanup_free_ char *line = NULL;
	size_t line_size = 0;

	if (!f) {
		snprintf(text, size, "cannot tell what is mounted from it: %m");
		return true;
	}
	while (getline(&line, &line_size, f) >= 0) {
		struct mount mount;
		const char *name;
		char target[81];

		if (!parse_mount(line, &mount))
			continue;
		name = find_number(names, mount.number);
		if (!name && strncmp(mount.number, "0:", 2) == 0)
			name = find_anonymous(names, mount.type, mount.source);
		if (name) {
			snprintf(text, size,
				 "it holds the filesystem mounted on %s (%s); unmount it, or "
				 "leave \"mounted\" out of the rule's \"protect\"",
				 str_visible(target, sizeof(target), mount.target), name);
			return true;
		}
	}
	return false;
}

static bool check_swap(const struct names *names, char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = open_proc("swaps");
	char line[4096];

	/* A kernel without swap has no such file. */
	if (!f && errno == ENOENT)
		return false;
	if (!f) {
		snprintf(text, size, "cannot tell what swap is on it: %m");
		return true;
	}
	while (fgets(line, sizeof(line), f)) {
		char source[256];

		if (sscanf(line, "%255s", source) == 1 && find_source(names, source)) {
			char visible[81];

			snprintf(text, size,
				 "it holds active swap, %s; run swapoff, or leave \"swap\" out "
				 "of the rule's \"protect\"",
				 str_visible(visible, sizeof(visible), source));
			return true;
		}
	}
	return false;
}

static bool route_found(const struct names *names, const char *interface, char *text, size_t size)
{
	if (!names_have(names, interface))
		return false;
	snprintf(text, size,
		 "the default route goes through it (%s); move the route, or leave "
		 "\"default-route\" out of the rule's \"protect\"",
		 VISIBLE(interface));
	return true;
}

static bool check_default_route(const struct names *names, char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = open_proc("self/net/route");
	_cleanup_fclose_ FILE *f6 = open_proc("self/net/ipv6_route");
	char line[1024];
	char interface[64];

	while (f && fgets(line, sizeof(line), f)) {
		char destination[16];
		char mask[16];

		if (sscanf(line, "%63s %15s %*s %*s %*s %*s %*s %15s", interface, destination,
			   mask) == 3 &&
		    streq(destination, "00000000") && streq(mask, "00000000") &&
		    route_found(names, interface, text, size))
			return true;
	}
	while (f6 && fgets(line, sizeof(line), f6)) {
		char destination[40];
		char prefix[8];

		if (sscanf(line, "%39s %7s %*s %*s %*s %*s %*s %*s %*s %63s", destination, prefix,
			   interface) == 3 &&
		    strspn(destination, "0") == strlen(destination) && streq(prefix, "00") &&
		    route_found(names, interface, text, size))
			return true;
	}
	return false;
}

static bool check_one(unsigned int mask, const char *bus, const char *dev, const char *driver,
		      char *text, size_t size)
{
	_cleanup_free_ struct names *names = NULL;
	char path[SYSFS_PATH_SIZE];
	char real[PATH_MAX];

	/*
	 * Whether a guest has the device open at this moment cannot be seen without looking into
	 * other processes, for which the daemon has no privilege. Being bound is use enough.
	 */
	if (mask & PROTECT_VFIO && strstr(driver, "vfio")) {
		snprintf(text, size,
			 "it is bound to %s, and a guest may be using it; stop the guest, or leave "
			 "\"vfio\" out of the rule's \"protect\"",
			 driver);
		return true;
	}
	names = malloc(sizeof(*names));
	if (!names || !realpath(sysfs_device_path(path, sizeof(path), bus, dev, ""), real)) {
		snprintf(text, size, "cannot tell what depends on it: %m");
		return true;
	}
	if (mask & (PROTECT_MOUNTED | PROTECT_SWAP)) {
		names->n = 0;
		if (!find_block(real, names)) {
			snprintf(text, size, "cannot tell which disks depend on it");
			return true;
		}
		if (names->n > 0 && mask & PROTECT_MOUNTED && check_mounted(names, text, size))
			return true;
		if (names->n > 0 && mask & PROTECT_SWAP && check_swap(names, text, size))
			return true;
	}
	if (mask & PROTECT_DEFAULT_ROUTE) {
		names->n = 0;
		if (!find_net(real, names)) {
			snprintf(text, size, "cannot tell which network interfaces depend on it");
			return true;
		}
		if (names->n > 0 && check_default_route(names, text, size))
			return true;
	}
	return false;
}

/* The driver of the PF takes all its VFs with it, which stand next to it in sysfs, not below. */
static bool check_functions(unsigned int mask, const char *bus, const char *dev, char *text,
			    size_t size)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	bool used = false;
	DIR *dir = opendir(sysfs_device_path(path, sizeof(path), bus, dev, ""));

	if (!dir) {
		snprintf(text, size, "cannot tell whether it has virtual functions: %m");
		return true;
	}
	while (!used && (entry = readdir(dir))) {
		char function[RAS_DEV_SIZE];
		char driver[RAS_NAME_SIZE] = "";
		char why[224];

		if (strncmp(entry->d_name, "virtfn", 6) != 0)
			continue;
		if (sysfs_link(bus, dev, entry->d_name, function, sizeof(function)) < 0) {
			snprintf(text, size, "cannot tell what its %.32s is", entry->d_name);
			used = true;
			continue;
		}
		(void)sysfs_link(bus, function, "driver", driver, sizeof(driver));
		used = check_one(mask, bus, function, driver, why, sizeof(why));
		if (used)
			snprintf(text, size, "of its virtual function %s: %s", function, why);
	}
	closedir(dir);
	return used;
}

bool protect_check(unsigned int mask, const char *bus, const char *dev, const char *driver,
		   char *text, size_t size)
{
	text[0] = '\0';
	if (mask == 0)
		return false;
	return check_one(mask, bus, dev, driver, text, size) ||
	       check_functions(mask, bus, dev, text, size);
}
