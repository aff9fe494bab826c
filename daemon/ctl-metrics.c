// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl metrics: numbers for a monitoring system, from the kernel and from the daemon. */
#include <errno.h>

#include "ctl-story.h"
#include "metrics.h"

int ctl_metrics(const struct ctl *ctl _unused_, int argc, char **argv)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	struct metrics_now *now = calloc(1, sizeof(*now));
	struct machine m = {0};
	int status = CTL_OK;
	int r;

	if (argc > 1) {
		fprintf(stderr, "\"metrics\" takes no arguments, found \"%s\"\n", VISIBLE(argv[1]));
		status = CTL_USAGE;
	} else {
		status = machine_read(&m);
	}
	if (status == CTL_OK && (!metrics || !now))
		status = ctl_no_memory();
	if (status != CTL_OK || !metrics || !now) {
		machine_clear(&m);
		free(metrics);
		free(now);
		return status;
	}
	now->daemon_runs = m.daemon;
	now->kernel_support = m.family;
	for (size_t i = 0; i < m.n; i++)
		metrics_now_add(now, &m.stories[i].device,
				m.stories[i].has_record ? &m.stories[i].record : NULL);
	/* Where no daemon has run since the machine was started, nothing was counted. */
	r = metrics_load(metrics);
	if (r < 0 && r != -ENOENT)
		fprintf(stderr, "What the daemon has counted cannot be read: %s\n", strerror(-r));
	if (metrics_write(stdout, r < 0 && r != -ENOENT ? NULL : metrics, now, false) < 0 ||
	    fflush(stdout) != 0) {
		fprintf(stderr, "Cannot write: %s\n", strerror(errno));
		status = CTL_FAILURE;
	}
	machine_clear(&m);
	free(metrics);
	free(now);
	return status;
}
