// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "host.h"
#include "state.h"
#include "unit.h"

#define FILE_NAME "run/devices/pci@0000:01:00.0.json"

static const struct device_record sample = {
	.bus = "pci",
	.dev = "0000:01:00.0",
	.identity = "4711 0x1b36 0x0010 - - 0x02",
	.state = RECOVERY_RUNNING,
	.fence_id = UINT64_C(1) << 60,
	.attempts = 2,
	.left = LEFT_PROTECTED,
	.active = true,
	.rule = "gpu \"quoted\"",
	.prepared = true,
	.driver = "nvme",
	.driver_override = "nvme",
	.reset_method = "flr bus",
	.worker = 4321,
	.worker_start = 123456,
	.n_recoveries = 2,
	.recoveries = {10, 20},
	.step = "reset",
	.note = "a\nb",
	.since = 1700000000000000,
	.next = 1700000001000000,
	.recovered_time = 1600000000000000,
	.keep_until = 77,
	.begun = true,
	.force = true,
};

static const struct step_result failure = {.attempt = 2,
					   .step = "slot-power-cycle",
					   .error = -ETIMEDOUT,
					   .duration = 50000,
					   .time = 1700000000500000,
					   .note = "\xc3\xa4"};

static void setup(void)
{
	unit_host_setup();
	ck_assert_int_eq(state_open(), 0);
}

START_TEST(round_trip)
{
	struct device_record record = sample;

	record_add_history(&record, &failure);
	ck_assert_int_eq(state_save(&record), 0);
	record_clear_history(&record);
	ck_assert_int_eq(state_load("pci", "0000:01:00.0", &record), 0);
	ck_assert_uint_eq(record.n_history, 1);
	ck_assert_mem_eq(record.history, &failure, sizeof(failure));
	record_clear_history(&record);
	ck_assert_uint_eq(record.recovered_time, sample.recovered_time);
	ck_assert_uint_eq(record.keep_until, 77);
	ck_assert(record.begun && record.force);
	ck_assert_int_eq(record.state, sample.state);
	ck_assert_str_eq(record.identity, sample.identity);
	ck_assert_uint_eq(record.fence_id, sample.fence_id);
	ck_assert_uint_eq(record.attempts, 2);
	ck_assert_int_eq(record.left, LEFT_PROTECTED);
	ck_assert(record.active);
	ck_assert_str_eq(record.rule, sample.rule);
	ck_assert(record.prepared);
	ck_assert_str_eq(record.driver, "nvme");
	ck_assert_str_eq(record.driver_override, "nvme");
	ck_assert_str_eq(record.reset_method, "flr bus");
	ck_assert_int_eq(record.worker, 4321);
	ck_assert_uint_eq(record.worker_start, 123456);
	ck_assert_uint_eq(record.n_recoveries, 2);
	ck_assert_uint_eq(record.recoveries[1], 20);
	ck_assert_str_eq(record.step, "reset");
	ck_assert_str_eq(record.note, "a\nb");
	ck_assert_uint_eq(record.since, sample.since);
	ck_assert_uint_eq(record.next, sample.next);
	state_remove("pci", "0000:01:00.0");
	ck_assert_int_eq(state_load("pci", "0000:01:00.0", &record), -ENOENT);
}
END_TEST

/* driver_override takes whatever is written to it, and has to be put back as it was. */
START_TEST(bytes_of_all_kinds_come_back)
{
	struct device_record record = sample;
	struct device_record loaded = {0};

	for (int c = 1; c < 256; c++) {
		if (c < 64)
			record.slot[c - 1] = (char)c;
		else if (c < 127)
			record.driver_override[c - 64] = (char)c;
		record.vfs.drivers[c - 1] = (char)(256 - c);
	}
	memset(record.vfs.drivers + 255, 0xff, sizeof(record.vfs.drivers) - 256);
	memcpy(record.reset_method, "\\\\xff\\x41", 10);
	memset(record.rule, 0xc3, sizeof(record.rule) - 1);
	ck_assert_int_eq(state_save(&record), 0);
	ck_assert_int_eq(state_load("pci", "0000:01:00.0", &loaded), 0);
	ck_assert_str_eq(loaded.slot, record.slot);
	ck_assert_str_eq(loaded.driver_override, record.driver_override);
	ck_assert_str_eq(loaded.vfs.drivers, record.vfs.drivers);
	ck_assert_str_eq(loaded.reset_method, record.reset_method);
	ck_assert_str_eq(loaded.rule, record.rule);
}
END_TEST

