/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things that every file needs: clean-up attributes, strings, time. */
#ifndef SMMU_RAS_UTIL_H
#define SMMU_RAS_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)	 __attribute__((cleanup(f)))
#define _cleanup_free_	 _cleanup_(freep)
#define _cleanup_close_	 _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _printf_(a, b)	 __attribute__((format(printf, a, b)))
#define _unused_	 __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define USEC_PER_SEC  UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define NSEC_PER_USEC UINT64_C(1000)
/* "Never", or "not set", for a time in microseconds. */
#define USEC_INFINITY UINT64_MAX

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* strcmp() for strings that may be NULL; NULL equals only NULL. */
static inline bool streq_ptr(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/*
 * Copies @src into @dst of @size bytes and ends it with a NUL.
 * Returns false when it did not fit; @dst then holds the beginning.
 */
bool str_copy(char *dst, size_t size, const char *src);

/*
 * Copies @src to @dst so that a terminal can do nothing but show it: bytes of control characters
 * and those that are not UTF-8 become \\xNN. Cuts between characters what does not fit in @size.
 * Returns @dst.
 */
const char *str_visible(char *dst, size_t size, const char *src);
/* The same in storage of its own, valid to the end of the block. */
#define VISIBLE(s) str_visible((char[512]){0}, 512, (s))

/* Takes trailing blanks and newlines off @s, in place. Returns @s. */
char *str_chomp(char *s);

/* Text that is put together piece by piece; .buf has to end somewhere before the first. */
struct text {
	char *buf;
	size_t size;
	size_t used; /* @size or more once something did not fit */
};
/* Adds to what is there; what does not fit is cut off. */
void text_add(struct text *t, const char *format, ...) _printf_(2, 3);

/*
 * A 64-bit FNV-1a hash over @size bytes, going on from @hash; HASH_INIT to begin. It tells what is
 * another one from what is the same, and keeps nobody from making two that look the same.
 */
#define HASH_INIT UINT64_C(0xcbf29ce484222325)
uint64_t hash_bytes(uint64_t hash, const void *data, size_t size);

/* A clock's time in microseconds; @clock as for clock_gettime(2). */
uint64_t now_usec(int clock);

/*
 * Writes @usec the way people say it ("1.5s", "230ms", "2min 5s") to @buf. Returns @buf.
 */
const char *format_usec(char *buf, size_t size, uint64_t usec);
#define USEC_TEXT(usec) format_usec((char[48]){0}, 48, (usec))

/*
 * Reads a time span such as "30s", "1min 30s" or "250ms" (units: us, ms, s, min, h, d).
 * Returns 0 and microseconds in @ret, -EINVAL when it is none, -ERANGE when it is too long.
 */
int parse_usec(const char *s, uint64_t *ret);

/*
 * Reads all of an open file, at most @max bytes. Returns 0 with NUL-terminated text that the
 * caller frees, its length in @ret_len (may be NULL); -EFBIG when it is longer; -errno of read(2).
 */
int read_all(int fd, size_t max, char **ret, size_t *ret_len);

/*
 * Writes @text to the file @path, made with @mode, in place of what it held; it is on disk when
 * this returns 0. -errno otherwise: the file may then hold anything, so rename(2) one that is good.
 */
int write_file(const char *path, const char *text, unsigned int mode);

/*
 * The same in one stroke, by way of the file "PATH.new": @path holds either what it held or all of
 * @text, whenever this is cut off. Returns 0, or -errno with @path as it was.
 */
int replace_file(const char *path, const char *text, unsigned int mode);

/* Closes all descriptors above 2 but @fd, which is above 2 as 0 to 2 are always open here. */
void close_all_but(int fd);

#endif
