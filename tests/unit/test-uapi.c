// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's header that we build against is the one that the series brings. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "util.h"

#define HEADER "include/uapi/linux/iommu_ras.h"

/* Appends the lines that a patch adds to the header, which the series creates once. */
static void added_lines(const char *patch, FILE *out)
{
	FILE *in = fopen(patch, "re");
	char line[512];
	bool ours = false;

	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		if (!strncmp(line, "diff --git ", 11))
			ours = strstr(line, " b/" HEADER "\n");
		else if (ours && line[0] == '+' && strncmp(line, "+++ ", 4) != 0)
			fputs(line + 1, out);
	}
	fclose(in);
}

START_TEST(same_as_in_the_series)
{
	char pattern[512];
	char path[512];
	char copy[16384];
	char *text = NULL;
	size_t size = 0;
	size_t length;
	glob_t found;
	FILE *out = open_memstream(&text, &size);
	FILE *in;
	const char *source = getenv("SMMU_RAS_SOURCE");

	ck_assert_ptr_nonnull(out);
	if (!source)
		source = ".";
	snprintf(pattern, sizeof(pattern), "%s/kernel/patches/7.3/*.patch", source);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		added_lines(found.gl_pathv[i], out);
	globfree(&found);
	fclose(out);

	snprintf(path, sizeof(path), "%s/" HEADER, source);
	in = fopen(path, "re");
	ck_assert_ptr_nonnull(in);
	length = fread(copy, 1, sizeof(copy) - 1, in);
	copy[length] = '\0';
	fclose(in);

	ck_assert_msg(strcmp(copy, text) == 0,
		      HEADER " differs from the one in kernel/patches/7.3: run kernel/export");
	free(text);
}
END_TEST

Suite *uapi_suite(void)
{
	Suite *suite = suite_create("uapi");
	TCase *c = tcase_create("uapi");

	tcase_add_test(c, same_as_in_the_series);
	suite_add_tcase(suite, c);
	return suite;
}
