// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs of the policy, and whether they are root's alone. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "trusted.h"
#include "unit.h"

static char text[512];
static char lines[16 * 1024];
static unsigned int n_lines;

static const char *path_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", unit_host_root(), name);
	return path;
}

static void program(const char *name, const char *script)
{
	char all[1024];

	snprintf(all, sizeof(all), "#!/bin/sh\n%s\n", script);
	unit_file(name, all);
	ck_assert_int_eq(chmod(path_of(name), 0755), 0);
}

static void refused(const char *name, int r, const char *why)
{
	ck_assert_int_eq(trusted_program(path_of(name), text, sizeof(text)), r);
	ck_assert_msg(strstr(text, why) != NULL, "expected \"%s\" in \"%s\"", why, text);
}

START_TEST(trusts_what_is_roots_alone)
{
	program("bin/tool", "exit 0");
	unit_link("links/tool", "../bin/./tool");
	unit_link("links/absolute", path_of("bin/tool"));
	unit_link("links/dir", "../bin");
	ck_assert_int_eq(trusted_program(path_of("bin/tool"), text, sizeof(text)), 0);
	ck_assert_int_eq(trusted_program(path_of("links/tool"), text, sizeof(text)), 0);
	ck_assert_int_eq(trusted_program(path_of("links/absolute"), text, sizeof(text)), 0);
	ck_assert_int_eq(trusted_program(path_of("links/dir/tool"), text, sizeof(text)), 0);
	ck_assert_int_eq(trusted_program(path_of("links/../bin//tool"), text, sizeof(text)), 0);
	ck_assert_int_eq(trusted_program("/bin/sh", text, sizeof(text)), 0);
}
END_TEST

START_TEST(refuses_what_others_may_change)
{
	program("bin/tool", "exit 0");
	program("open/sub/tool", "exit 0");
	unit_link("bin/link", "../open/sub/tool");
	ck_assert_int_eq(chmod(path_of("bin/tool"), 0775), 0);
	refused("bin/tool", -EPERM, "bin/tool (mode 0775); run: chmod go-w");
	ck_assert_int_eq(chmod(path_of("bin/tool"), 0757), 0);
	refused("bin/tool", -EPERM, "(mode 0757)");
	ck_assert_int_eq(chmod(path_of("bin/tool"), 0755), 0);
	/* A sticky bit does not help: the file may go, and another one come. */
	ck_assert_int_eq(chmod(path_of("open"), 01777), 0);
	refused("open/sub/tool", -EPERM, "/open (mode 1777)");
	refused("bin/link", -EPERM, "/open (mode 1777)");
	/* The way there, though not the place itself. */
	refused("open/../bin/tool", -EPERM, "/open (mode 1777)");
}
END_TEST

START_TEST(refuses_what_belongs_to_others)
{
	/* Only root can make such a file. */
	if (geteuid() != 0)
		return;
	program("bin/tool", "exit 0");
	ck_assert_int_eq(chown(path_of("bin/tool"), 65534, 0), 0);
	refused("bin/tool", -EPERM, "belongs to user 65534");
	ck_assert_int_eq(chown(path_of("bin/tool"), 0, 0), 0);
	ck_assert_int_eq(chown(path_of("bin"), 65534, 0), 0);
	refused("bin/tool", -EPERM, "/bin belongs to user 65534");
}
END_TEST

START_TEST(refuses_what_is_no_program)
{
	unit_file("bin/text", "no program");
	unit_link("bin/loop", "loop");
	ck_assert_int_eq(mkfifo(path_of("bin/fifo"), 0755), 0);
	refused("bin/text", -EACCES, "cannot be executed; run: chmod +x");
	refused("bin/none", -ENOENT, "No such file");
	refused("bin/loop", -ELOOP, "too many symbolic links");
	refused("bin/fifo", -EACCES, "is not a program");
	refused("bin", -EACCES, "is not a program");
	refused("bin/text/more", -EACCES, "is not a program");
	ck_assert_int_eq(trusted_program("bin/sh", text, sizeof(text)), -EINVAL);
}
END_TEST

static void take_line(const char *line, void *userdata)
{
	ck_assert_ptr_eq(userdata, lines);
	n_lines++;
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s\n", line);
}

static int run(const char *script, uint64_t timeout)
{
	static char variable[] = "A=1";
	static char argument[] = "argument";
	static char *const environment[] = {variable, NULL};
	struct command *command = calloc(1, sizeof(*command) + 3 * sizeof(char *));
	struct exec exec = {.command = command,
			    .environment = environment,
			    .timeout = timeout,
			    .output = take_line,
			    .userdata = lines};
	char path[512];
	int r;

	if (script)
		program("bin/tool", script);
	snprintf(path, sizeof(path), "%s", path_of("bin/tool"));
	ck_assert_ptr_nonnull(command);
	command->argv[0] = path;
	command->argv[1] = argument;
	lines[0] = '\0';
	n_lines = 0;
	r = exec_run(&exec, text, sizeof(text));
	free(command);
	return r;
}

