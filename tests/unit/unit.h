/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unit tests: one suite for each file under test. */
#ifndef SMMU_RAS_UNIT_H
#define SMMU_RAS_UNIT_H

#include <check.h>
#include <stdbool.h>

Suite *util_suite(void);
Suite *log_suite(void);
Suite *metrics_suite(void);
Suite *journal_suite(void);
Suite *pci_name_suite(void);
Suite *by_hand_suite(void);
Suite *kernel_msg_suite(void);
Suite *policy_suite(void);
Suite *policy_errors_suite(void);
Suite *policy_shipped_suite(void);
Suite *pci_slot_suite(void);
Suite *exec_suite(void);
Suite *job_message_suite(void);
Suite *confine_suite(void);
Suite *recovery_suite(void);
Suite *state_suite(void);
Suite *protect_suite(void);
Suite *operator_suite(void);
Suite *protect_net_suite(void);
Suite *uapi_suite(void);

/* A fresh directory that stands for the whole machine (see unit-host.c). */
void unit_host_setup(void);
void unit_host_teardown(void);
const char *unit_host_root(void);

/* Writes a file below the root, making its directories. */
void unit_file(const char *name, const char *text);
/* Makes a symbolic link below the root. */
void unit_link(const char *name, const char *target);

/* What was logged, a sentence a line; and whether the journal takes nothing. */
extern char unit_journal[4096];
extern bool unit_journal_is_stuck;
/* The first records, with all their fields: "\nNAME=value\nNAME=value\n". */
#define UNIT_RECORDS_MAX 4096
extern char *unit_records[UNIT_RECORDS_MAX];
extern unsigned int unit_n_records;

/* Has stderr lead into a pipe that nobody empties, and that is full. */
void unit_stuff_stderr(int ends[static 2]);

#endif
