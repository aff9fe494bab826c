// SPDX-License-Identifier: GPL-2.0-or-later
/* What operators ask for, in each state. Workers are not started: nothing runs the loop. */
#include <errno.h>

#include "log.h"
#include "manager.h"
#include "operator.h"
#include "unit.h"

#define DEV "0000:01:00.0"

static struct manager m;
static char reason[OPERATOR_REASON_SIZE];

static void setup(void)
{
	unit_host_setup();
	log_open();
	memset(&m, 0, sizeof(m));
	TAILQ_INIT(&m.devices);
	TAILQ_INIT(&m.queue);
	TAILQ_INIT(&m.busy);
	TAILQ_INIT(&m.dirty);
	ck_assert_int_ge(sd_event_new(&m.event), 0);
	m.policy = policy_new();
	ck_assert_int_eq(policy_finish(m.policy), 0);
	unit_file("sys/bus/pci/devices/" DEV "/vendor", "0x1b36\n");
	reason[0] = '\0';
}

static void teardown(void)
{
	struct device *d;

	while ((d = TAILQ_FIRST(&m.devices)))
		device_free(d);
	free(m.buckets);
	m.save_source = sd_event_source_disable_unref(m.save_source);
	m.keep_timer = sd_event_source_disable_unref(m.keep_timer);
	policy_unref(m.policy);
	sd_event_unref(m.event);
	unit_host_teardown();
}

static struct device *fenced_in(enum recovery_state state)
{
	struct ras_device info = {.bus = "pci",
				  .dev = DEV,
				  .fence_id = 1,
				  .event_seq = 1,
				  .state = IOMMU_RAS_STATE_FENCED,
				  .reason = IOMMU_RAS_REASON_ATC_TIMEOUT};
	struct device *d;

	device_kernel_update(&m, KERNEL_FENCED, &info);
	d = device_find(&m, "pci", DEV);
	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(d->record.state, RECOVERY_QUEUED);
	if (state != RECOVERY_QUEUED)
		TAILQ_REMOVE(&m.queue, d, queue);
	if (state == RECOVERY_RUNNING)
		m.n_running++;
	d->record.state = state;
	d->record.attempts = 3;
	d->record.left = state == RECOVERY_ISOLATED ? LEFT_EXHAUSTED : LEFT_NOT;
	return d;
}

START_TEST(unknown_and_healthy_devices)
{
	static const char *const unknown[] = {"0000:77:00.0", "", ".", "../x", "a/b"};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		ck_assert_int_eq(device_request_recover(&m, unknown[i], false, reason), -ENODEV);
		ck_assert_int_eq(device_request_isolate(&m, unknown[i], reason), -ENODEV);
	}
	ck_assert_int_eq(device_request_recover(&m, DEV, false, reason), -ENOENT);
	ck_assert_ptr_nonnull(strstr(reason, "is not fenced"));
	ck_assert_int_eq(device_request_isolate(&m, DEV, reason), -ENOENT);
}
END_TEST

static const struct {
	enum recovery_state state;
	int recover;
	int isolate;
	enum recovery_state isolated;
} answers[] = {
	{RECOVERY_QUEUED, -EALREADY, 0, RECOVERY_ISOLATED},
	{RECOVERY_RUNNING, -EALREADY, 0, RECOVERY_RUNNING},
	{RECOVERY_STUCK, -EBUSY, 0, RECOVERY_STUCK},
	{RECOVERY_BACKOFF, 0, 0, RECOVERY_ISOLATED},
	{RECOVERY_ISOLATED, 0, 0, RECOVERY_ISOLATED},
	{RECOVERY_IGNORED, 0, 0, RECOVERY_ISOLATED},
	{RECOVERY_GONE, -ENODEV, -ENODEV, RECOVERY_GONE},
};

START_TEST(recover_in_each_state)
{
	struct device *d = fenced_in(answers[_i].state);
	int r = device_request_recover(&m, DEV, true, reason);

	ck_assert_int_eq(r, answers[_i].recover);
	ck_assert(r == 0 || reason[0]);
	if (r == 0) {
		ck_assert_int_eq(d->record.state, RECOVERY_QUEUED);
		ck_assert_ptr_eq(TAILQ_FIRST(&m.queue), d);
		ck_assert_uint_eq(d->record.attempts, 0);
		ck_assert_int_eq(d->record.left, LEFT_NOT);
		ck_assert(d->record.force);
	} else {
		ck_assert_int_eq(d->record.state, answers[_i].state);
		ck_assert_uint_eq(d->record.attempts, 3);
	}
}
END_TEST

START_TEST(isolate_in_each_state)
{
	struct device *d = fenced_in(answers[_i].state);

	/* Twice is as once. */
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(device_request_isolate(&m, DEV, reason), answers[_i].isolate);
	ck_assert_int_eq(d->record.state, answers[_i].isolated);
	if (answers[_i].isolate == 0)
		ck_assert_int_eq(d->record.left, LEFT_OPERATOR);
}
END_TEST

START_TEST(what_an_operator_isolated_no_policy_brings_back)
{
	struct device *d = fenced_in(RECOVERY_QUEUED);

	ck_assert_int_eq(device_request_isolate(&m, DEV, reason), 0);
	device_policy_changed(d);
	ck_assert_int_eq(d->record.state, RECOVERY_ISOLATED);
	ck_assert_int_eq(device_request_recover(&m, DEV, false, reason), 0);
	ck_assert(!d->record.force);
	ck_assert_int_eq(d->record.state, RECOVERY_QUEUED);
}
END_TEST

Suite *operator_suite(void)
{
	Suite *suite = suite_create("operator");
	TCase *c = tcase_create("operator");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, unknown_and_healthy_devices);
	tcase_add_loop_test(c, recover_in_each_state, 0, ARRAY_SIZE(answers));
	tcase_add_loop_test(c, isolate_in_each_state, 0, ARRAY_SIZE(answers));
	tcase_add_test(c, what_an_operator_isolated_no_policy_brings_back);
	suite_add_tcase(suite, c);
	return suite;
}
