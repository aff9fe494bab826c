// SPDX-License-Identifier: GPL-2.0-or-later
/* What the journal gets: its catalog, summaries of bursts, and what it had not taken. */
#include <errno.h>
#include <stdio.h>

#include "journal.h"
#include "log.h"
#include "manager.h"
#include "messages.h"
#include "unit.h"

/* --- the catalog ----------------------------------------------------------------------------- */

static char *read_source(const char *name)
{
	const char *root = getenv("SMMU_RAS_SOURCE"); /* NOLINT(concurrency-mt-unsafe) */
	char path[512];
	char *text = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root ? root : ".", name);
	f = fopen(path, "re");
	ck_assert_msg(f != NULL, "%s", path);
	ck_assert_int_eq(read_all(fileno(f), 1 << 20, &text, NULL), 0);
	fclose(f);
	return text;
}

/* The catalog's text for a number, cut off at its end; or NULL. */
static char *entry_of(const char *catalog, const char *id)
{
	char head[64];
	const char *begin;
	const char *end;

	snprintf(head, sizeof(head), "\n-- %s\n", id);
	begin = strstr(catalog, head);
	if (!begin)
		return NULL;
	begin += strlen(head);
	end = strstr(begin, "\n-- ");
	return strndup(begin, end ? (size_t)(end - begin) : strlen(begin));
}

START_TEST(every_message_has_a_text_that_says_what_to_do)
{
	_cleanup_free_ char *catalog = read_source("units/smmu-ras.catalog");
	_cleanup_free_ char *header = read_source("daemon/messages.h");
	unsigned int n = 0;

	for (const char *s = header; (s = strstr(s, "#define MESSAGE_")); s++) {
		_cleanup_free_ char *entry = NULL;
		char name[64];
		char id[64];

		if (sscanf(s, "#define %63s \"%32[0-9a-f]\"", name, id) != 2)
			continue;
		ck_assert_msg(strlen(id) == 32, "%s", name);
		entry = entry_of(catalog, id);
		ck_assert_msg(entry != NULL, "%s has no text", name);
		ck_assert_msg(strncmp(entry, "Subject: ", 9) == 0, "%s has no subject", name);
		ck_assert_msg(strstr(entry, "\nDefined-By: smmu-ras\n") != NULL, "%s", name);
		ck_assert_msg(strstr(entry, "What to do:") != NULL, "%s", name);
		n++;
	}
	ck_assert_uint_ge(n, 22);
}
END_TEST

/* Writes every kind of record about a device of which as little is known as there can be. */
static void write_all(void)
{
	static struct rule rule = {.attempts = 3};
	static struct job job = {.n_steps = 1};
	struct manager m = {0};
	struct device d = {.manager = &m, .rule = &rule, .job = &job};
	struct worker_message message = {.duration = 5};

	rule.name = (char[]){"some rule"};
	rule.origin = (char[]){"built in"};
	str_copy(d.record.dev, sizeof(d.record.dev), "0000:01:00.0");
	str_copy(d.record.bus, sizeof(d.record.bus), "pci");
	str_copy(d.record.rule, sizeof(d.record.rule), "some rule");
	d.kernel.state = IOMMU_RAS_STATE_FENCED;
	str_copy(d.kernel.dev, sizeof(d.kernel.dev), "0000:01:00.0");
	report_kernel(&d, KERNEL_FENCED, &d.kernel);
	report_kernel(&d, KERNEL_SANITIZED, &d.kernel);
	report_kernel(NULL, KERNEL_UNFENCED, &d.kernel);
	report_kernel(&d, KERNEL_REMOVED, &d.kernel);
	report_begun(&d);
	report_stuck(&d);
	/* Steps have a name. */
	str_copy(d.record.step, sizeof(d.record.step), "reset");
	report_step(&d, &message);
	message.error = -EIO;
	report_step(&d, &message);
	d.record.step[0] = '\0';
	report_attempt_failed(&d, 5);
	report_recovered(&d);
	report_isolated(&d);
	report_protected(&d);
	report_left_to_restart(&d);
	report_ignored(&d);
	report_asked(&d, "recover it", 1000);
}

