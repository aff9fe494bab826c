// SPDX-License-Identifier: GPL-2.0-or-later
#include "protect.h"

#include <dirent.h>
#include <errno.h>

#include "host.h"
#include "protect-find.h"

static void roots_free(struct sys_paths *roots)
{
	free(roots->paths);
}
#define _cleanup_roots_ _cleanup_(roots_free)

static int add_root(struct sys_paths *roots, const char *bus, const char *dev)
{
	char link[SYSFS_PATH_SIZE];
	void *grown = realloc(roots->paths, (roots->n + 1) * sizeof(*roots->paths));
	int r;

	if (!grown)
		return -ENOMEM;
	roots->paths = grown;
	snprintf(link, sizeof(link), "bus/%s/devices/%s", bus, dev);
	r = sys_path(link, roots->paths[roots->n]);
	if (r >= 0)
		roots->n++;
	return r;
}

/* The driver of the PF takes all its VFs with it, which stand next to it in sysfs, not below. */
static int add_functions(struct sys_paths *roots, const char *bus, const char *dev)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	int r = 0;
	DIR *dir = opendir(sysfs_device_path(path, sizeof(path), bus, dev, ""));

	if (!dir)
		return -errno;
	while (r >= 0 && (entry = readdir(dir))) {
		char function[RAS_DEV_SIZE];

		if (strncmp(entry->d_name, "virtfn", 6) != 0)
			continue;
		r = sysfs_link(bus, dev, entry->d_name, function, sizeof(function));
		if (r >= 0)
			r = add_root(roots, bus, function);
	}
	closedir(dir);
	return r;
}

static bool find_users(unsigned int mask, const char *bus, const struct sys_paths *roots, int error,
		       char *text, size_t size)
{
	struct findings f = {.text = text, .size = size};

	f.used = (size_t)snprintf(text, size, "in use by ");
	if (error < 0) {
		found(&f, "perhaps something (cannot tell what depends on it: %s)",
		      strerror(-error));
		return true;
	}
	if (mask & (PROTECT_MOUNTED | PROTECT_SWAP))
		find_block_users(mask, roots, &f);
	if (mask & PROTECT_DEFAULT_ROUTE)
		find_default_routes(roots, &f);
	if (mask & PROTECT_VFIO)
		find_vfio_users(bus, roots, &f);
	if (!found_any(&f))
		text[0] = '\0';
	return found_any(&f);
}

/* Drivers that keep everything through a reset in place; as the shipped policy has it. */
static bool survives_reset(const char *bus, const char *dev, const char *driver)
{
	char class[16];

	if (streq(driver, "nvme"))
		return true;
	return streq(driver, "virtio-pci") &&
	       sysfs_read(bus, dev, "class", class, sizeof(class)) >= 0 &&
	       strncmp(class, "0x0100", 6) == 0;
}

bool protect_check(unsigned int mask, const char *bus, const char *dev, const char *driver,
		   char *text, size_t size)
{
	_cleanup_roots_ struct sys_paths roots = {0};
	char ignored[64];
	int r;

	text[0] = '\0';
	if (mask == 0)
		return false;
	r = add_root(&roots, bus, dev);
	if (r >= 0)
		r = add_functions(&roots, bus, dev);
	if (!find_users(mask, bus, &roots, r, text, size))
		return false;
	if (r >= 0 && survives_reset(bus, dev, driver) &&
	    !protect_check_reset(mask, bus, dev, ignored, sizeof(ignored))) {
		size_t used = strlen(text);

		snprintf(text + used, size - used, "; steps \"reset\", \"verify\" would keep it");
	}
	return true;
}

bool protect_check_reset(unsigned int mask, const char *bus, const char *dev, char *text,
			 size_t size)
{
	_cleanup_roots_ struct sys_paths roots = {0};
	int r;

	text[0] = '\0';
	if (mask == 0)
		return false;
	r = add_functions(&roots, bus, dev);
	if (r >= 0 && roots.n == 0)
		return false;
	return find_users(mask, bus, &roots, r, text, size);
}
