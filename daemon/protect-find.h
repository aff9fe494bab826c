/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The insides of protect.c: objects of the kernel that depend on each other, and what was found. */
#ifndef SMMU_RAS_PROTECT_FIND_H
#define SMMU_RAS_PROTECT_FIND_H

#include <limits.h>

#include "policy.h"
#include "sysfs.h"

/* What would be lost, in words. Names the first few, and counts the rest. */
struct findings {
	char *text;
	size_t size;
	size_t used;
	unsigned int named;
	unsigned int more;
};

void found(struct findings *f, const char *format, ...) _printf_(2, 3);

static inline bool found_any(const struct findings *f)
{
	return f->named + f->more > 0;
}

/* Devices, by where they are below /sys: "devices/pci0000:00/0000:00:01.0/0000:01:00.0". */
struct sys_paths {
	char (*paths)[SYSFS_PATH_SIZE];
	size_t n;
};

/* One object of a class or bus. What depends on the device in question is marked. */
struct object {
	char name[RAS_NAME_SIZE];
	char *path; /* below /sys, as above */
	bool marked;
};

struct objects {
	struct object *all; /* sorted by name */
	size_t n;
	struct object *
		*marked; /* in the order in which they were marked; grows while it is walked */
	size_t n_marked;
};

/*
 * Lists the links in @dir, "class/block" or "bus/pci/devices". Without such a directory there are
 * none. Returns 0 or -errno; free it in either case.
 */
int objects_read(struct objects *o, const char *dir);
void objects_free(struct objects *o);
#define _cleanup_objects_ _cleanup_(objects_free)

/* NULL when there is none. */
struct object *objects_find(const struct objects *o, const char *name);
/* Marks it, if there is such an object. */
void objects_mark(struct objects *o, const char *name);
/* Marks all that are, or are below, one of @roots. */
void objects_mark_below(struct objects *o, const struct sys_paths *roots);
/*
 * Marks what the entries of directory @sub ("" for itself) of @object are called that begin with
 * @prefix, which is no part of the name. Returns 0, also when there is no such directory, or
 * -errno.
 */
int objects_mark_entries(struct objects *o, const struct object *object, const char *sub,
			 const char *prefix);

/* Where the link /sys/@link leads to, as in struct sys_paths. Returns 0 or -errno. */
int sys_path(const char *link, char buf[static SYSFS_PATH_SIZE]);
/* The first line of /sys/@path/@attr. Returns 0, or -errno with "" in @buf. */
int sys_line(const char *path, const char *attr, char *buf, size_t size);
/* The last component of the link /sys/@path/@link. Returns 0, or -errno with "" in @buf. */
int sys_link(const char *path, const char *link, char *buf, size_t size);

/* Each adds to @f what it finds on @roots; also that something cannot be told. */
void find_block_users(unsigned int mask, const struct sys_paths *roots, struct findings *f);
void find_default_routes(const struct sys_paths *roots, struct findings *f);
void find_vfio_users(const char *bus, const struct sys_paths *roots, struct findings *f);

/* Interfaces with a default route. */
#define ROUTES_MAX 256
struct routes {
	uint32_t interfaces[ROUTES_MAX]; /* ifindex */
	size_t n;
};

/*
 * Takes the default routes out of a datagram of rtnetlink(7), the answer to RTM_GETROUTE; for
 * host_route_dump(). Returns 0 for more to come, 1 at the end, -EINTR when the table has changed
 * meanwhile, -E2BIG for too many, or another -errno from the kernel.
 */
int routes_parse(const void *data, size_t size, void *routes);

/* What the kernel knows as mounted: a line of proc(5) mountinfo. */
struct mount {
	uint64_t number; /* as device_number() */
	char *target;	 /* as people write it */
	const char *type;
	char *source;
	char *options; /* of the filesystem: "rw,logdev=/dev/sda2" */
};

struct mounts {
	char *text;
	struct mount *all;
	size_t n;
};

/* Reads what is mounted in our mount namespace. Returns 0 or -errno; free it in either case. */
int mounts_read(struct mounts *m);
void mounts_free(struct mounts *m);
#define _cleanup_mounts_ _cleanup_(mounts_free)

/* The mount that a file is on, from its name alone; NULL for a name that is not absolute. */
const struct mount *mounts_find(const struct mounts *m, const char *path);

/* A number for "259:1". Returns UINT64_MAX, which no device has, for anything else. */
uint64_t device_number(const char *text);

/* Undoes what proc does to blanks and the like: "\040". In place. */
void octal_unescape(char *s);

#endif
