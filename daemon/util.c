// SPDX-License-Identifier: GPL-2.0-or-later
#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	bool fits = len < size;

	if (!fits)
		len = size - 1;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return fits;
}

/* The length of the character at @s if it is good UTF-8 and no control character, or 0. */
static size_t visible_length(const unsigned char *s)
{
	uint32_t c = s[0];
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (n > 1)
		c &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		/* Also ends at a NUL. */
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	/* Too long a form, a surrogate, or beyond Unicode. */
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	/* C0, DEL and C1; line ends and directions that turn the rest of a line around. */
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
	    (c >= 0x200e && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069))
		return 0;
	return n;
}

const char *str_visible(char *dst, size_t size, const char *src)
{
	size_t used = 0;

	while (*src) {
		size_t n = visible_length((const unsigned char *)src);

		if (used + (n ? n : 4) >= size)
			break;
		if (n) {
			memcpy(dst + used, src, n);
			used += n;
			src += n;
		} else {
			used += (size_t)snprintf(dst + used, size - used, "\\x%02x",
						 (unsigned char)*src++);
		}
	}
	dst[used] = '\0';
	return dst;
}

char *str_chomp(char *s)
{
	size_t len = strlen(s);

	while (len > 0 && isspace((unsigned char)s[len - 1]))
		s[--len] = '\0';
	return s;
}

void text_add(struct text *t, const char *format, ...)
{
	va_list ap;

	if (t->used >= t->size)
		return;
	va_start(ap, format);
	t->used += (size_t)vsnprintf(t->buf + t->used, t->size - t->used, format, ap);
	va_end(ap);
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *s = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ s[i]) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t now_usec(int clock)
{
	struct timespec ts = {0};

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

static const struct {
	const char *name;
	uint64_t usec;
} units[] = {
	{"d", 86400 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC}, {"min", 60 * USEC_PER_SEC},
	{"s", USEC_PER_SEC},	     {"ms", USEC_PER_MSEC},	 {"us", 1},
};

const char *format_usec(char *buf, size_t size, uint64_t usec)
{
	if (usec == USEC_INFINITY)
		snprintf(buf, size, "never");
	else if (usec < USEC_PER_MSEC)
		snprintf(buf, size, "%" PRIu64 "us", usec);
	else if (usec < USEC_PER_SEC)
		snprintf(buf, size, "%" PRIu64 "ms", usec / USEC_PER_MSEC);
	else if (usec < 60 * USEC_PER_SEC && usec % USEC_PER_SEC >= 100 * USEC_PER_MSEC)
		snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "s", usec / USEC_PER_SEC,
			 usec % USEC_PER_SEC / (100 * USEC_PER_MSEC));
	else {
		/* The two largest units say enough. */
		size_t used = 0;
		unsigned int parts = 0;

		buf[0] = '\0';
		for (size_t i = 0; i < 4 && parts < 2; i++) {
			uint64_t n = usec / units[i].usec;

			usec %= units[i].usec;
			if (n == 0 || used >= size)
				continue;
			used += (size_t)snprintf(buf + used, size - used, "%s%" PRIu64 "%s",
						 parts ? " " : "", n, units[i].name);
			parts++;
		}
	}
	return buf;
}

int parse_usec(const char *s, uint64_t *ret)
{
	uint64_t sum = 0;
	bool any = false;

	for (;;) {
		size_t i;
		char *end = NULL;
		unsigned long long n;
		uint64_t part = 0;

		while (*s == ' ')
			s++;
		if (*s == '\0')
			break;
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		errno = 0;
		n = strtoull(s, &end, 10);
		if (errno != 0)
			return -ERANGE;
		s = end;
		while (*s == ' ')
			s++;
		for (i = 0; i < ARRAY_SIZE(units); i++) {
			size_t len = strlen(units[i].name);

			if (strncmp(s, units[i].name, len) == 0 && !isalpha((unsigned char)s[len]))
				break;
		}
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		s += strlen(units[i].name);
		if (__builtin_mul_overflow((uint64_t)n, units[i].usec, &part) ||
		    __builtin_add_overflow(sum, part, &sum) || sum == USEC_INFINITY)
			return -ERANGE;
		any = true;
	}
	if (!any)
		return -EINVAL;
	*ret = sum;
	return 0;
}

int read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t size = 0;
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (len + 1 >= size) {
			char *p;

			size = size ? size * 2 : 4096;
			p = realloc(buf, size);
			if (!p)
				return -ENOMEM;
			buf = p;
		}
		n = read(fd, buf + len, size - len - 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
	}
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = buf;
	buf = NULL;
	return 0;
}

int write_file(const char *path, const char *text, unsigned int mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	/* /run is memory as a rule, and this costs nothing; where it is not, it has to be. */
	return fsync(fd) < 0 ? -errno : 0;
}

int replace_file(const char *path, const char *text, unsigned int mode)
{
	char temporary[512];
	int r;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	r = write_file(temporary, text, mode);
	if (r >= 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

void close_all_but(int fd)
{
	if (fd > 3)
		close_range(3, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0U, 0);
}
