// SPDX-License-Identifier: GPL-2.0-or-later
#include "protect-find.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>

#include "host.h"

/* Far more than any machine has; a bound all the same. */
#define OBJECTS_MAX 262144

/* How many things are named before the others are only counted. */
#define NAMED_MAX 4
/* Room for ", and 4294967295 more". */
#define MORE_SIZE 24

void found(struct findings *f, const char *format, ...)
{
	char item[160];
	va_list ap;

	va_start(ap, format);
	vsnprintf(item, sizeof(item), format, ap);
	va_end(ap);
	/* The end is written again each time, over the last one. */
	if (f->more == 0 && f->named < NAMED_MAX &&
	    f->used + strlen(item) + 2 + MORE_SIZE < f->size) {
		f->used += (size_t)snprintf(f->text + f->used, f->size - f->used, "%s%s",
					    f->named ? ", " : "", item);
		f->named++;
		return;
	}
	f->more++;
	snprintf(f->text + f->used, f->size - f->used, "%s%u more", f->named ? ", and " : "",
		 f->more);
}

int sys_path(const char *link, char buf[static SYSFS_PATH_SIZE])
{
	char path[SYSFS_PATH_SIZE];
	char target[SYSFS_PATH_SIZE];
	const char *s = target;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", host_dir(HOST_SYS), link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	/* All links of sysfs are relative and lead up to /sys first. */
	while (strncmp(s, "../", 3) == 0)
		s += 3;
	return str_copy(buf, SYSFS_PATH_SIZE, s) ? 0 : -ENAMETOOLONG;
}

int sys_line(const char *path, const char *attr, char *buf, size_t size)
{
	char full[SYSFS_PATH_SIZE + 64];
	int r;

	snprintf(full, sizeof(full), "%s/%s/%s", host_dir(HOST_SYS), path, attr);
	r = sysfs_read_path(full, buf, size);
	buf[strcspn(buf, "\n")] = '\0';
	str_chomp(buf);
	return r;
}

int sys_link(const char *path, const char *link, char *buf, size_t size)
{
	char full[SYSFS_PATH_SIZE + 64];
	char target[SYSFS_PATH_SIZE];
	const char *name;
	int r;

	buf[0] = '\0';
	snprintf(full, sizeof(full), "%s/%s", path, link);
	r = sys_path(full, target);
	if (r < 0)
		return r;
	name = strrchr(target, '/');
	return str_copy(buf, size, name ? name + 1 : target) ? 0 : -ENAMETOOLONG;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct object *)a)->name, ((const struct object *)b)->name);
}

static int add_object(struct objects *o, size_t *room, const char *dir, const char *name)
{
	char link[SYSFS_PATH_SIZE];
	char path[SYSFS_PATH_SIZE];
	struct object *object;
	int r;

	snprintf(link, sizeof(link), "%s/%s", dir, name);
	r = sys_path(link, path);
	/* /sys/class/net/bonding_masters is none; others have gone meanwhile. */
	if (r == -EINVAL || r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (o->n == OBJECTS_MAX)
		return -E2BIG;
	if (o->n == *room) {
		size_t more = *room ? *room * 2 : 64;
		void *grown = realloc(o->all, more * sizeof(*o->all));

		if (!grown)
			return -ENOMEM;
		o->all = grown;
		*room = more;
	}
	object = &o->all[o->n];
	*object = (struct object){.path = strdup(path)};
	if (!object->path)
		return -ENOMEM;
	o->n++;
	return str_copy(object->name, sizeof(object->name), name) ? 0 : -ENAMETOOLONG;
}

int objects_read(struct objects *o, const char *dir)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	size_t room = 0;
	int r = 0;
	DIR *d;

	*o = (struct objects){0};
	snprintf(path, sizeof(path), "%s/%s", host_dir(HOST_SYS), dir);
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (r >= 0 && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			r = add_object(o, &room, dir, entry->d_name);
	closedir(d);
	if (r < 0 || o->n == 0)
		return r;
	qsort(o->all, o->n, sizeof(*o->all), compare);
	o->marked = calloc(o->n, sizeof(struct object *));
	return o->marked ? 0 : -ENOMEM;
}

void objects_free(struct objects *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->all[i].path);
	free(o->all);
	free(o->marked);
	*o = (struct objects){0};
}

struct object *objects_find(const struct objects *o, const char *name)
{
	struct object key = {0};

	if (o->n == 0 || !str_copy(key.name, sizeof(key.name), name))
		return NULL;
	return bsearch(&key, o->all, o->n, sizeof(*o->all), compare);
}

static void mark(struct objects *o, struct object *object)
{
	/* Each once, so that circles end. */
	if (!object || object->marked)
		return;
	object->marked = true;
	o->marked[o->n_marked++] = object;
}

void objects_mark(struct objects *o, const char *name)
{
	mark(o, objects_find(o, name));
}

void objects_mark_below(struct objects *o, const struct sys_paths *roots)
{
	for (size_t r = 0; r < roots->n; r++) {
		size_t length = strlen(roots->paths[r]);

		for (size_t i = 0; i < o->n; i++) {
			const char *path = o->all[i].path;

			if (strncmp(path, roots->paths[r], length) == 0 &&
			    (path[length] == '/' || path[length] == '\0'))
				mark(o, &o->all[i]);
		}
	}
}

int objects_mark_entries(struct objects *o, const struct object *object, const char *sub,
			 const char *prefix)
{
	char path[SYSFS_PATH_SIZE + 64];
	size_t length = strlen(prefix);
	struct dirent *entry;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s%s%s", host_dir(HOST_SYS), object->path,
		 sub[0] ? "/" : "", sub);
	d = opendir(path);
	/* It may have gone in this moment. */
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, length) == 0)
			objects_mark(o, entry->d_name + length);
	closedir(d);
	return 0;
}
