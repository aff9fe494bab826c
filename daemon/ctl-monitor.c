// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl monitor: what kernel and daemon do, as it happens. */
#include <errno.h>

#include "ctl-follow.h"

struct monitor {
	const struct ctl *ctl;
	const char *dev; /* or NULL for all */
};

static int on_event(const struct watch_event *event, void *userdata)
{
	const struct monitor *m = userdata;

	if (m->dev && !follow_is_about(event, m->dev))
		return 0;
	return follow_print(m->ctl, event);
}

int ctl_monitor(const struct ctl *ctl, int argc, char **argv)
{
	struct monitor m = {.ctl = ctl};
	char name[PCI_NAME_SIZE];
	struct watch watch;
	int r = CTL_OK;

	if (argc > 2) {
		fprintf(stderr, "\"monitor\" takes one device at most, found \"%s\"\n",
			VISIBLE(argv[2]));
		return CTL_USAGE;
	}
	if (argc == 2)
		r = ctl_find_device(argv[1], name);
	if (r != CTL_OK)
		return r;
	if (argc == 2)
		m.dev = name;
	r = watch_open(&watch, on_event, &m);
	if (r != CTL_OK) {
		watch_close(&watch);
		return r;
	}
	if (!ctl->json && isatty(STDERR_FILENO))
		fprintf(stderr, "Waiting for events; %s. End with ^C.\n",
			watch.daemon ? "smmu-rasd runs" : "smmu-rasd does not run");
	r = watch_tell_fenced(&watch);
	if (r == 0)
		r = watch_run(&watch, USEC_INFINITY);
	watch_close(&watch);
	/* It was ended, or whoever read us has gone, as head(1) does: that is how it ends. */
	if (r == -EINTR || r == -EPIPE || r >= 0)
		return CTL_OK;
	fprintf(stderr, "Cannot follow the events any further: %s\n", strerror(-r));
	return CTL_FAILURE;
}
