// SPDX-License-Identifier: GPL-2.0-or-later
#include "unit.h"

#include "by-hand.h"
#include "util.h"

static const struct {
	uint32_t state;
	const char *driver;
	const char *wanted;
	const char *command;
} cases[] = {
	/* Nothing holds it: reset, then whoever is to have it. */
	{IOMMU_RAS_STATE_FENCED, "", "nvme",
	 "echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset && "
	 "echo 0000:01:00.0 > /sys/bus/pci/drivers/nvme/bind"},
	/* Nobody is to have it: attached, it works for whoever comes. */
	{IOMMU_RAS_STATE_FENCED, "", "",
	 "echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset && smmu-rasctl reattach 0000:01:00.0"},
	/* The built-in rule takes off the driver. */
	{IOMMU_RAS_STATE_FENCED, "nvme", "nvme",
	 "echo 0000:01:00.0 > /sys/bus/pci/drivers/nvme/unbind && "
	 "echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset && "
	 "echo 0000:01:00.0 > /sys/bus/pci/drivers/nvme/bind"},
	{IOMMU_RAS_STATE_SANITIZED, "nvme", "nvme", "smmu-rasctl reattach 0000:01:00.0"},
	{IOMMU_RAS_STATE_ACTIVE, "", "nvme", "echo 0000:01:00.0 > /sys/bus/pci/drivers/nvme/bind"},
	{IOMMU_RAS_STATE_ACTIVE, "nvme", "nvme", ""},
};

START_TEST(commands_for_each_state)
{
	const struct by_hand h = {.bus = "pci",
				  .dev = "0000:01:00.0",
				  .state = cases[_i].state,
				  .driver = cases[_i].driver,
				  .wanted = cases[_i].wanted};
	char buf[BY_HAND_SIZE];

	ck_assert_str_eq(by_hand_command(&h, buf), cases[_i].command);
}
END_TEST

/* Whatever the kernel said of it last: there is no device any more that could be reset. */
START_TEST(what_is_out_of_the_system_is_looked_for)
{
	const struct by_hand h = {.bus = "pci",
				  .dev = "0000:01:00.0",
				  .state = IOMMU_RAS_STATE_FENCED,
				  .driver = "",
				  .wanted = "nvme",
				  .away = true};
	char buf[BY_HAND_SIZE];

	ck_assert_str_eq(by_hand_command(&h, buf), "echo 1 > /sys/bus/pci/rescan");
}
END_TEST

START_TEST(a_rule_that_resets_in_place_leaves_the_driver)
{
	struct rule *rule = rule_new("in-place", "built in");
	struct by_hand h = {.bus = "pci",
			    .dev = "0000:01:00.0",
			    .state = IOMMU_RAS_STATE_FENCED,
			    .driver = "nvme",
			    .wanted = "nvme",
			    .rule = rule};
	char buf[BY_HAND_SIZE];

	rule->n_steps = 1;
	rule->steps[0].kind = STEP_RESET;
	ck_assert_str_eq(by_hand_command(&h, buf),
			 "echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset");
	rule_free(rule);
}
END_TEST

static void add(struct device_record *record, uint32_t attempt, const char *step, const char *note)
{
	struct step_result result = {.attempt = attempt, .error = note ? -5 : 0};

	str_copy(result.step, sizeof(result.step), step);
	str_copy(result.note, sizeof(result.note), note ? note : "in place");
	record_add_history(record, &result);
}

START_TEST(what_was_tried_in_few_words)
{
	struct device_record record = {0};
	char buf[BY_HAND_SIZE];

	ck_assert_str_eq(tried_text(&record, buf), "");
	add(&record, 1, "unbind", NULL);
	add(&record, 1, "reset", "reset: timed out");
	ck_assert_str_eq(tried_text(&record, buf),
			 "attempt 1: unbind done, reset failed (timed out)");
	/* The next one has nothing to unbind: it is not the same. */
	add(&record, 2, "reset", "timed out");
	add(&record, 3, "reset", "timed out");
	ck_assert_str_eq(tried_text(&record, buf),
			 "attempt 1: unbind done, reset failed (timed out); attempts 2 to 3: reset "
			 "failed (timed out)");
	/* Another reason is another end; and what the record says is not said again. */
	add(&record, 4, "reset", "no such method");
	str_copy(record.note, sizeof(record.note), "reset: no such method");
	ck_assert_str_eq(tried_text(&record, buf),
			 "attempt 1: unbind done, reset failed (timed out); attempts 2 to 3: reset "
			 "failed (timed out); attempt 4: reset failed");
	/* As long as a history can be, with notes as long as they can be. */
	for (uint32_t i = 5; i < 5 + RECORD_HISTORY_MAX; i++) {
		char note[128];

		memset(note, 'a' + (int)(i % 20), sizeof(note) - 1);
		note[sizeof(note) - 1] = '\0';
		add(&record, i, "slot-power-cycle", note);
	}
	ck_assert_uint_eq(strlen(tried_text(&record, buf)), BY_HAND_SIZE - 1);
	record_clear_history(&record);
}
END_TEST

Suite *by_hand_suite(void)
{
	Suite *suite = suite_create("by-hand");
	TCase *c = tcase_create("by-hand");

	tcase_add_loop_test(c, commands_for_each_state, 0, ARRAY_SIZE(cases));
	tcase_add_test(c, what_is_out_of_the_system_is_looked_for);
	tcase_add_test(c, a_rule_that_resets_in_place_leaves_the_driver);
	tcase_add_test(c, what_was_tried_in_few_words);
	suite_add_tcase(suite, c);
	return suite;
}
