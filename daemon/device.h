/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One device, and its way through the table of recovery.c.
 *
 *   device-table.c   finds devices, and says which of them are related
 *   device-kernel.c  what the kernel said becomes an input
 *   device-load.c    what an earlier daemon left
 *   device-policy.c  which rule holds, and what it says now
 *   device.c         inputs become a new state, and actions
 *   attempt.c        the action that takes long: a worker, from its start to its end
 *   attempt-end.c    what its end means
 *   device-record.c  what is remembered, what is owed, and for how long
 *   operator.h       what people ask for
 */
#ifndef SMMU_RAS_DEVICE_H
#define SMMU_RAS_DEVICE_H

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "bus.h"
#include "policy.h"
#include "recovery.h"
#include "state.h"
#include "worker.h"

/* Names of what a device must not share with another one that is being recovered. */
#define DEVICE_KEYS_MAX 12
#define PHYSFN_SIZE	24

struct manager;

struct device {
	struct manager *manager;
	struct device_record record; /* what is on disk, or will be */
	struct ras_device kernel;    /* what the kernel said last */
	uint64_t generation;	     /* of the last dump, or event since, that told of it */
	uint64_t listed;	     /* of the last dump that told of it */
	bool resume;		     /* taken over from an earlier daemon, and not looked at yet */
	bool redecide;		     /* likewise, and policy had said to leave it alone */
	bool finish; /* unfenced, but we owe it its driver: the next attempt only binds */

	struct policy *policy; /* the policy when its recovery began; holds the rule */
	const struct rule *rule;
	uint64_t keys[DEVICE_KEYS_MAX]; /* hashes: two that are equal make more related, not less */
	unsigned int n_keys;
	char physfn[PHYSFN_SIZE]; /* of a virtual function; "" otherwise */

	struct job *job;      /* with a worker only */
	struct worker worker; /* .pid 0: none */
	bool worker_finished; /* it said WORKER_FINISHED, with these: */
	int worker_error;
	bool worker_protected;
	bool worker_vetoed;	/* a hook wants it left alone */
	bool worker_refenced;	/* the fence that it was about is over, and there is another one */
	bool counted;		/* the attempt is one of those that policy allows */
	bool finishing;		/* it does only what is left to do to a device that is unfenced */
	bool postponed;		/* nothing was done, for want of a descriptor or of memory */
	bool prepared_before;	/* .prepared as it was when it began */
	uint64_t attempt_fence; /* the fence_id that it is about */
	unsigned int refences;	/* how often in a row it was fenced anew after it had ended well */
	sd_event_source *worker_event;
	sd_event_source *worker_exit;
	uint64_t step_limit;	/* us that the present step may take */
	uint64_t step_begun;	/* us of CLOCK_MONOTONIC */
	sd_event_source *timer; /* end of a step, or of a backoff */

	LIST_ENTRY(device) bucket;
	TAILQ_ENTRY(device) all;
	TAILQ_ENTRY(device) queue; /* while QUEUED */
	TAILQ_ENTRY(device) busy;  /* while it has a worker */
	TAILQ_ENTRY(device) dirty; /* while .is_dirty */
	bool is_dirty;
	bool is_unsaved; /* in the list of those that could not be written, of the dirty ones */
	struct bus_view bus;
};

/* --- device-table.c -------------------------------------------------------------------------- */

struct device *device_find(struct manager *m, const char *bus, const char *dev);
/* Also registers it. NULL when there are too many, or no memory; logged. */
struct device *device_new(struct manager *m, const char *bus, const char *dev);
void device_free(struct device *d);
/* Finds out what the device must not share with another one, for devices_related(). */
void device_find_keys(struct device *d);
/* Must the two take turns? */
bool devices_related(const struct device *a, const struct device *b);
/* Forgets a worker that has ended. */
void device_worker_close(struct device *d);

/* --- device-kernel.c ------------------------------------------------------------------------- */