/* The first bytes of a record, as after a write that was cut off. */
START_TEST(every_torn_file_is_noticed)
{
	char path[512];
	char text[4096];
	struct device_record record;
	size_t len;
	FILE *f;

	ck_assert_int_eq(state_save(&sample), 0);
	snprintf(path, sizeof(path), "%s/%s", unit_host_root(), FILE_NAME);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	ck_assert_uint_gt(len, 100);
	for (size_t cut = 0; cut < len; cut++) {
		f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		ck_assert_uint_eq(fwrite(text, 1, cut, f), cut);
		fclose(f);
		ck_assert_int_eq(state_load("pci", "0000:01:00.0", &record), -EBADMSG);
	}
}
END_TEST

static const struct {
	const char *from;
	const char *to;
} damage[] = {
	{"\"version\": 1", "\"version\": 2"},
	{"\"state\": \"running\"", "\"state\": \"dancing\""},
	{"\"attempts\": 2", "\"attempts\": -2"},
	{"\"attempts\": 2", "\"attempts\": \"2\""},
	{"\"worker\": 4321", "\"worker\": 43210000000"},
	{"\"dev\": \"0000:01:00.0\"", "\"dev\": \"0000:01:00.1\""},
	{"10,", "-10,"},
	{"\"driver\": \"nvme\"", "\"driver\": \"a\\\\x00b\""},
};

START_TEST(damage_is_noticed)
{
	char path[512];
	char text[4096] = "";
	char changed[8192];
	struct device_record record;
	char *at;
	FILE *f;

	ck_assert_int_eq(state_save(&sample), 0);
	snprintf(path, sizeof(path), "%s/%s", unit_host_root(), FILE_NAME);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, f), 0);
	fclose(f);
	at = strstr(text, damage[_i].from);
	ck_assert_ptr_nonnull(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, damage[_i].to,
		 at + strlen(damage[_i].from));
	unit_file(FILE_NAME, changed);
	ck_assert_int_eq(state_load("pci", "0000:01:00.0", &record), -EBADMSG);
}
END_TEST

static unsigned int n_good;
static unsigned int n_bad;

static void count(const struct device_record *record, int error, void *userdata)
{
	(void)userdata;
	ck_assert_str_eq(record->bus, "pci");
	if (error < 0)
		n_bad++;
	else
		n_good++;
}

START_TEST(loads_all_that_is_there)
{
	struct device_record other = sample;

	str_copy(other.dev, sizeof(other.dev), "0000:02:00.0");
	ck_assert_int_eq(state_save(&sample), 0);
	ck_assert_int_eq(state_save(&other), 0);
	unit_file("run/devices/pci@0000:03:00.0.json", "{");
	/* What a killed daemon was about to rename. */
	unit_file("run/devices/pci@0000:04:00.0.json.new", "{");
	unit_file("run/devices/README", "");
	n_good = 0;
	n_bad = 0;
	ck_assert_int_eq(state_load_all(count, NULL), 0);
	ck_assert_uint_eq(n_good, 2);
	ck_assert_uint_eq(n_bad, 1);
}
END_TEST

START_TEST(a_record_that_cannot_be_written_is_an_error)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/run/devices", unit_host_root());
	ck_assert_int_eq(rmdir(path), 0);
	unit_file("run/devices", "");
	ck_assert_int_eq(state_save(&sample), -ENOTDIR);
	ck_assert_int_eq(unlink(path), 0);
	/* Somebody cleaned up. */
	ck_assert_int_eq(state_save(&sample), 0);
}
END_TEST

