// SPDX-License-Identifier: GPL-2.0-or-later
/* Filesystems and swap on disks, whatever is stacked in between. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "host.h"
#include "protect-find.h"

/* Filesystems of several disks that are looked at, of which no machine has as many. */
#define POOLS_MAX 1024

struct block_search {
	struct objects block; /* /sys/class/block, marked what depends on the device */
	struct mounts mounts; /* with which files are found, and people's names */
	struct findings *findings;
	uint64_t *numbers; /* of what is marked, in its order */
	bool *told;	   /* likewise: its filesystem has been named */
	size_t n_numbers;
	char pools[POOLS_MAX][RAS_NAME_SIZE]; /* btrfs that have a disk among what is marked */
	bool pool_told[POOLS_MAX];
	size_t n_pools;
};

/* The device that is called "/dev/sda1" or "/dev/mapper/vg-root"; NULL when that is none. */
static struct object *block_of_name(const struct block_search *b, const char *name)
{
	char plain[RAS_NAME_SIZE];

	if (strncmp(name, "/dev/", 5) != 0)
		return NULL;
	if (strncmp(name, "/dev/mapper/", 12) == 0) {
		for (size_t i = 0; i < b->block.n; i++) {
			struct object *object = &b->block.all[i];
			char mapper[128];

			if (strncmp(object->name, "dm-", 3) == 0 &&
			    sys_line(object->path, "dm/name", mapper, sizeof(mapper)) >= 0 &&
			    streq(mapper, name + 12))
				return object;
		}
		return NULL;
	}
	if (!str_copy(plain, sizeof(plain), name + 5))
		return NULL;
	/* "cciss/c0d0" is a directory with a file in /dev, and one file in /sys. */
	for (char *s = plain; (s = strchr(s, '/'));)
		*s = '!';
	return objects_find(&b->block, plain);
}

static size_t numbered(const struct block_search *b, uint64_t number)
{
	if (number != UINT64_MAX)
		for (size_t i = 0; i < b->n_numbers; i++)
			if (b->numbers[i] == number)
				return i;
	return SIZE_MAX;
}

static bool pool_has(const char *pool, const char *disk)
{
	char path[SYSFS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/fs/btrfs/%s/devices/%s", host_dir(HOST_SYS), pool, disk);
	/* A link to the disk, which may have gone already. */
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/*
 * Filesystems whose device numbers are their own, so that only the name of the source tells where
 * they are. Of all others it tells nothing: who mounts with FUSE writes there what he likes.
 * Returns a device that the filesystem is on and that is marked, or that shares a pool with one
 * that is, and which pool (SIZE_MAX: none known); or NULL.
 */
static const struct object *anonymous_mount(const struct block_search *b, const struct mount *mount,
					    size_t *pool)
{
	_cleanup_free_ char *copy = NULL;
	const struct object *object = NULL;

	*pool = SIZE_MAX;
	if (!streq(mount->type, "btrfs") && !streq(mount->type, "bcachefs"))
		return NULL;
	copy = strdup(mount->source);
	/* bcachefs names all its disks: "/dev/sda:/dev/sdb". */
	for (char *part = copy; part;) {
		char *colon = strstr(part, ":/dev/");

		if (colon)
			*colon++ = '\0';
		object = block_of_name(b, part);
		for (size_t i = 0; object && i < b->n_pools && *pool == SIZE_MAX; i++)
			if (pool_has(b->pools[i], object->name))
				*pool = i;
		if (object && (object->marked || *pool != SIZE_MAX))
			return object;
		part = colon;
	}
	return NULL;
}

/*
 * The marked device that has the log of an xfs, or its real-time files, which show in its options
 * only (xfs(5)); or NULL.
 */
static const struct object *xfs_part(const struct block_search *b, const struct mount *mount)
{
	static const char *const names[] = {"logdev=", "rtdev="};

	if (!streq(mount->type, "xfs") || !mount->options)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *option = mount->options;
		const struct object *object;
		char name[PATH_MAX];

		while ((option = strstr(option, names[i])) && option > mount->options &&
		       option[-1] != ',')
			option++;
		if (!option)
			continue;
		option += strlen(names[i]);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(option, ","), option);
		octal_unescape(name);
		object = block_of_name(b, name);
		if (object && object->marked)
			return object;
	}
	return NULL;
}

/* The marked device that a filesystem is on, or NULL. */
static const struct object *mounted_from(const struct block_search *b, const struct mount *mount)
{
	size_t i = numbered(b, mount->number);
	size_t pool;

	if (i != SIZE_MAX)
		return b->block.marked[i];
	if (xfs_part(b, mount))
		return xfs_part(b, mount);
	return mount->number >> 32 == 0 ? anonymous_mount(b, mount, &pool) : NULL;
}

