// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl metrics: numbers for a monitoring system, from the kernel and from the daemon. */
#include <errno.h>

#include "ctl-story.h"
#include "metrics.h"

static int print(const struct machine *m)
{
	_cleanup_free_ struct metrics *metrics = calloc(1, sizeof(*metrics));
	_cleanup_free_ struct metrics_now *now = calloc(1, sizeof(*now));
	bool unreadable;
	int r;

	if (!metrics || !now)
		return ctl_no_memory();
	now->daemon_runs = m->daemon;
	now->kernel_support = m->family;
	for (size_t i = 0; i < m->n; i++) {
		const struct story *story = &m->stories[i];

		/* What was removed is not there to be counted. */
		if (story->verdict != VERDICT_GONE)
			metrics_now_add(now, &story->device,
					story->has_record ? &story->record : NULL);
	}
	/* Where no daemon has run since the machine was started, nothing was counted. */
	r = metrics_load(metrics);
	unreadable = r < 0 && r != -ENOENT;
	if (unreadable)
		fprintf(stderr, "What the daemon has counted cannot be read: %s\n", strerror(-r));
	if (metrics_write(stdout, unreadable ? NULL : metrics, now, false) < 0 ||
	    fflush(stdout) != 0) {
		fprintf(stderr, "Cannot write: %s\n", strerror(errno));
		return CTL_FAILURE;
	}
	return CTL_OK;
}

int ctl_metrics(const struct ctl *ctl _unused_, int argc, char **argv)
{
	struct machine m;
	int r;

	if (argc > 1) {
		fprintf(stderr, "\"metrics\" takes no arguments, found \"%s\"\n", VISIBLE(argv[1]));
		return CTL_USAGE;
	}
	r = machine_read(&m);
	if (r == CTL_OK)
		r = print(&m);
	machine_clear(&m);
	return r;
}
