/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers for a monitoring system: what is counted, kept across restarts, and written as text.
 *
 * The daemon counts in metrics-daemon.c and keeps /run/smmu-rasd/counters.json, which smmu-rasctl
 * reads too, and /run/smmu-rasd/metrics.prom for node_exporter's textfile collector. Names and
 * labels are an interface: config/monitoring/README.md.
 */
#ifndef SMMU_RAS_METRICS_H
#define SMMU_RAS_METRICS_H

#include <jansson.h>
#include <stdio.h>

#include "kernel-msg.h"
#include "name-set.h"
#include "recovery.h"
#include "state.h"

/* Reasons of a fence by their number; 0 for those this program does not know. */
#define METRICS_REASONS 5
/* Steps that failures are counted for by name; those of policy are fewer. */
#define METRICS_STEPS 16

/* How the story of a fence ended, as far as the daemon is concerned. */
enum metrics_result {
	METRICS_RECOVERED,
	METRICS_EXHAUSTED,    /* all attempts failed */
	METRICS_PROTECTED,    /* in use */
	METRICS_RATE_LIMITED, /* recovered too often */
	METRICS_POLICY,	      /* a rule says isolate or ignore */
	METRICS_OPERATOR,     /* somebody said so */
	_METRICS_RESULT_MAX,
};

/* Upper ends of the buckets for the time from fence to recovery, us; one more for the rest. */
#define METRICS_BUCKETS 11
extern const uint64_t metrics_buckets[METRICS_BUCKETS - 1];

struct metrics {
	/* Per device, for the first NAME_SET_MAX of them; the last row is all the others together.
	 */
	struct name_set devices;
	uint64_t fences[NAME_SET_MAX + 1][METRICS_REASONS];
	struct {
		char name[STATE_STEP_SIZE]; /* the last one: all others */
		uint64_t failures;
		uint64_t timeouts;
	} steps[METRICS_STEPS];
	size_t n_steps;
	uint64_t results[_METRICS_RESULT_MAX];
	uint64_t attempts;
	uint64_t attempts_failed;
	uint64_t duration[METRICS_BUCKETS]; /* each for itself */
	uint64_t duration_sum;		    /* us */
	uint64_t events_lost;
	bool policy_refused;
};

void metrics_count_fence(struct metrics *metrics, const char *dev, uint32_t reason);
void metrics_count_step(struct metrics *metrics, const char *step, bool timeout);
void metrics_count_recovery(struct metrics *metrics, uint64_t usec);

/* As JSON, and back. The caller drops the reference; NULL: out of memory. */
json_t *metrics_to_json(const struct metrics *metrics);
/* What cannot be read counts as 0: a counter may begin anew at any time. */
void metrics_from_json(const json_t *json, struct metrics *ret);

/* Writes the daemon's file; atomically, and never to a disk. Returns 0 or -errno. */
int metrics_save(const struct metrics *metrics);
/* Returns 0, -ENOENT when there is none, or another -errno. */
int metrics_load(struct metrics *ret);

/* What there is at the moment. */
struct metrics_now {
	bool daemon_runs;
	bool kernel_support;
	uint64_t fenced; /* by state */
	uint64_t sanitized;
	uint64_t recovery[_RECOVERY_STATE_MAX];
	/* The fenced ones, and those that the daemon is not done with; the first of them. */
	struct metrics_device {
		char dev[RAS_DEV_SIZE];
		char driver[RAS_NAME_SIZE];
		uint32_t state;
		uint32_t reason;
		bool has_record;
		enum recovery_state recovery;
		uint64_t fence_time; /* us of CLOCK_REALTIME; 0: not known */
	} devices[NAME_SET_MAX];
	size_t n_devices;
};

/* Adds a device to the sums, and to the list if there is room. @record may be NULL. */
void metrics_now_add(struct metrics_now *now, const struct ras_device *kernel,
		     const struct device_record *record);

/*
 * Writes all as OpenMetrics text, or (@prometheus) in the older format of Prometheus that the
 * textfile collector reads. @metrics may be NULL. Returns 0, or -EIO.
 */
int metrics_write(FILE *f, const struct metrics *metrics, const struct metrics_now *now,
		  bool prometheus);

/* --- metrics-daemon.c ------------------------------------------------------------------------ */

struct manager;

/* Reads what an earlier daemon counted. Returns 0 or -errno. */
int metrics_start(struct manager *m);
/* Writes it all once more. */
void metrics_stop(void);
/* Something that the text tells of may have changed: it is written soon. */
void metrics_changed(void);
/* The daemon's own, for counting; also says that it changed. Before metrics_start() counts too. */
struct metrics *metrics_counting(void);

#endif
