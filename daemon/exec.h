/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a program of the policy: for a step, a hook, or the last resort. For workers: it waits. */
#ifndef SMMU_RAS_EXEC_H
#define SMMU_RAS_EXEC_H

#include "policy.h"

/* What is kept of a program's output; the rest is read and dropped. */
#define EXEC_LINES_MAX 64
#define EXEC_LINE_SIZE 240

struct exec {
	const struct command *command;
	char *const *environment; /* all of it; ends with NULL */
	uint64_t timeout;	  /* us; then it is killed, with its process group */
	/* A line of what it writes to its standard output or error; may be NULL. */
	void (*output)(const char *line, void *userdata);
	void *userdata;
};

/*
 * Runs it with standard input from /dev/null, in /, with default signals, in a process group of its
 * own that is killed as a whole at its end and when the caller dies. The program is looked at once
 * more before (trusted.h).
 * Returns 0 when it exits with 0; otherwise a negative errno and a sentence in @text: -ETIMEDOUT,
 * -EPERM when others could change it, -EREMOTEIO when it fails, and what execve(2) returns.
 */
int exec_run(const struct exec *exec, char *text, size_t size);

#endif
