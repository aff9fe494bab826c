// SPDX-License-Identifier: GPL-2.0-or-later
#include "trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "host.h"

/* As the kernel's MAXSYMLINKS. */
#define LINKS_MAX 40

struct walk {
	int dir;	     /* the directory reached so far, O_PATH */
	char at[PATH_MAX];   /* its path, "" for the root */
	char rest[PATH_MAX]; /* what is still to go */
	unsigned int links;
	char *text;
	size_t size;
};

static int fail(struct walk *w, int r, const char *format, ...) _printf_(3, 4);

static int fail(struct walk *w, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(w->text, w->size, format, ap);
	va_end(ap);
	return r;
}

/* The tests' machine is a directory: what is above it is not part of it. */
static bool above_root(const char *path)
{
	const char *root = host_dir(HOST_ROOT);
	size_t len = strlen(path);

	return len < strlen(root) && strncmp(root, path, len) == 0 && root[len] == '/';
}

static int check(struct walk *w, const struct stat *st, const char *path)
{
	if (above_root(path))
		return 0;
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return fail(w, -EPERM,
			    "%s belongs to user %u, who could make root act through it; "
			    "run: chown root:root %s",
			    path[0] ? path : "/", st->st_uid, path[0] ? path : "/");
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return fail(w, -EPERM,
			    "users other than root may write %s (mode %04o); run: chmod go-w %s, "
			    "or use a place that is root's alone",
			    path[0] ? path : "/", st->st_mode & 07777U, path[0] ? path : "/");
	return 0;
}

/* Begins again at the root. */
static int go_to_root(struct walk *w)
{
	struct stat st;
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return fail(w, -errno, "cannot open /: %s", strerror(errno));
	if (w->dir >= 0)
		close(w->dir);
	w->dir = dir;
	w->at[0] = '\0';
	if (fstat(dir, &st) < 0)
		return fail(w, -errno, "cannot stat /: %s", strerror(errno));
	return check(w, &st, "");
}

/* Takes the first component off .rest. Returns false when there is none. */
static bool next_component(struct walk *w, char *name, size_t size)
{
	size_t skip = strspn(w->rest, "/");
	size_t len = strcspn(w->rest + skip, "/");

	if (len == 0 || len >= size)
		return false;
	memcpy(name, w->rest + skip, len);
	name[len] = '\0';
	memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
	return true;
}

/* Puts the target of a link in front of .rest. */
static int follow(struct walk *w, int fd, const char *path)
{
	char target[PATH_MAX];
	char rest[PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return fail(w, -errno, "cannot read the link %s: %s", path, strerror(errno));
	target[n] = '\0';
	if (++w->links > LINKS_MAX)
		return fail(w, -ELOOP, "%s: too many symbolic links", path);
	memcpy(rest, w->rest, sizeof(rest));
	if (snprintf(w->rest, sizeof(w->rest), "%s%s", target, rest) >= (int)sizeof(w->rest))
		return fail(w, -ENAMETOOLONG, "%s: its path is too long", path);
	return target[0] == '/' ? go_to_root(w) : 0;
}

/* Goes one component further. Returns 1 at the end, 0 before, or -errno. */
static int step(struct walk *w)
{
	char name[NAME_MAX + 1];
	char path[2 * PATH_MAX];
	struct stat st;
	int fd;
	int r;

	if (!next_component(w, name, sizeof(name)))
		return fail(w, w->rest[strspn(w->rest, "/")] ? -ENAMETOOLONG : -EACCES,
			    "%s is not a program", w->at[0] ? w->at : "/");
	if (streq(name, ".."))
		*(strrchr(w->at, '/') ? strrchr(w->at, '/') : w->at) = '\0';
	if (streq(name, ".") || streq(name, ".."))
		snprintf(path, sizeof(path), "%s", w->at);
	else
		snprintf(path, sizeof(path), "%s/%s", w->at, name);
	fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = fail(w, -errno, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	if (S_ISLNK(st.st_mode)) {
		/* Who may write the directory may change it; and that was looked at. */
		r = follow(w, fd, path);
		close(fd);
		return r;
	}
	r = check(w, &st, path);
	if (r >= 0 && !S_ISDIR(st.st_mode)) {
		if (!S_ISREG(st.st_mode) || w->rest[0] != '\0')
			r = fail(w, -EACCES, "%s is not a program", path);
		else if (!(st.st_mode & 0111))
			r = fail(w, -EACCES, "%s cannot be executed; run: chmod +x %s", path, path);
		else
			r = 1;
	}
	if (r == 0 && !str_copy(w->at, sizeof(w->at), path))
		r = fail(w, -ENAMETOOLONG, "%s: its path is too long", path);
	if (r != 0) {
		close(fd);
		return r;
	}
	close(w->dir);
	w->dir = fd;
	return 0;
}

int trusted_program(const char *path, char *text, size_t size)
{
	struct walk w = {.dir = -1, .text = text, .size = size};
	int r;

	text[0] = '\0';
	if (path[0] != '/')
		return fail(&w, -EINVAL, "%s is not an absolute path", path);
	if (!str_copy(w.rest, sizeof(w.rest), path))
		return fail(&w, -ENAMETOOLONG, "the path is too long");
	r = go_to_root(&w);
	while (r == 0)
		r = step(&w);
	if (w.dir >= 0)
		close(w.dir);
	return r > 0 ? 0 : r;
}
