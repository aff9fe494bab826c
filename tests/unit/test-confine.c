// SPDX-License-Identifier: GPL-2.0-or-later
/* What is given up is gone. Each test is a process of its own (Check forks). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "confine.h"
#include "host.h"
#include "unit.h"
#include "util.h"

START_TEST(capabilities_are_gone)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	ck_assert_int_eq(confine(host_dir(HOST_RUN)), 0);
	ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		ck_assert_uint_eq(data[i].effective, 0);
		ck_assert_uint_eq(data[i].permitted, 0);
		ck_assert_uint_eq(data[i].inheritable, 0);
	}
	data[0].effective = data[0].permitted = 1U << CAP_NET_ADMIN;
	header.pid = 0;
	ck_assert_int_lt(syscall(SYS_capset, &header, data), 0);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(no_program_can_be_run)
{
	char *const argv[] = {"/bin/true", NULL};
	char *const env[] = {NULL};

	ck_assert_int_eq(confine(host_dir(HOST_RUN)), 0);
	ck_assert_int_lt(execve(argv[0], argv, env), 0);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_lt(execveat(AT_FDCWD, argv[0], argv, env, 0), 0);
	ck_assert_int_eq(errno, EPERM);
	/* Others can be made, and what is done otherwise goes on. */
	ck_assert_int_gt(getppid(), 0);
}
END_TEST

START_TEST(files_are_written_in_one_place_only)
{
	char inside[256];
	char renamed[300];
	char outside[256];
	bool landlock =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;

	snprintf(inside, sizeof(inside), "%s/file", host_dir(HOST_RUN));
	snprintf(renamed, sizeof(renamed), "%s.new", inside);
	snprintf(outside, sizeof(outside), "%s/policy.kept", host_dir(HOST_ETC));
	ck_assert_int_eq(write_file(outside, "before", 0644), 0);
	ck_assert_int_eq(confine(host_dir(HOST_RUN)), 0);
	ck_assert_int_eq(write_file(renamed, "text", 0644), 0);
	ck_assert_int_eq(rename(renamed, inside), 0);
	ck_assert_int_eq(write_file(inside, "another", 0644), 0);
	ck_assert_int_eq(access(outside, R_OK), 0);
	if (!landlock)
		return;
	ck_assert_int_eq(write_file(outside, "after", 0644), -EACCES);
	ck_assert_int_lt(unlink(outside), 0);
	ck_assert_int_lt(rename(inside, outside), 0);
	ck_assert_int_eq(unlink(inside), 0);
}
END_TEST

Suite *confine_suite(void)
{
	Suite *s = suite_create("confine");
	TCase *t = tcase_create("confine");

	/* Unchecked: the process that is confined cannot clean up. */
	tcase_add_unchecked_fixture(t, unit_host_setup, unit_host_teardown);
	tcase_add_test(t, capabilities_are_gone);
	tcase_add_test(t, no_program_can_be_run);
	tcase_add_test(t, files_are_written_in_one_place_only);
	suite_add_tcase(s, t);
	return s;
}
