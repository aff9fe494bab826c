// SPDX-License-Identifier: GPL-2.0-or-later
#include "title.h"

#include <sys/prctl.h>

#include "util.h"

static char *line;
static size_t size;

void title_init(int argc, char **argv)
{
	char *end = argc > 0 ? argv[0] : NULL;

	line = end;
	/* The kernel puts them one behind the other. */
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	size = (size_t)(end - line);
}

void title_set(const char *name, const char *title)
{
	prctl(PR_SET_NAME, name);
	if (size == 0)
		return;
	memset(line, 0, size);
	str_copy(line, size, title);
}
