// SPDX-License-Identifier: GPL-2.0-or-later
/* What is counted, and its text. */
#include <errno.h>
#include <stdio.h>

#include "metrics.h"
#include "unit.h"

static struct metrics metrics;
static struct metrics_now now;
static char *text;

static void setup(void)
{
	unit_host_setup();
	metrics = (struct metrics){0};
	now = (struct metrics_now){0};
}

static void teardown(void)
{
	free(text);
	text = NULL;
	unit_host_teardown();
}

static const char *write_text(bool prometheus)
{
	size_t size;
	FILE *f;

	free(text);
	text = NULL;
	f = open_memstream(&text, &size);
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(metrics_write(f, &metrics, &now, prometheus), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void has(const char *line)
{
	char wanted[256];

	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	ck_assert_msg(strstr(text, wanted) != NULL, "%s is not in:\n%s", line, text);
}

START_TEST(counts_are_written)
{
	metrics_count_fence(&metrics, "0000:01:00.0", IOMMU_RAS_REASON_ATC_TIMEOUT);
	metrics_count_fence(&metrics, "0000:01:00.0", IOMMU_RAS_REASON_ATC_TIMEOUT);
	metrics_count_fence(&metrics, "0000:01:00.0", 4711);
	metrics_count_step(&metrics, "reset", false);
	metrics_count_step(&metrics, "unbind", true);
	metrics_count_recovery(&metrics, 2 * USEC_PER_SEC);
	metrics_count_recovery(&metrics, 400 * USEC_PER_SEC + 5);
	write_text(true);
	has("# TYPE smmu_ras_fences_total counter");
	has("smmu_ras_fences_total{device=\"0000:01:00.0\",reason=\"atc-timeout\"} 2");
	has("smmu_ras_fences_total{device=\"0000:01:00.0\",reason=\"unknown\"} 1");
	has("smmu_ras_recoveries_total{result=\"recovered\"} 2");
	has("smmu_ras_recoveries_total{result=\"exhausted\"} 0");
	has("smmu_ras_step_failures_total{step=\"reset\"} 1");
	has("smmu_ras_step_timeouts_total{step=\"unbind\"} 1");
	has("smmu_ras_recovery_duration_seconds_bucket{le=\"0.25\"} 0");
	has("smmu_ras_recovery_duration_seconds_bucket{le=\"1.0\"} 0");
	has("smmu_ras_recovery_duration_seconds_bucket{le=\"2.5\"} 1");
	has("smmu_ras_recovery_duration_seconds_bucket{le=\"300.0\"} 1");
	has("smmu_ras_recovery_duration_seconds_bucket{le=\"+Inf\"} 2");
	has("smmu_ras_recovery_duration_seconds_sum 402.000005");
	has("smmu_ras_recovery_duration_seconds_count 2");
	ck_assert_ptr_null(strstr(text, "# EOF"));
	write_text(false);
	has("# TYPE smmu_ras_fences counter");
	has("# UNIT smmu_ras_recovery_duration_seconds seconds");
	ck_assert_str_eq(text + strlen(text) - 6, "# EOF\n");
}
END_TEST

START_TEST(labels_are_bounded)
{
	char name[32];

	for (unsigned int i = 0; i < 10 * NAME_SET_MAX; i++) {
		snprintf(name, sizeof(name), "%04x:01:00.0", i);
		metrics_count_fence(&metrics, name, IOMMU_RAS_REASON_ATC_TIMEOUT);
		metrics_count_step(&metrics, name, false);
	}
	write_text(true);
	has("smmu_ras_fences_total{device=\"00ff:01:00.0\",reason=\"atc-timeout\"} 1");
	has("smmu_ras_fences_total{device=\"other\",reason=\"atc-timeout\"} 2304");
	has("smmu_ras_step_failures_total{step=\"other\"} 2545");
}
END_TEST

START_TEST(labels_are_escaped)
{
	struct ras_device kernel = {.state = IOMMU_RAS_STATE_FENCED};

	str_copy(kernel.dev, sizeof(kernel.dev), "a\"b\\c\n\xff");
	metrics_now_add(&now, &kernel, NULL);
	write_text(true);
	has("smmu_ras_device_info{device=\"a\\\"b\\\\c\\\\x0a\\\\xff\",driver=\"\",state="
	    "\"fenced\","
	    "reason=\"unknown\",recovery=\"none\"} 1");
}
END_TEST

START_TEST(what_there_is_now)
{
	struct ras_device kernel = {.state = IOMMU_RAS_STATE_SANITIZED,
				    .reason = IOMMU_RAS_REASON_RESET_FAILED,
				    .fence_time = 1};
	struct device_record record = {.state = RECOVERY_ISOLATED};

	str_copy(record.dev, sizeof(record.dev), "0000:01:00.0");
	str_copy(record.driver, sizeof(record.driver), "nvme");
	now.daemon_runs = true;
	metrics_now_add(&now, &kernel, &record);
	/* Recovered lately: no device that anybody has to look at. */
	kernel.state = IOMMU_RAS_STATE_ACTIVE;
	record.state = RECOVERY_IDLE;
	metrics_now_add(&now, &kernel, &record);
	write_text(false);
	has("smmu_ras_daemon_running 1");
	has("smmu_ras_kernel_support 0");
	has("smmu_ras_fenced_devices{state=\"fenced\"} 0");
	has("smmu_ras_fenced_devices{state=\"sanitized\"} 1");
	has("smmu_ras_recovery_devices{state=\"isolated\"} 1");
	ck_assert_uint_eq(now.n_devices, 1);
	has("smmu_ras_device_info{device=\"0000:01:00.0\",driver=\"nvme\",state=\"sanitized\","
	    "reason=\"reset-failed\",recovery=\"isolated\"} 1");
}
END_TEST

START_TEST(a_restart_goes_on_counting)
{
	static struct metrics loaded;

	ck_assert_int_eq(metrics_load(&loaded), -ENOENT);
	metrics_count_fence(&metrics, "0000:01:00.0", IOMMU_RAS_REASON_SYNC_TIMEOUT);
	for (int i = 0; i < NAME_SET_MAX + 5; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d", i);
		metrics_count_fence(&metrics, name, IOMMU_RAS_REASON_ADMINISTRATIVE);
	}
	metrics_count_step(&metrics, "bind", true);
	metrics_count_recovery(&metrics, 7);
	metrics.results[METRICS_OPERATOR] = 3;
	metrics.attempts = 9;
	metrics.attempts_failed = 8;
	metrics.events_lost = 2;
	metrics.policy_refused = true;
	ck_assert_int_eq(metrics_save(&metrics), 0);
	ck_assert_int_eq(metrics_load(&loaded), 0);
	{
		_cleanup_free_ char *before = strdup(write_text(false));

		metrics = loaded;
		ck_assert_str_eq(write_text(false), before);
	}
	has("smmu_ras_fences_total{device=\"other\",reason=\"administrative\"} 6");
	has("smmu_ras_policy_refused 1");
}
END_TEST

/* Whoever wrote it: nothing in it can do more than begin anew. */
START_TEST(a_damaged_file_counts_as_nothing)
{
	static const char *const files[] = {
		"{\"version\": 2, \"attempts\": 5}",
		"{\"version\": 1, \"attempts\": -5, \"fences\": {\"a\": 7}, \"steps\": []}",
		"{\"version\": 1, \"attempts\": \"5\", \"results\": {}, \"duration\": null}",
		"[]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		unit_file("run/counters.json", files[i]);
		ck_assert_int_eq(metrics_load(&metrics), 0);
		ck_assert_uint_eq(metrics.attempts, 0);
		write_text(true);
		has("smmu_ras_recovery_attempts_total 0");
	}
	unit_file("run/counters.json", "{\"version\"");
	ck_assert_int_eq(metrics_load(&metrics), -EBADMSG);
}
END_TEST

Suite *metrics_suite(void)
{
	Suite *suite = suite_create("metrics");
	TCase *c = tcase_create("metrics");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, counts_are_written);
	tcase_add_test(c, labels_are_bounded);
	tcase_add_test(c, labels_are_escaped);
	tcase_add_test(c, what_there_is_now);
	tcase_add_test(c, a_restart_goes_on_counting);
	tcase_add_test(c, a_damaged_file_counts_as_nothing);
	suite_add_tcase(suite, c);
	return suite;
}