/* Is the file or device called @name on what is marked? */
static bool depends(const struct block_search *b, const char *name)
{
	const struct object *object = block_of_name(b, name);
	const struct mount *mount;

	if (object)
		return object->marked;
	mount = mounts_find(&b->mounts, name);
	return mount && mounted_from(b, mount);
}

/*
 * A namespace of a multipath NVMe disk, nvme0c1n1, is one path to nvme0n1. That one lives
 * elsewhere in sysfs, and is what people mount.
 */
static void mark_nvme_head(struct block_search *b, const char *name)
{
	unsigned int controller;
	unsigned int path;
	unsigned int namespace;
	char head[RAS_NAME_SIZE];
	int end = 0;

	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(name, "nvme%uc%un%u%n", &controller, &path, &namespace, &end) != 3 ||
	    name[end] != '\0')
		return;
	snprintf(head, sizeof(head), "nvme%un%u", controller, namespace);
	objects_mark(&b->block, head);
}

/* Partitions, holders (device-mapper, md, bcache, drbd), and theirs. Returns 0 or -errno. */
static int mark_stacked(struct block_search *b)
{
	/* The list grows while it is walked. */
	for (; b->n_numbers < b->block.n_marked; b->n_numbers++) {
		const struct object *object = b->block.marked[b->n_numbers];
		char number[32];
		int r;

		(void)sys_line(object->path, "dev", number, sizeof(number));
		b->numbers[b->n_numbers] = device_number(number);
		mark_nvme_head(b, object->name);
		r = objects_mark_entries(&b->block, object, "", "");
		if (r >= 0)
			r = objects_mark_entries(&b->block, object, "holders", "");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Loop devices and zram say by name what they are on. Returns whether one was marked. */
static bool mark_backed(struct block_search *b)
{
	static const char *const attributes[] = {"loop/backing_file", "backing_dev"};
	size_t before = b->block.n_marked;

	for (size_t i = 0; i < b->block.n; i++) {
		struct object *object = &b->block.all[i];
		bool loop = strncmp(object->name, "loop", 4) == 0;
		char backing[PATH_MAX];

		if (object->marked || (!loop && strncmp(object->name, "zram", 4) != 0) ||
		    sys_line(object->path, attributes[loop ? 0 : 1], backing, sizeof(backing)) < 0)
			continue;
		if (depends(b, backing))
			objects_mark(&b->block, object->name);
	}
	return b->block.n_marked > before;
}

/* A btrfs shows its disks in sysfs for as long as it is mounted, wherever that is. */
static int find_pools(struct block_search *b)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	b->n_pools = 0;
	snprintf(path, sizeof(path), "%s/fs/btrfs", host_dir(HOST_SYS));
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)) && b->n_pools < POOLS_MAX) {
		if (entry->d_name[0] == '.' ||
		    !str_copy(b->pools[b->n_pools], RAS_NAME_SIZE, entry->d_name))
			continue;
		for (size_t i = 0; i < b->block.n_marked; i++) {
			if (pool_has(entry->d_name, b->block.marked[i]->name)) {
				b->n_pools++;
				break;
			}
		}
	}
	closedir(dir);
	return entry ? -E2BIG : 0;
}

/* Everything that the disks on @roots carry. Returns 0 or -errno. */
static int mark_all(struct block_search *b, const struct sys_paths *roots)
{
	int r;

	objects_mark_below(&b->block, roots);
	if (b->block.n_marked == 0)
		return 0;
	b->numbers = calloc(b->block.n, sizeof(*b->numbers));
	b->told = calloc(b->block.n, sizeof(*b->told));
	if (!b->numbers || !b->told)
		return -ENOMEM;
	do {
		r = mark_stacked(b);
		if (r >= 0)
			r = find_pools(b);
	} while (r >= 0 && mark_backed(b));
	return r;
}

static void find_mounts(struct block_search *b)
{
	for (size_t m = 0; m < b->mounts.n; m++) {
		const struct mount *mount = &b->mounts.all[m];
		size_t i = numbered(b, mount->number);
		size_t pool = SIZE_MAX;
		const struct object *object = NULL;
		char target[81];

		if (i != SIZE_MAX) {
			/* One filesystem may be mounted in a hundred places. */
			if (!b->told[i])
				object = b->block.marked[i];
			b->told[i] = true;
		} else if (xfs_part(b, mount)) {
			object = xfs_part(b, mount);
		} else if (mount->number >> 32 == 0) {
			object = anonymous_mount(b, mount, &pool);
			if (pool != SIZE_MAX && b->pool_told[pool])
				object = NULL;
			if (pool != SIZE_MAX)
				b->pool_told[pool] = true;
		}
		if (object)
			found(b->findings, "filesystem %s (%s)",
			      str_visible(target, sizeof(target), mount->target), object->name);
	}
}