START_TEST(the_history_is_bounded)
{
	struct device_record record = sample;
	struct step_result result = failure;

	for (unsigned int i = 0; i < RECORD_HISTORY_MAX + 5; i++) {
		result.attempt = i;
		record_add_history(&record, &result);
	}
	ck_assert_uint_eq(record.n_history, RECORD_HISTORY_MAX);
	ck_assert_uint_eq(record.history[0].attempt, 5);
	ck_assert_uint_eq(record.history[RECORD_HISTORY_MAX - 1].attempt, RECORD_HISTORY_MAX + 4);
	record_clear_history(&record);
}
END_TEST

START_TEST(a_bad_record_is_set_aside)
{
	struct device_record record;

	unit_file(FILE_NAME, "{");
	ck_assert_int_eq(state_set_aside("pci", "0000:01:00.0"), 0);
	ck_assert_int_eq(state_load("pci", "0000:01:00.0", &record), -ENOENT);
	n_good = 0;
	n_bad = 0;
	ck_assert_int_eq(state_load_all(count, NULL), 0);
	ck_assert_uint_eq(n_good + n_bad, 0);
	ck_assert_int_eq(state_set_aside("pci", "0000:01:00.0"), -ENOENT);
}
END_TEST

/* An earlier version's file may be there. */
START_TEST(the_lock_is_for_its_owner_only)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/run/lock", unit_host_root());
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(state_open(), -EBUSY);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(other_users_know_whether_a_daemon_runs)
{
	char path[512];
	char locks[512];
	struct stat st;
	int status;

	snprintf(path, sizeof(path), "%s/run/lock", unit_host_root());
	ck_assert_int_eq(stat(path, &st), 0);
	/* To become somebody else takes root; without it nobody at all may read the file. */
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert_int_eq(chmod(unit_host_root(), 0755), 0);
	for (int held = 0; held < 2; held++) {
		snprintf(locks, sizeof(locks),
			 "1: POSIX  ADVISORY  WRITE 1 00:01:77 0 EOF\n"
			 "2: OFDLCK ADVISORY  %s -1 %02x:%02x:%lu 0 EOF\n",
			 held ? "WRITE" : "READ ", major(st.st_dev), minor(st.st_dev),
			 (unsigned long)st.st_ino);
		unit_file("proc/locks", locks);
		status = -1;
		if (fork() == 0)
			_exit((geteuid() == 0 && setuid(65534) < 0) ? 2 : state_daemon_runs());
		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, W_EXITCODE(held, 0));
	}
}
END_TEST

START_TEST(knows_whether_a_daemon_runs)
{
	/* An open file description of the same process does not conflict through fork, but another
	 * one does: this is what smmu-rasctl sees. */
	ck_assert(state_daemon_runs());
	ck_assert_int_eq(state_open(), -EBUSY);
}
END_TEST

Suite *state_suite(void)
{
	Suite *suite = suite_create("state");
	TCase *c = tcase_create("state");

	tcase_add_checked_fixture(c, setup, unit_host_teardown);
	/* A thousand files on a busy machine. */
	tcase_set_timeout(c, 60);
	tcase_add_test(c, round_trip);
	tcase_add_test(c, bytes_of_all_kinds_come_back);
	tcase_add_test(c, every_torn_file_is_noticed);
	tcase_add_loop_test(c, damage_is_noticed, 0, ARRAY_SIZE(damage));
	tcase_add_test(c, loads_all_that_is_there);
	tcase_add_test(c, a_record_that_cannot_be_written_is_an_error);
	tcase_add_test(c, the_history_is_bounded);
	tcase_add_test(c, a_bad_record_is_set_aside);
	tcase_add_test(c, the_lock_is_for_its_owner_only);
	tcase_add_test(c, other_users_know_whether_a_daemon_runs);
	tcase_add_test(c, knows_whether_a_daemon_runs);
	suite_add_tcase(suite, c);
	return suite;
}
