// SPDX-License-Identifier: GPL-2.0-or-later
#include "name-set.h"

#include <errno.h>

int name_set_add(struct name_set *set, const char *name)
{
	size_t h = 5381;

	for (const char *s = name; *s; s++)
		h = h * 33 ^ (unsigned char)*s;
	/* It is never more than half full, so there is an end. */
	for (h %= ARRAY_SIZE(set->slots); set->slots[h] != 0; h = (h + 1) % ARRAY_SIZE(set->slots))
		if (streq(set->names[set->slots[h] - 1], name))
			return set->slots[h] - 1;
	if (set->n == NAME_SET_MAX)
		return -ENOSPC;
	str_copy(set->names[set->n], sizeof(set->names[0]), name);
	set->slots[h] = (uint16_t)++set->n;
	return (int)set->n - 1;
}

void name_set_clear(struct name_set *set)
{
	set->n = 0;
	memset(set->slots, 0, sizeof(set->slots));
}