#define LONG (60 * USEC_PER_SEC)

START_TEST(runs_a_program)
{
	ck_assert_int_eq(run("echo \"$A $1 $#\"; pwd; cat; echo error >&2; umask", LONG), 0);
	ck_assert_str_eq(lines, "1 argument 1\n/\nerror\n0022\n");
	ck_assert_str_eq(text, "");
}
END_TEST

/* As the unit of the daemon says, and as it would be inherited. */
START_TEST(is_as_killable_as_others)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	/* To become less killable takes a privilege; to become more, none. */
	if (write(fd, "-900", 4) != 4)
		ck_assert_int_eq(write(fd, "900", 3), 3);
	close(fd);
	ck_assert_int_eq(run("cat /proc/self/oom_score_adj", LONG), 0);
	/* Without the privilege it cannot be taken back either, and stays. */
	ck_assert(streq(lines, "0\n") || (geteuid() != 0 && streq(lines, "900\n")));
}
END_TEST

START_TEST(says_how_it_ended)
{
	ck_assert_int_eq(run("echo a; echo b; exit 7", LONG), -EREMOTEIO);
	ck_assert_ptr_nonnull(strstr(text, "bin/tool exited with status 7: b"));
	ck_assert_int_eq(run("kill -SEGV $$", LONG), -EREMOTEIO);
	ck_assert_ptr_nonnull(strstr(text, "was ended by signal 11 (Segmentation fault)"));
	unit_file("bin/tool", "#!/none/such\n");
	ck_assert_int_eq(chmod(path_of("bin/tool"), 0755), 0);
	ck_assert_int_eq(run(NULL, LONG), -ENOENT);
	ck_assert_ptr_nonnull(strstr(text, "cannot execute"));
	ck_assert_int_eq(chmod(path_of("bin/tool"), 0777), 0);
	ck_assert_int_eq(run(NULL, LONG), -EPERM);
}
END_TEST

START_TEST(ends_what_takes_too_long)
{
	/* One that closes its output, ignores signals, and has children. */
	ck_assert_int_eq(
		run("trap '' TERM; sleep 1000 & exec >&- 2>&-; sleep 1000", 100 * USEC_PER_MSEC),
		-ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(text, "has not ended after 100ms and was killed"));
}
END_TEST

/* What goes on in the background holds the pipe open, and is not waited for. */
START_TEST(does_not_wait_for_what_is_left_running)
{
	uint64_t begin = now_usec(CLOCK_MONOTONIC);

	ck_assert_int_eq(run("sleep 1000 & echo started", LONG), 0);
	ck_assert_str_eq(lines, "started\n");
	ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - begin, LONG);
}
END_TEST

START_TEST(output_is_bounded_and_visible)
{
	ck_assert_int_eq(run("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done", LONG),
			 0);
	ck_assert_uint_eq(n_lines, EXEC_LINES_MAX + 1);
	ck_assert_ptr_nonnull(strstr(lines, "line 63\n... and "));
	ck_assert_ptr_null(strstr(lines, "line 64\n"));
	ck_assert_int_eq(run("head -c 1000000 /dev/zero | tr '\\0' x", LONG), 0);
	ck_assert_uint_le(n_lines, EXEC_LINES_MAX + 1);
	ck_assert_int_eq(run("printf 'a\\033[2Jb\\000c\\377\\n'", LONG), 0);
	ck_assert_str_eq(lines, "a\\x1b[2Jb\n");
}
END_TEST

Suite *exec_suite(void)
{
	Suite *suite = suite_create("exec");
	TCase *c = tcase_create("exec");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, unit_host_setup, unit_host_teardown);
	tcase_add_test(c, trusts_what_is_roots_alone);
	tcase_add_test(c, refuses_what_others_may_change);
	tcase_add_test(c, refuses_what_belongs_to_others);
	tcase_add_test(c, refuses_what_is_no_program);
	tcase_add_test(c, runs_a_program);
	tcase_add_test(c, is_as_killable_as_others);
	tcase_add_test(c, says_how_it_ended);
	tcase_add_test(c, ends_what_takes_too_long);
	tcase_add_test(c, does_not_wait_for_what_is_left_running);
	tcase_add_test(c, output_is_bounded_and_visible);
	suite_add_tcase(suite, c);
	return suite;
}
