/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's insides.
 *
 * manager.c owns the event loop and signals, manager-kernel.c the kernel's sockets,
 * manager-policy.c the policy; device.h has the devices; report.c words what is told to the
 * journal. One thread; nothing here waits for anything but the event loop.
 */
#ifndef SMMU_RAS_MANAGER_H
#define SMMU_RAS_MANAGER_H

#include "device.h"
#include "gone.h"
#include "kernel-link.h"
#include "policy-force.h"
#include "spawner.h"

/* More fenced devices than any machine has; beyond it new ones are only logged. */
#define DEVICES_MAX 65536

LIST_HEAD(device_bucket, device);
TAILQ_HEAD(device_list, device);

/* For each device of a list; the device itself must stay in it. */
#define foreach_device(d, list, field)                                                             \
	for ((d) = TAILQ_FIRST(list); (d); (d) = TAILQ_NEXT(d, field))

/*
 * What is looked at first. The kernel's word goes before a worker's, so that what it said before
 * that is known before that; but who floods us with events does not keep workers waiting.
 */
enum {
	PRIORITY_CONTROL = SD_EVENT_PRIORITY_IMPORTANT - 10, /* signals, the watchdog */
	PRIORITY_KERNEL = SD_EVENT_PRIORITY_IMPORTANT,
	PRIORITY_WORKER = SD_EVENT_PRIORITY_NORMAL,
};

struct manager {
	sd_event *event;
	struct spawner spawner; /* of workers; without it there is no use in going on */

	struct kernel_link events;
	struct kernel_link dumps;
	sd_event_source *events_source;
	bool flooded; /* with events: they have no priority over workers just now */
	sd_event_source *dumps_source;
	sd_event_source *dump_retry;
	sd_event_source *clock_source;
	uint64_t last_seq;   /* of the family's events; 0: none yet */
	uint64_t generation; /* of the dump that runs, or ran last */
	bool dumping;
	bool dump_again;
	bool dump_bad;	    /* a message of it could not be read */
	bool events_lost;   /* since the last dump that leaves no question open */
	bool event_bad;	    /* likewise of the datagram at hand */
	bool overrun;	    /* events were lost, and more may be until the socket is empty */
	uint64_t dump_wait; /* us before the last retry; 0: none */
	bool ready;	    /* the kernel's devices are known */
	bool ready_told;    /* READY=1 was sent */
	uint64_t watchdog_usec;
	bool bad_message_logged;
	int load_error; /* why a record could not be read that may be good */

	struct policy *policy;
	bool policy_refused;		      /* the one on disk is not the one in force, */
	char policy_error[POLICY_ERROR_SIZE]; /* because of this */
	struct policy_force force;	      /* what is told about the one in force */

	struct device_bucket *buckets;
	size_t n_buckets;
	size_t n_devices;
	struct gone_list gone; /* devices that were removed, for people */
	bool table_full_logged;
	struct device_list devices;
	struct device_list queue;
	struct device_list busy;
	struct device_list dirty;   /* to be written to /run/smmu-rasd */
	struct device_list unsaved; /* the same, after it failed: until .save_source */
	sd_event_source *save_source;
	uint64_t save_wait; /* us before a save that failed is tried again; 0: they do not fail */
	bool save_retry;    /* .save_source is for those in .unsaved */
	sd_event_source *keep_timer;
	uint64_t keep_next; /* when the first record can be forgotten, us of CLOCK_BOOTTIME; 0: none
			     */
	unsigned int n_running;		       /* workers that are not stuck */
	TAILQ_HEAD(hook_list, hook_run) hooks; /* "after" hooks that run, or wait to; see hooks.h */
	unsigned int n_hooks_running;
	unsigned int n_hooks_hung; /* not counted as running: they cannot be killed */
	unsigned int n_hooks_waiting;
	bool queue_dirty; /* something may have its turn now */
	bool status_dirty;

	struct bus *bus;

	bool stopping;
	sd_event_source *stop_timer;
};

/* --- manager.c ------------------------------------------------------------------------------- */

/*
 * Sets everything up to the point where manager_run() can begin, and gives up what only workers
 * need. Takes over @spawner. Returns 0 or -errno, logged.
 */
int manager_new(struct manager **ret, struct spawner *spawner);
/* Runs until told to stop. Returns 0 or -errno. */
int manager_run(struct manager *m);
/* Reads the policy again. Returns 0, or -errno with .policy_error filled; both are logged. */
int manager_reload(struct manager *m);
/* Stops what runs, and frees all. NULL is fine. */
void manager_free(struct manager *m);

/* The kernel's devices are known: systemd hears that the daemon is ready. */
void manager_ready(struct manager *m);
/* Tells systemd, unless it has heard it already. */
void manager_tell_ready(struct manager *m);

/* --- manager-kernel.c ------------------------------------------------------------------------ */

/* Opens the sockets. Returns 0 or -errno, logged. */
int manager_kernel_open(struct manager *m);
/* Subscribes and asks for all devices, or waits for the family. Returns 0 or -errno, logged. */
int manager_kernel_setup(struct manager *m);
/* Asks it for all devices, as soon as that is possible; what it answers goes to the devices. */
void manager_ask_kernel(struct manager *m);

/* --- manager-policy.c ------------------------------------------------------------------------ */

/* Returns 0; or -errno when the policy on disk is refused, and another one is in force. Logged. */
int manager_load_policy(struct manager *m);

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
void report_taken_out(const struct device *d);
void report_left_to_restart(const struct device *d);
void report_ignored(const struct device *d);
/* Somebody of user @uid wants us to @what ("recover it"). */
void report_asked(const struct device *d, const char *what, uint32_t uid);
/* Anything else about a device, so that `journalctl SMMU_RAS_DEVICE=` shows it too. */
void report_device(const struct device *d, int level, const char *format, ...) _printf_(3, 4);

#endif