/* The kernel said something about a device: an event, or a reply (KERNEL_DEVICE). */
void device_kernel_update(struct manager *m, enum kernel_message_type type,
			  const struct ras_device *info);
/* A whole dump did not name the device: it is active, or gone. */
void device_not_in_dump(struct device *d);
/* Begins to deal with a fence; @new_fence: it was not known before. */
void device_fenced(struct device *d, bool new_fence);
/*
 * The worker of an earlier daemon has ended at last: its attempt goes on from what that one had
 * written, as if the two had ended together. The device is fenced, or out of the system.
 */
void device_resume(struct device *d);

/* --- device-load.c --------------------------------------------------------------------------- */

/* Takes over what an earlier daemon left on disk. */
void device_load(struct manager *m, const struct device_record *record, int error);

/* --- device-policy.c ------------------------------------------------------------------------- */

/* Finds the rule for the device in the policy in force. */
void device_find_rule(struct device *d);
/*
 * What to do about a fence that has not been dealt with, or (@resume) not to the end:
 * INPUT_RECOVER, INPUT_ISOLATE or INPUT_IGNORE. Counts for the rate limit, unless @resume.
 */
enum recovery_input device_decide(struct device *d, bool resume);
/* The policy changed: decide again, where that was policy's decision. */
void device_policy_changed(struct device *d);

/* --- device.c -------------------------------------------------------------------------------- */

/* Takes the device a step further. May free it. */
void device_apply(struct device *d, enum recovery_input input);
/* In a state that lasts until something comes from outside? */
bool device_settled(const struct device *d);
/* Does the kernel block it? */
bool device_is_fenced(const struct device *d);
/* A timer that ends a step or a backoff; there is one of them. @usec is CLOCK_MONOTONIC. */
void device_timer_start(struct device *d, uint64_t usec, sd_event_time_handler_t handler);
void device_timer_stop(struct device *d);
/* Is -errno @r the want of something that others will give back, and no fault of the device? */
bool device_shortage(int r);
/* Starts what has its turn. */
void devices_run_queue(struct manager *m);

/* --- attempt.c ------------------------------------------------------------------------------- */

void attempt_start(struct device *d);
/* Ends the worker as soon as the kernel lets it go, which may be never. */
void attempt_kill(struct device *d);
/* Becomes the one who waits for the worker in .worker. Returns 0 or -errno. */
int attempt_watch(struct device *d);
/* The step that its worker is, or was, in; for people. */
const char *attempt_step(const struct device *d);

/* --- attempt-end.c --------------------------------------------------------------------------- */

/* The worker is gone, whatever it did. May free the device. */
void attempt_ended(struct device *d);

/* --- device-record.c ------------------------------------------------------------------------- */

/* Why the device is in its state, for people. */
void device_set_note(struct device *d, const char *format, ...) _printf_(2, 3);
/* People can see a difference: it is told to them, and written to disk soon. */
void device_changed(struct device *d);
/* Writes it to disk now. Returns 0 or -errno; then it is tried again later, and said once. */
int device_save(struct device *d);
/* Writes what is dirty, as much as fits into one turn of the loop. */
void devices_save(struct manager *m);
/* It is not waiting to be written any more. */
void device_undirty(struct device *d);
/* Adds the end of a step, or of something like one, to the history. */
void device_add_history(struct device *d, const char *step, int error, uint64_t duration,
			const char *note);
/* What was owed to the device is given back, or not owed any more. */
void device_forget_debt(struct device *d);
/* Nothing of the story is this device's: neither what is owed, nor how often it was recovered. */
void device_forget_story(struct device *d);
/* Is another device in the place of the one that the record is about? */
bool device_replaced(const struct device *d);
/* Is it out of the system, by a step that is to bring it back? */
bool device_is_away(const struct device *d);
/* Is there something to put back that an attempt took away? */
bool device_owed(const struct device *d);
/* The story is over. Frees the device at once, or when its rate limit has passed. */
void device_retire(struct device *d);
/* Frees one whose story is over, to make room. Returns false when there is none. */
bool device_evict(struct manager *m);

#endif
