// SPDX-License-Identifier: GPL-2.0-or-later
/* Logging, above all into a journal that does not read: nothing may wait for it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "log.h"
#include "tell.h"
#include "unit.h"

static int reader;
static char path[108];

/* A journald or systemd that may or may not read. */
static void setup(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	unit_host_setup();
	reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(reader, 0);
	snprintf(path, sizeof(path), "%.90s/socket", unit_host_root());
	memcpy(addr.sun_path, path, sizeof(path));
	ck_assert_int_eq(bind(reader, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void teardown(void)
{
	close(reader);
	unit_host_teardown();
}

static struct iovec field(const char *text)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
}

START_TEST(speaks_the_native_protocol)
{
	static const char wanted[] = "PRIORITY=3\nA\n\3\0\0\0\0\0\0\0x\ny\nMESSAGE=hello=\n";
	struct iovec fields[] = {field("PRIORITY=3"), field("A=x\ny"), field("MESSAGE=hello=")};
	char got[256];
	ssize_t n;

	ck_assert_int_eq(tell_journal(path, fields, 3), 0);
	n = recv(reader, got, sizeof(got), 0);
	ck_assert_int_eq(n, sizeof(wanted) - 1);
	ck_assert_mem_eq(got, wanted, sizeof(wanted) - 1);
}
END_TEST

/* The test's timeout is what finds a wait. */
START_TEST(does_not_wait_for_the_journal)
{
	struct iovec fields[] = {field("MESSAGE=again")};
	char got[64];
	int r = 0;

	for (int i = 0; i < 10000 && r == 0; i++)
		r = tell_journal(path, fields, 1);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_gt(recv(reader, got, sizeof(got), 0), 0);
	ck_assert_int_eq(tell_journal(path, fields, 1), 0);
	ck_assert_int_eq(tell_journal("/nowhere/at/all", fields, 1), -ENOENT);
}
END_TEST

START_TEST(does_not_wait_for_systemd)
{
	char got[64] = "";
	int r = 0;

	ck_assert_int_eq(setenv("NOTIFY_SOCKET", path, 1), 0);
	for (int i = 0; i < 10000 && r == 0; i++)
		r = tell_systemd("STATUS=%d", i);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_gt(recv(reader, got, sizeof(got), 0), 0);
	ck_assert_str_eq(got, "STATUS=0");
}
END_TEST

START_TEST(tells_how_many_records_were_lost)
{
	int ends[2];

	unit_stuff_stderr(ends);
	log_open();
	log_info("one");
	unit_journal_is_stuck = true;
	log_info("two");
	log_info("three");
	ck_assert_str_eq(unit_journal, "MESSAGE=one\n");
	unit_journal_is_stuck = false;
	log_info("four");
	log_info("five");
	ck_assert_str_eq(unit_journal,
			 "MESSAGE=one\n"
			 "MESSAGE=2 records lost: the journal did not take them, and was not "
			 "waited for\n"
			 "MESSAGE=four\n"
			 "MESSAGE=five\n");
}
END_TEST

Suite *log_suite(void)
{
	Suite *suite = suite_create("log");
	TCase *c = tcase_create("log");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, speaks_the_native_protocol);
	tcase_add_test(c, does_not_wait_for_the_journal);
	tcase_add_test(c, does_not_wait_for_systemd);
	tcase_add_test(c, tells_how_many_records_were_lost);
	suite_add_tcase(suite, c);
	return suite;
}