/* What is mounted, but not in our mount namespace, and what was unmounted lazily. */
static void find_other_mounts(struct block_search *b)
{
	static const char *const types[] = {"ext4", "xfs", "f2fs", "nilfs2", "erofs"};

	for (size_t i = 0; i < b->block.n_marked; i++) {
		const char *name = b->block.marked[i]->name;

		for (size_t t = 0; !b->told[i] && t < ARRAY_SIZE(types); t++) {
			char path[SYSFS_PATH_SIZE];

			snprintf(path, sizeof(path), "%s/fs/%s/%s", host_dir(HOST_SYS), types[t],
				 name);
			if (access(path, F_OK) < 0)
				continue;
			b->told[i] = true;
			found(b->findings, "%s on %s, mounted in another namespace", types[t],
			      name);
		}
	}
	for (size_t i = 0; i < b->n_pools; i++)
		if (!b->pool_told[i])
			found(b->findings, "btrfs %.36s, mounted in another namespace",
			      b->pools[i]);
}

/*
 * ZFS mounts by names of its own, and does not say which disks it holds; udev does, and the kernel
 * which pools are imported.
 */
static void find_zfs(struct block_search *b)
{
	for (size_t i = 0; i < b->block.n_marked; i++) {
		char path[SYSFS_PATH_SIZE];
		char line[512];
		char label[256] = "";
		bool member = false;
		_cleanup_fclose_ FILE *f = NULL;

		if (b->numbers[i] == UINT64_MAX)
			continue;
		snprintf(path, sizeof(path), "%s/b%u:%u", host_dir(HOST_UDEV),
			 (unsigned int)(b->numbers[i] >> 32), (unsigned int)b->numbers[i]);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f)) {
			str_chomp(line);
			if (streq(line, "E:ID_FS_TYPE=zfs_member"))
				member = true;
			if (strncmp(line, "E:ID_FS_LABEL=", 14) == 0)
				str_copy(label, sizeof(label), line + 14);
		}
		if (!member || label[0] == '\0' || strchr(label, '/'))
			continue;
		snprintf(path, sizeof(path), "%s/spl/kstat/zfs/%s", host_dir(HOST_PROC), label);
		if (access(path, F_OK) == 0)
			found(b->findings, "ZFS pool %s (%s)", VISIBLE(label),
			      b->block.marked[i]->name);
	}
}

static void find_swap(struct block_search *b)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[SYSFS_PATH_SIZE];
	char line[PATH_MAX + 256];

	snprintf(path, sizeof(path), "%s/swaps", host_dir(HOST_PROC));
	f = fopen(path, "re");
	/* A kernel without swap has no such file. */
	if (!f && errno != ENOENT)
		found(b->findings, "perhaps swap (cannot read %s: %m)", path);
	while (f && fgets(line, sizeof(line), f)) {
		char name[81];

		line[strcspn(line, " \t\n")] = '\0';
		octal_unescape(line);
		if (depends(b, line))
			found(b->findings, "swap %s", str_visible(name, sizeof(name), line));
	}
}

static void search_free(struct block_search *b)
{
	objects_free(&b->block);
	mounts_free(&b->mounts);
	free(b->numbers);
	free(b->told);
	free(b);
}

void find_block_users(unsigned int mask, const struct sys_paths *roots, struct findings *f)
{
	struct block_search *b = calloc(1, sizeof(*b));
	int r = b ? objects_read(&b->block, "class/block") : -ENOMEM;
	int mounts;

	if (r >= 0) {
		b->findings = f;
		mounts = mounts_read(&b->mounts);
		r = mark_all(b, roots);
		/* Without disks nothing is mounted from them. */
		if (r >= 0 && b->block.n_marked > 0)
			r = mounts;
	}
	if (r < 0) {
		found(f, "perhaps disks (cannot tell what is on them: %s)", strerror(-r));
	} else if (b->block.n_marked > 0) {
		if (mask & PROTECT_MOUNTED) {
			find_mounts(b);
			find_other_mounts(b);
			find_zfs(b);
		}
		if (mask & PROTECT_SWAP)
			find_swap(b);
	}
	if (b)
		search_free(b);
}
