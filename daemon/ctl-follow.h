/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens, in lines for people and in JSON; and one device's recovery, followed to its end. */
#ifndef SMMU_RAS_CTL_FOLLOW_H
#define SMMU_RAS_CTL_FOLLOW_H

#include "ctl-story.h"
#include "ctl-watch.h"

/* Prints one event as a line. Returns 0, or -EPIPE when nobody reads it. */
int follow_print(const struct ctl *ctl, const struct watch_event *event);

/* Whether an event is about PCI device @dev; WATCH_LOST and WATCH_DAEMON are about all. */
bool follow_is_about(const struct watch_event *event, const char *dev);

/*
 * Follows device @dev until it works again or somebody is needed, printing what happens. @w was
 * opened by follow_open() before that began. Returns an exit status, having said how it ended.
 */
struct follow {
	const struct ctl *ctl;
	struct watch watch;
	char dev[PCI_NAME_SIZE];
	uint64_t begun;		     /* us of CLOCK_MONOTONIC */
	uint64_t begun_at;	     /* us of CLOCK_REALTIME */
	bool want_isolated;	     /* that is what was asked for */
	char stuck[STATE_STEP_SIZE]; /* the step that it is stuck in, which ends the following */
	bool unfenced;		     /* the kernel said so last */
	uint64_t outage;	     /* us, when it is over */
	uint64_t fenced_at;	     /* us of CLOCK_MONOTONIC */
};
int follow_open(struct follow *f, const struct ctl *ctl, const char *dev);
int follow_to_the_end(struct follow *f);
void follow_close(struct follow *f);

#endif
