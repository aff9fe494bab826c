/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of QEMU's pci-ats-test, as its docs/specs/pci-ats-test.rst has them. */
#ifndef ATS_TEST_HW_H
#define ATS_TEST_HW_H

#define ATS_TEST_VENDOR		0x1b36
#define ATS_TEST_DEVICE		0x00f0
#define ATS_TEST_VF_DEVICE	0x00f1
#define ATS_TEST_MAGIC		0x54535441

#define REG_MAGIC		0x00
#define REG_IOVA		0x08
#define REG_LEN			0x10
#define REG_PASID		0x14
#define   PASID_VALID		BIT(31)
#define REG_PATTERN		0x18
#define REG_COMMAND		0x1c
#define   CMD_TRANSLATE		1
#define   CMD_READ		2
#define   CMD_WRITE		3
#define   CMD_WRITE_STALE	4
#define   CMD_INTERRUPT		5
#define REG_STATUS		0x20
#define REG_MODE		0x24
#define REG_RESULT		0x28
#define REG_FLUSHED		0x30
#define REG_VIOLATIONS		0x34
#define REG_HAMMER		0x38
#define REG_REACH		0x3c
#define REG_INVS		0x40
#define REG_UNANSWERED		0x48
#define REG_BLOCKED		0x50
#define REG_ENTRIES		0x58
#define REG_STALE		0x60
#define REG_HAMMERED		0x68
#define REG_MISSED_NS		0x70
#define REG_CUT_OFF_NS		0x78
#define REG_NOW_NS		0x80

#endif
