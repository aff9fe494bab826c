/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded set of device names; each has a number, in the order in which they came. */
#ifndef SMMU_RAS_NAME_SET_H
#define SMMU_RAS_NAME_SET_H

#include "kernel-msg.h"

#define NAME_SET_MAX 256

struct name_set {
	char names[NAME_SET_MAX][RAS_DEV_SIZE];
	size_t n;
	uint16_t slots[2 * NAME_SET_MAX]; /* index into names, plus one; 0: empty */
};

/* The number of @name, which is added if there is room for it. Returns -ENOSPC if there is not. */
int name_set_add(struct name_set *set, const char *name);

void name_set_clear(struct name_set *set);

#endif
