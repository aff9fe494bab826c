/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a file root's alone? What the daemon runs as root must not be for others to change. */
#ifndef SMMU_RAS_TRUSTED_H
#define SMMU_RAS_TRUSTED_H

#include "util.h"

/*
 * Looks at the program @path, at every directory above it, and the same of every symbolic link on
 * the way: each has to belong to root (or to who runs us), and nobody else may write to it. A
 * directory where everybody may write is refused with its sticky bit as well. So nobody but root
 * can change what @path leads to between this check and execve(2). Returns 0, or -errno with a
 * sentence in @text: -EPERM when others may change it, -EACCES when it is no regular file or cannot
 * be executed, -ENOENT and others when it cannot be looked at.
 */
int trusted_program(const char *path, char *text, size_t size);

#endif
