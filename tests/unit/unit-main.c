// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>

#include "unit.h"

int main(void)
{
	SRunner *runner;
	int failed;
	int run;

	/* Check's own four seconds are few for a busy machine; this is for what hangs. */
	setenv("CK_DEFAULT_TIMEOUT", "60", 0); /* NOLINT(concurrency-mt-unsafe) */
	runner = srunner_create(util_suite());
	srunner_add_suite(runner, log_suite());
	srunner_add_suite(runner, journal_suite());
	srunner_add_suite(runner, metrics_suite());
	srunner_add_suite(runner, pci_name_suite());
	srunner_add_suite(runner, by_hand_suite());
	srunner_add_suite(runner, kernel_msg_suite());
	srunner_add_suite(runner, policy_suite());
	srunner_add_suite(runner, policy_errors_suite());
	srunner_add_suite(runner, policy_shipped_suite());
	srunner_add_suite(runner, pci_slot_suite());
	srunner_add_suite(runner, exec_suite());
	srunner_add_suite(runner, job_message_suite());
	srunner_add_suite(runner, confine_suite());
	srunner_add_suite(runner, recovery_suite());
	srunner_add_suite(runner, state_suite());
	srunner_add_suite(runner, operator_suite());
	srunner_add_suite(runner, protect_suite());
	srunner_add_suite(runner, protect_net_suite());
	srunner_add_suite(runner, uapi_suite());
	/* Each test in a process of its own: one that crashes fails alone. */
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_SILENT);
	srunner_print(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	run = srunner_ntests_run(runner);
	srunner_free(runner);
	printf("%d passed, %d failed, 0 skipped\n", run - failed, failed);
	return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