START_TEST(every_field_in_a_text_is_in_the_record)
{
	_cleanup_free_ char *catalog = read_source("units/smmu-ras.catalog");
	unsigned int n = 0;

	log_open();
	write_all();
	ck_assert_uint_eq(unit_n_records, 15);
	for (unsigned int i = 0; i < unit_n_records; i++) {
		const char *record = unit_records[i];
		const char *id = strstr(record, "\nMESSAGE_ID=");
		_cleanup_free_ char *entry = NULL;
		char text[33];

		ck_assert_msg(id != NULL, "%s", record);
		snprintf(text, sizeof(text), "%s", id + strlen("\nMESSAGE_ID="));
		entry = entry_of(catalog, text);
		ck_assert_msg(entry != NULL, "%s", record);
		/* What `journalctl SMMU_RAS_DEVICE=` goes by. */
		ck_assert_msg(strstr(record, "\nSMMU_RAS_DEVICE=0000:01:00.0\n") != NULL, "%s",
			      record);
		for (char *s = entry; (s = strchr(s, '@')); s++) {
			char *end = strchr(s + 1, '@');
			char wanted[80];

			ck_assert_ptr_nonnull(end);
			snprintf(wanted, sizeof(wanted), "\n%.*s=", (int)(end - s - 1), s + 1);
			ck_assert_msg(strstr(record, wanted) != NULL, "%s is not in:%s", wanted + 1,
				      record);
			s = end;
			n++;
		}
	}
	ck_assert_uint_gt(n, 20);
}
END_TEST

/* --- bursts ---------------------------------------------------------------------------------- */

static sd_event *event;

static void start(void)
{
	unit_host_setup();
	log_open();
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_ge(journal_start(event), 0);
}

static void stop(void)
{
	journal_stop();
	event = sd_event_unref(event);
	unit_host_teardown();
}

static void fence(unsigned int number)
{
	struct ras_device kernel = {.state = IOMMU_RAS_STATE_FENCED, .fence_id = number + 1};

	snprintf(kernel.dev, sizeof(kernel.dev), "%04x:01:00.0", number);
	report_kernel(NULL, KERNEL_FENCED, &kernel);
}

static unsigned int records_with(const char *text)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < unit_n_records; i++)
		n += strstr(unit_records[i], text) != NULL;
	return n;
}

START_TEST(a_burst_ends_in_summaries_that_name_each_device)
{
	for (unsigned int i = 0; i < 1000; i++)
		fence(i);
	/* Some of them at once, and as many more as time has allowed. */
	ck_assert_uint_ge(records_with("MESSAGE_ID=" MESSAGE_FENCED), JOURNAL_BURST);
	ck_assert_uint_le(unit_n_records, 2 * JOURNAL_BURST);
	journal_stop();
	ck_assert_uint_le(unit_n_records, 2 * JOURNAL_BURST);
	ck_assert_uint_gt(records_with("MESSAGE_ID=" MESSAGE_COLLAPSED), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		char text[64];

		snprintf(text, sizeof(text), "\nSMMU_RAS_DEVICE=%04x:01:00.0\n", i);
		ck_assert_msg(records_with(text) == 1, "%s is in %u records", text,
			      records_with(text));
	}
}
END_TEST

START_TEST(the_summary_comes_by_itself)
{
	for (unsigned int i = 0; i < 5000; i++)
		fence(7);
	ck_assert_uint_eq(records_with("MESSAGE_ID=" MESSAGE_COLLAPSED), 0);
	while (records_with("MESSAGE_ID=" MESSAGE_COLLAPSED) == 0)
		ck_assert_int_ge(sd_event_run(event, UINT64_MAX), 0);
	ck_assert_uint_eq(records_with("\nSMMU_RAS_SUMMARY_OF=" MESSAGE_FENCED "\n"), 1);
	/* Whatever was not written is counted. */
	{
		char text[64];

		snprintf(text, sizeof(text), "\nSMMU_RAS_COUNT=%u\n",
			 5000 - records_with("MESSAGE_ID=" MESSAGE_FENCED));
		ck_assert_uint_eq(records_with(text), 1);
	}
}
END_TEST

