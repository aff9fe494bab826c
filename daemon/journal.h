/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the journal gets over time: a burst of records of one kind ends in a summary, and what the
 * journal did not take is made up for when it reads again.
 */
#ifndef SMMU_RAS_JOURNAL_H
#define SMMU_RAS_JOURNAL_H

#include <systemd/sd-event.h>

#include "util.h"

/* Kinds of records that a summary can stand for. What people must act on is not among them. */
enum journal_kind {
	JOURNAL_FENCED,
	JOURNAL_SANITIZED,
	JOURNAL_UNFENCED,
	JOURNAL_REMOVED,
	JOURNAL_BEGUN,
	JOURNAL_STEP_DONE,
	JOURNAL_STEP_FAILED,
	JOURNAL_ATTEMPT_FAILED,
	JOURNAL_RECOVERED,
	JOURNAL_IGNORED,
	_JOURNAL_KIND_MAX,
};

/* Records of one kind that are written at once; and how many more of them each second. */
#define JOURNAL_BURST	   100
#define JOURNAL_PER_SECOND 10

/*
 * Uses the loop for summaries, and for records that were lost. Before it, and after
 * journal_stop(), which writes what is due, every record is written. Returns 0 or -errno.
 */
int journal_start(sd_event *event);
void journal_stop(void);

/*
 * May a record of this kind about @dev be written? If not, the device is named in a summary that
 * follows within a second.
 */
bool journal_admits(enum journal_kind kind, const char *dev);

#endif
