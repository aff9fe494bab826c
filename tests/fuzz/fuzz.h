/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share. A target is LLVMFuzzerTestOneInput() in a file of its own; besides
 * what the sanitizers find, it insists on what the parser promises, so that a wrong answer is found
 * as well as a crash.
 */
#ifndef SMMU_RAS_FUZZ_H
#define SMMU_RAS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_INSIST(condition)                                                                     \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__,         \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The input as a string of exactly its size, so that reading behind its end is seen. Freed by the
 * caller. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* A path below the target's own machine, a directory in memory that fuzz-host.c makes; static
 * storage. */
const char *fuzz_path(const char *name);

/* Writes a file of that machine. */
void fuzz_file(const char *name, const void *data, size_t size);

#endif
