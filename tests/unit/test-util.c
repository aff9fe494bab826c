// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "unit.h"
#include "util.h"

static const struct {
	const char *text;
	int r;
	uint64_t usec;
} spans[] = {
	{"30s", 0, 30000000},
	{"1min 30s", 0, 90000000},
	{"1h", 0, 3600000000},
	{" 250 ms ", 0, 250000},
	{"5us", 0, 5},
	{"2d", 0, 172800000000},
	{"", -EINVAL, 0},
	{"30", -EINVAL, 0},
	{"s", -EINVAL, 0},
	{"30 parsecs", -EINVAL, 0},
	{"3.5s", -EINVAL, 0},
	{"-1s", -EINVAL, 0},
	{"1m", -EINVAL, 0},
	{"99999999999999999999s", -ERANGE, 0},
	{"999999999999999d", -ERANGE, 0},
};

START_TEST(parses_spans)
{
	uint64_t usec = 0;

	ck_assert_int_eq(parse_usec(spans[_i].text, &usec), spans[_i].r);
	if (spans[_i].r == 0)
		ck_assert_uint_eq(usec, spans[_i].usec);
}
END_TEST

static const struct {
	uint64_t usec;
	const char *text;
} formats[] = {
	{0, "0us"},	    {999, "999us"},	    {1500, "1ms"},	   {999999, "999ms"},
	{1000000, "1s"},    {1500000, "1.5s"},	    {60000000, "1min"},	   {90000000, "1min 30s"},
	{3600000000, "1h"}, {90061000000, "1d 1h"}, {UINT64_MAX, "never"},
};

START_TEST(formats_spans)
{
	ck_assert_str_eq(USEC_TEXT(formats[_i].usec), formats[_i].text);
}
END_TEST

START_TEST(copies_strings)
{
	char buf[4];

	ck_assert(str_copy(buf, sizeof(buf), "abc"));
	ck_assert_str_eq(buf, "abc");
	ck_assert(!str_copy(buf, sizeof(buf), "abcd"));
	ck_assert_str_eq(buf, "abc");
	ck_assert_str_eq(str_chomp((char[]){"a b\n \n"}), "a b");
	ck_assert_str_eq(str_chomp((char[]){"\n"}), "");
}
END_TEST

START_TEST(adds_to_text)
{
	char buf[8] = "";
	struct text t = {.buf = buf, .size = sizeof(buf)};

	text_add(&t, "%s", "abc");
	text_add(&t, "%d", 12);
	ck_assert_str_eq(buf, "abc12");
	ck_assert_uint_eq(t.used, 5);
	/* What does not fit is cut off, and nothing comes behind it. */
	text_add(&t, "%s", "3456");
	text_add(&t, "%s", "x");
	ck_assert_str_eq(buf, "abc1234");
	ck_assert_uint_ge(t.used, t.size);
}
END_TEST

static void expect_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *found = NULL;

	ck_assert_int_eq(read_all(fd, 64, &found, NULL), 0);
	ck_assert_str_eq(found, text);
}

START_TEST(replaces_a_file_or_keeps_it)
{
	char path[256];
	char temporary[300];
	char *long_path = memset((char[600]){0}, 'x', 599);

	snprintf(path, sizeof(path), "%s/file", unit_host_root());
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	ck_assert_int_eq(replace_file(path, "first", 0644), 0);
	ck_assert_int_eq(replace_file(path, "2nd", 0644), 0);
	expect_file(path, "2nd");
	ck_assert_int_lt(access(temporary, F_OK), 0);
	/* The new one cannot be written. */
	ck_assert_int_eq(mkdir(temporary, 0755), 0);
	ck_assert_int_eq(replace_file(path, "third", 0644), -EISDIR);
	ck_assert_int_eq(rmdir(temporary), 0);
	expect_file(path, "2nd");
	ck_assert_int_eq(replace_file(long_path, "third", 0644), -ENAMETOOLONG);
	/* It can, but cannot come into the place of a folder: nothing of it stays. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	ck_assert_int_eq(replace_file(path, "third", 0644), -EISDIR);
	ck_assert_int_lt(access(temporary, F_OK), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

static const struct {
	const char *from;
	const char *to;
} visible[] = {
	{"/mnt/Daten f\303\274r \342\202\254, \360\237\222\276", NULL},
	{"a\\b", NULL},
	{"\033]0;owned\007\n", "\\x1b]0;owned\\x07\\x0a"},
	{"\177\302\233[2J", "\\x7f\\xc2\\x9b[2J"},
	{"\377a\300\257b\355\240\200", "\\xffa\\xc0\\xafb\\xed\\xa0\\x80"},
	{"cut \342\202", "cut \\xe2\\x82"},
	{"\342\200\256txt", "\\xe2\\x80\\xaetxt"},
};

START_TEST(shows_what_a_terminal_would_obey)
{
	const char *to = visible[_i].to ? visible[_i].to : visible[_i].from;
	char small[6];

	ck_assert_str_eq(VISIBLE(visible[_i].from), to);
	/* Not even one byte too many, and no half of a character. */
	str_visible(small, sizeof(small), visible[_i].from);
	ck_assert_uint_lt(strlen(small), sizeof(small));
	ck_assert_int_eq(strncmp(small, to, strlen(small)), 0);
}
END_TEST

Suite *util_suite(void)
{
	Suite *suite = suite_create("util");
	TCase *c = tcase_create("util");

	tcase_add_loop_test(c, parses_spans, 0, ARRAY_SIZE(spans));
	tcase_add_loop_test(c, formats_spans, 0, ARRAY_SIZE(formats));
	tcase_add_test(c, copies_strings);
	tcase_add_test(c, adds_to_text);
	tcase_add_loop_test(c, shows_what_a_terminal_would_obey, 0, ARRAY_SIZE(visible));
	suite_add_tcase(suite, c);
	c = tcase_create("files");
	tcase_add_checked_fixture(c, unit_host_setup, unit_host_teardown);
	tcase_add_test(c, replaces_a_file_or_keeps_it);
	suite_add_tcase(suite, c);
	return suite;
}
