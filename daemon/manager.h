/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's insides.
 *
 * manager.c owns the event loop, the kernel's sockets, signals and the policy; device-table.c finds
 * devices; device.c owns one device's way through the table of recovery.c; report.c words what is
 * told to the journal. One thread; nothing here waits for anything but the event loop.
 */
#ifndef SMMU_RAS_MANAGER_H
#define SMMU_RAS_MANAGER_H

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "kernel-link.h"
#include "policy.h"
#include "recovery.h"
#include "state.h"
#include "worker.h"

/* More fenced devices than any machine has; beyond it new ones are only logged. */
#define DEVICES_MAX 65536

/* Names of what a device must not share with another one that is being recovered. */
#define DEVICE_KEYS_MAX 3
#define DEVICE_KEY_SIZE 24

struct manager;

struct device {
	struct manager *manager;
	struct device_record record; /* what is on disk, or will be */
	struct ras_device kernel;    /* what the kernel said last */
	uint64_t generation;	     /* of the last dump, or event since, that told of it */
	bool resume;		     /* taken over from an earlier daemon, and not looked at yet */
	bool finish; /* unfenced, but we owe it its driver: the next attempt only binds */

	struct policy *policy; /* the policy when its recovery began; holds the rule */
	const struct rule *rule;
	char keys[DEVICE_KEYS_MAX][DEVICE_KEY_SIZE];
	unsigned int n_keys;

	struct job *job;      /* with a worker only */
	struct worker worker; /* .pid 0: none */
	bool worker_finished; /* it said WORKER_FINISHED, with these: */
	int worker_error;
	bool worker_protected;
	sd_event_source *worker_event;
	sd_event_source *worker_exit;
	uint64_t step_limit;	/* us that the present step may take */
	sd_event_source *timer; /* end of a step, or of a backoff */

	LIST_ENTRY(device) bucket;
	TAILQ_ENTRY(device) all;
	TAILQ_ENTRY(device) queue; /* while QUEUED */
	TAILQ_ENTRY(device) busy;  /* while it has a worker */
};

LIST_HEAD(device_bucket, device);
TAILQ_HEAD(device_list, device);

/* For each device of a list; the device itself must stay in it. */
#define foreach_device(d, list, field)                                                             \
	for ((d) = TAILQ_FIRST(list); (d); (d) = TAILQ_NEXT(d, field))

struct manager {
	sd_event *event;

	struct kernel_link events;
	struct kernel_link dumps;
	sd_event_source *events_source;
	sd_event_source *dumps_source;
	sd_event_source *dump_retry;
	uint64_t last_seq;   /* of the family's events; 0: none yet */
	uint64_t generation; /* of the dump that runs, or ran last */
	bool dumping;
	bool dump_again;
	bool dump_bad;	    /* a message of it could not be read */
	bool event_bad;	    /* likewise of the datagram at hand */
	uint64_t dump_wait; /* us before the last retry; 0: none */
	bool ready;	    /* the kernel's devices are known */
	bool ready_told;    /* READY=1 was sent */
	uint64_t watchdog_usec;
	bool bad_message_logged;

	struct policy *policy;
	bool policy_refused; /* the one on disk is not the one in force */

	struct device_bucket *buckets;
	size_t n_buckets;
	size_t n_devices;
	bool table_full_logged;
	struct device_list devices;
	struct device_list queue;
	struct device_list busy;
	unsigned int n_running; /* workers that are not stuck */
	bool queue_dirty;	/* something may have its turn now */
	bool status_dirty;

	bool stopping;
	sd_event_source *stop_timer;
};

/* Sets everything up to the point where manager_run() can begin. Returns 0 or -errno, logged. */
int manager_new(struct manager **ret);
/* Runs until told to stop. Returns 0 or -errno. */
int manager_run(struct manager *m);
/* Stops what runs, and frees all. NULL is fine. */
void manager_free(struct manager *m);

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

/* --- device.c -------------------------------------------------------------------------------- */

/* The kernel said something about a device: an event, or a reply (KERNEL_DEVICE). */
void device_kernel_update(struct manager *m, enum kernel_message_type type,
			  const struct ras_device *info);
/* A whole dump did not name the device: it is active, or gone. */
void device_not_in_dump(struct device *d);
/* Takes over what an earlier daemon left on disk. */
void device_load(struct manager *m, const struct device_record *record, int error);
/* The policy changed: decide again, where that was policy's decision. */
void device_policy_changed(struct device *d);
/* Starts what has its turn. */
void devices_run_queue(struct manager *m);

/* --- report.c -------------------------------------------------------------------------------- */

void report_kernel(const struct device *d, enum kernel_message_type type,
		   const struct ras_device *info);
void report_begun(const struct device *d);
void report_step(const struct device *d, const struct worker_message *message);
void report_stuck(const struct device *d);
void report_attempt_failed(const struct device *d, uint64_t wait);
void report_recovered(const struct device *d);
void report_isolated(const struct device *d);
void report_protected(const struct device *d);
void report_left_to_restart(const struct device *d);
void report_ignored(const struct device *d);
/* Somebody of user @uid wants us to @what ("recover it"). */
void report_asked(const struct device *d, const char *what, uint32_t uid);
/* Anything else about a device, so that `journalctl SMMU_RAS_DEVICE=` shows it too. */
void report_device(const struct device *d, int level, const char *format, ...) _printf_(3, 4);

#endif
