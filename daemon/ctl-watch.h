/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Follows what happens: the kernel's events, and what the daemon writes about each device in
 * /run/smmu-rasd, noticed by inotify(7). That needs no privilege and no bus, tells every step, and
 * survives that the daemon ends and starts again.
 */
#ifndef SMMU_RAS_CTL_WATCH_H
#define SMMU_RAS_CTL_WATCH_H

#include "ctl.h"

enum watch_type {
	WATCH_FENCED,	 /* .device is fenced, or sanitized, already */
	WATCH_KERNEL,	 /* .device is what the kernel says in an event, .event its kind */
	WATCH_LOST,	 /* events were lost; a WATCH_FENCED follows for each that is fenced */
	WATCH_STEP,	 /* .step has ended, of .record */
	WATCH_RECORD,	 /* .record has changed its state or its step; .before was so */
	WATCH_FORGOTTEN, /* the daemon has nothing more to tell of the device of .before */
	WATCH_DAEMON,	 /* it began to run, or ended: .daemon */
};

struct watch_event {
	enum watch_type type;
	const struct ras_device *device;
	enum kernel_message_type event;
	const struct device_record *record;
	const struct device_record *before; /* or NULL */
	const struct step_result *step;
	bool daemon;
};

/* A return value other than 0 ends the watching, and is passed on. */
typedef int (*watch_handler)(const struct watch_event *event, void *userdata);

struct watch {
	struct kernel_link link;
	uint64_t last_seq;
	int inotify;
	int parent; /* watch descriptors; -1: none */
	int run;
	int devices;
	bool daemon;
	bool daemon_asked; /* look once more a little later */
	struct device_record *records;
	size_t n_records;
	size_t size;
	watch_handler handler;
	void *userdata;
};

/*
 * Begins. What was there before is told to nobody but what is fenced, by watch_run(). Returns an
 * exit status, having said what is wrong. watch_close() it in any case.
 */
int watch_open(struct watch *w, watch_handler handler, void *userdata);
void watch_close(struct watch *w);

/* Tells what is fenced now. Returns 0, or what the handler returned, or -errno. */
int watch_tell_fenced(struct watch *w);

/*
 * Waits for what happens, until the handler ends it, or @until (CLOCK_MONOTONIC us; USEC_INFINITY
 * for ever), and returns what the handler returned, or 0; -EINTR when SIGINT, SIGTERM or SIGHUP
 * came; -EPIPE when nobody reads stdout any more; -errno.
 */
int watch_run(struct watch *w, uint64_t until);

#endif