START_TEST(nothing_about_isolation_or_protection_is_put_together)
{
	struct manager m = {0};
	struct device d = {.manager = &m};

	for (unsigned int i = 0; i < 3 * JOURNAL_BURST / 2; i++) {
		snprintf(d.record.dev, sizeof(d.record.dev), "%04x:01:00.0", i);
		report_isolated(&d);
		report_protected(&d);
	}
	ck_assert_uint_eq(records_with("MESSAGE_ID=" MESSAGE_ISOLATED), 3 * JOURNAL_BURST / 2);
	ck_assert_uint_eq(records_with("MESSAGE_ID=" MESSAGE_PROTECTED), 3 * JOURNAL_BURST / 2);
}
END_TEST

/* --- a journal that does not read ------------------------------------------------------------ */

START_TEST(what_was_lost_is_said_as_soon_as_the_journal_is_back)
{
	int ends[2];

	unit_stuff_stderr(ends);
	unit_journal_is_stuck = true;
	log_info("one");
	log_error("two");
	log_info("three");
	unit_journal_is_stuck = false;
	/* Nothing else happens. */
	while (unit_n_records < 2)
		ck_assert_int_ge(sd_event_run(event, UINT64_MAX), 0);
	ck_assert_str_eq(unit_journal,
			 "MESSAGE=2 records lost: the journal did not take them, and was not "
			 "waited for\n"
			 "MESSAGE=two\n");
}
END_TEST

START_TEST(of_what_must_not_be_lost_the_latest_is_kept)
{
	int ends[2];

	unit_stuff_stderr(ends);
	unit_journal_is_stuck = true;
	for (unsigned int i = 0; i < LOG_KEEP_MAX + 3; i++)
		log_error("%u", i);
	ck_assert(!log_retry());
	unit_journal_is_stuck = false;
	ck_assert(log_retry());
	ck_assert_uint_eq(unit_n_records, LOG_KEEP_MAX + 1);
	ck_assert_ptr_nonnull(strstr(unit_records[0], "MESSAGE=3 records lost"));
	ck_assert_ptr_nonnull(strstr(unit_records[1], "MESSAGE=3\n"));
	ck_assert_ptr_nonnull(strstr(unit_records[LOG_KEEP_MAX], "MESSAGE=34\n"));
}
END_TEST

START_TEST(notes_that_are_not_utf8_are_escaped)
{
	struct manager m = {0};
	struct device d = {.manager = &m};

	str_copy(d.record.dev, sizeof(d.record.dev), "0000:01:00.0");
	str_copy(d.record.note, sizeof(d.record.note), "disk \xff\x1b[31m");
	report_protected(&d);
	ck_assert_ptr_nonnull(strstr(unit_journal, "disk \\xff\\x1b[31m"));
}
END_TEST

Suite *journal_suite(void)
{
	Suite *suite = suite_create("journal");
	TCase *catalog = tcase_create("catalog");
	TCase *burst = tcase_create("burst");

	tcase_add_test(catalog, every_message_has_a_text_that_says_what_to_do);
	tcase_add_test(catalog, every_field_in_a_text_is_in_the_record);
	suite_add_tcase(suite, catalog);
	tcase_add_checked_fixture(burst, start, stop);
	tcase_add_test(burst, a_burst_ends_in_summaries_that_name_each_device);
	tcase_add_test(burst, the_summary_comes_by_itself);
	tcase_add_test(burst, nothing_about_isolation_or_protection_is_put_together);
	tcase_add_test(burst, what_was_lost_is_said_as_soon_as_the_journal_is_back);
	tcase_add_test(burst, of_what_must_not_be_lost_the_latest_is_kept);
	tcase_add_test(burst, notes_that_are_not_utf8_are_escaped);
	suite_add_tcase(suite, burst);
	return suite;
}
