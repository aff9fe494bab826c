// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "host.h"
#include "protect-find.h"

/* A machine full of containers has some megabytes of it. */
#define MOUNTINFO_MAX (256U * 1024 * 1024)

uint64_t device_number(const char *text)
{
	unsigned int major;
	unsigned int minor;
	int end = 0;

	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(text, "%u:%u%n", &major, &minor, &end) != 2 || text[end] != '\0')
		return UINT64_MAX;
	return (uint64_t)major << 32 | minor;
}

void octal_unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		bool escaped = s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
			       s[2] <= '7' && s[3] >= '0' && s[3] <= '7';

		*to = escaped ? (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0')) : *s;
		s += escaped ? 4 : 1;
	}
	*to = '\0';
}

/*
 * proc(5): "36 35 98:0 /root /mount/point options [field...] - type source options". Only blanks
 * part the fields; other white space stands as it is in the name of a directory.
 */
static bool parse_mount(char *line, struct mount *ret)
{
	unsigned int field = 0;
	unsigned int dash = 0;
	char *word;

	*ret = (struct mount){.number = UINT64_MAX};
	for (; (word = strsep(&line, " ")); field++) {
		if (field == 2)
			ret->number = device_number(word);
		else if (field == 4)
			ret->target = word;
		else if (field > 5 && !dash && streq(word, "-"))
			dash = field;
		else if (dash && field == dash + 1)
			ret->type = word;
		else if (dash && field == dash + 2)
			ret->source = word;
		else if (dash && field == dash + 3)
			ret->options = word;
	}
	if (!ret->source)
		return false;
	octal_unescape(ret->target);
	octal_unescape(ret->source);
	return true;
}

int mounts_read(struct mounts *m)
{
	char path[SYSFS_PATH_SIZE];
	_cleanup_close_ int fd = -1;
	size_t lines = 1;
	char *rest;
	char *line;
	int r;

	*m = (struct mounts){0};
	snprintf(path, sizeof(path), "%s/self/mountinfo", host_dir(HOST_PROC));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_all(fd, MOUNTINFO_MAX, &m->text, NULL);
	if (r < 0)
		return r;
	for (const char *s = m->text; (s = strchr(s, '\n')); s++)
		lines++;
	m->all = calloc(lines, sizeof(*m->all));
	if (!m->all)
		return -ENOMEM;
	rest = m->text;
	while ((line = strsep(&rest, "\n")))
		if (parse_mount(line, &m->all[m->n]))
			m->n++;
	return 0;
}

void mounts_free(struct mounts *m)
{
	free(m->all);
	free(m->text);
	*m = (struct mounts){0};
}

const struct mount *mounts_find(const struct mounts *m, const char *path)
{
	const struct mount *best = NULL;
	size_t best_length = 0;

	if (path[0] != '/')
		return NULL;
	for (size_t i = 0; i < m->n; i++) {
		const char *target = m->all[i].target;
		size_t length = strlen(target);

		/* "/" is the one that ends in a slash. */
		if (length == 1)
			length = 0;
		if (strncmp(path, target, length) != 0 || (path[length] != '/' && path[length]))
			continue;
		/* What was mounted later covers what was there before. */
		if (!best || length >= best_length) {
			best = &m->all[i];
			best_length = length;
		}
	}
	return best;
}
