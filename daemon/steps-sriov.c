// SPDX-License-Identifier: GPL-2.0-or-later
/* Virtual functions: they go with their physical function's driver, and come back after it. */
#include <errno.h>
#include <inttypes.h>

#include "sriov.h"
#include "steps-internal.h"
#include "sysfs.h"

/* Does the record say who drives the last one? It has no room for very many different drivers. */
static bool all_are_recorded(const struct vf_setup *vfs)
{
	char last[24];

	snprintf(last, sizeof(last), "-%" PRIu32 " ", vfs->n - 1);
	return strstr(vfs->drivers, last) != NULL;
}

int step_sriov_detach(struct step_context *c)
{
	const struct job *job = c->job;

	if (job->vfs.n == 0)
		return 0;
	if (!all_are_recorded(&job->vfs))
		return step_fail(c, -E2BIG,
				 "its %" PRIu32
				 " virtual functions have more different drivers than "
				 "can be recorded; unbind some of them",
				 job->vfs.n);
	for (uint32_t i = 0; i < job->vfs.n; i++) {
		char driver[RAS_NAME_SIZE];
		char vf[RAS_DEV_SIZE];
		char link[24];
		int r;

		snprintf(link, sizeof(link), "virtfn%" PRIu32, i);
		if (sysfs_link(job->bus, job->dev, link, vf, sizeof(vf)) < 0 ||
		    sysfs_link(job->bus, vf, "driver", driver, sizeof(driver)) < 0)
			continue;
		r = step_write(c, vf, "driver/unbind", vf);
		/* Somebody else was quicker. */
		if (r < 0 && r != -ENOENT)
			return step_fail(c, r, "cannot unbind %s from its virtual function %s: %s",
					 driver, vf, strerror(-r));
	}
	return 0;
}

int step_sriov_restore(struct step_context *c)
{
	char text[STATE_NOTE_SIZE];
	int r = sriov_restore(c->job->bus, c->job->dev, &c->job->vfs, text, sizeof(text));

	if (text[0])
		(void)step_fail(c, r, "%s", text);
	return r;
}
