/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MESSAGE_IDs of the records that smmu-rasd writes. Each has its text for `journalctl -x` in
 * units/smmu-ras.catalog; a number, once released, keeps its meaning for ever.
 */
#ifndef SMMU_RAS_MESSAGES_H
#define SMMU_RAS_MESSAGES_H

/* Transitions of the kernel. */
#define MESSAGE_FENCED	  "9d965d9554094662890f9b0d02720a97"
#define MESSAGE_SANITIZED "7d7df4635d674a828c8f61c5ad8386c9"
#define MESSAGE_UNFENCED  "2ab575db0d4a4c44987aa4451aa6ba3f"
#define MESSAGE_REMOVED	  "221f3714889746ccb8f595ba08c3d693"

/* What the daemon does about it. */
#define MESSAGE_RECOVERY_BEGUN	"1c1e4371ed124e3fab7b13b909be0b04"
#define MESSAGE_STEP_DONE	"9bdd537ea68442faa0c9866163f41bf7"
#define MESSAGE_STEP_FAILED	"071db02d3fb24693b957a7cb8de5e8c0"
#define MESSAGE_STEP_STUCK	"2496456fb24143179ee632457dfc9bea"
#define MESSAGE_ATTEMPT_FAILED	"0be1a928af5b4f89be0150c5f41b188e"
#define MESSAGE_RECOVERED	"7b78c766589a45d4973dfc23f43523d0"
#define MESSAGE_ISOLATED	"9312bea4a1b04e45b01047338b3e7712"
#define MESSAGE_TAKEN_OUT	"211bd8c761584f5e92e965854f1ae80e"
#define MESSAGE_PROTECTED	"70a01e0347db48e5ba2f0cdbc475fea5"
#define MESSAGE_LEFT_TO_RESTART "0eea5a855a0c4713bbdc53608a79a6cb"
#define MESSAGE_IGNORED		"1b2ce776129d403a989af524f8be8bc5"
#define MESSAGE_ASKED		"b82759a323a84e4ab70e3d7fb7df4967"

/* The daemon itself. */
#define MESSAGE_POLICY_LOADED  "49a3f12399a14344ac7c2acf78f6ccb2"
#define MESSAGE_POLICY_REFUSED "76d2030fdb074cac854422995afb3302"
#define MESSAGE_NO_FAMILY      "028b8a8a6cdd4c87a63264d8604454b2"
#define MESSAGE_FAMILY	       "8e6b35954fc740cdb76edbca62170975"
#define MESSAGE_EVENTS_LOST    "60acc226ce234a3e92badcd905acbe97"
#define MESSAGE_RECORDS_LOST   "c1c1c7ba26d34b31a9a1f8a2e8a3d6f4"
#define MESSAGE_COLLAPSED      "b86d38a68d9249b4ad9f868778210aff"

#endif
