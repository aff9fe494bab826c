// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts what happens in the daemon, and writes it to /run/smmu-rasd from time to time. */
#include <errno.h>
#include <time.h>

#include "host.h"
#include "log.h"
#include "manager.h"
#include "metrics.h"

/* Prometheus looks once in 15 s as a rule. Nothing is written while nothing changes. */
#define WRITE_USEC (5 * USEC_PER_SEC)

static struct metrics counters;
static struct manager *manager;
static sd_event_source *timer;
static uint64_t written; /* us of CLOCK_MONOTONIC; 0: never */
static bool failed_logged;

static void collect(struct metrics_now *now, bool runs)
{
	struct device *d;

	now->daemon_runs = runs;
	now->kernel_support = manager->events.family != 0;
	counters.policy_refused = manager->policy_refused;
	foreach_device (d, &manager->devices, all)
		metrics_now_add(now, &d->kernel, &d->record);
}

static int write_text(const struct metrics_now *now)
{
	char path[512];
	char new[520];
	FILE *f;
	int r;

	snprintf(path, sizeof(path), "%s/metrics.prom", host_dir(HOST_RUN));
	/* The collector takes every *.prom for a whole one. */
	snprintf(new, sizeof(new), "%s.new", path);
	f = fopen(new, "we");
	if (!f)
		return -errno;
	r = metrics_write(f, &counters, now, true);
	if (fclose(f) != 0)
		r = -errno;
	if (r >= 0 && rename(new, path) < 0)
		r = -errno;
	return r;
}

/* The counters first: what somebody has read is never more than what is kept. */
static void write_all(bool runs)
{
	struct metrics_now *now = calloc(1, sizeof(*now));
	int r = now ? 0 : -ENOMEM;

	if (r >= 0) {
		collect(now, runs);
		r = metrics_save(&counters);
	}
	if (r >= 0)
		r = write_text(now);
	free(now);
	if (r < 0 && !failed_logged)
		log_warning("Cannot write the metrics to %s: %s", host_dir(HOST_RUN), strerror(-r));
	failed_logged = r < 0;
}

static int on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata _unused_)
{
	written = now_usec(CLOCK_MONOTONIC);
	write_all(true);
	return 0;
}

void metrics_changed(void)
{
	int enabled = SD_EVENT_OFF;

	if (!timer ||
	    (sd_event_source_get_enabled(timer, &enabled) >= 0 && enabled != SD_EVENT_OFF))
		return;
	(void)sd_event_source_set_time(timer, written ? written + WRITE_USEC : 0);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

struct metrics *metrics_counting(void)
{
	metrics_changed();
	return &counters;
}

int metrics_start(struct manager *m)
{
	int r = metrics_load(&counters);

	if (r < 0 && r != -ENOENT)
		log_warning("Counting begins anew: cannot read what was counted before: %s",
			    strerror(-r));
	manager = m;
	r = sd_event_add_time(m->event, &timer, CLOCK_MONOTONIC, 0, 100 * USEC_PER_MSEC, on_timer,
			      NULL);
	/* What matters more goes first. */
	if (r >= 0)
		r = sd_event_source_set_priority(timer, SD_EVENT_PRIORITY_NORMAL + 60);
	return r;
}

void metrics_stop(void)
{
	if (timer)
		write_all(false);
	timer = sd_event_source_disable_unref(timer);
	manager = NULL;
}
