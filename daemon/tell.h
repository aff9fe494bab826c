/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told to journald, systemd and stderr, and never waits for any of them: the disk that
 * journald hangs on may be the very one that is to be recovered.
 */
#ifndef SMMU_RAS_TELL_H
#define SMMU_RAS_TELL_H

#include <sys/uio.h>

#include "util.h"

/* Two parts each, four for one with a newline; sendmsg(2) takes 1024 (UIO_MAXIOV). */
#define TELL_FIELDS_MAX 300

/*
 * Sends one record of @n fields "NAME=value" to the journal's socket @path, in its native protocol
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). Returns 0, -EAGAIN when nobody reads there, or
 * another -errno.
 */
int tell_journal(const char *path, const struct iovec *fields, int n);

/* As sd_notify(3), but returns -EAGAIN instead of waiting. 0 also when there is nobody to tell. */
int tell_systemd(const char *format, ...) _printf_(1, 2);

/* Writes a line to stderr. Returns 0, or -EAGAIN when it would have to wait; -errno. */
int tell_stderr(const char *line);

#endif
