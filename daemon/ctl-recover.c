// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl recover, isolate: what an operator asks of the daemon. */
#include <time.h>

#include "ctl-bus.h"
#include "ctl-follow.h"
#include "ctl-gone.h"
#include "ctl-show.h"
#include "sysfs.h"

static int find(int argc, char **argv, char name[static PCI_NAME_SIZE])
{
	struct story story;
	int r;

	if (argc != 2) {
		fprintf(stderr, "\"%s\" needs one device, such as: smmu-rasctl %s 01:00.0\n",
			argv[0], argv[0]);
		return CTL_USAGE;
	}
	r = ctl_find_device(argv[1], name);
	/* What is told of one that is gone is all that can be done about it. */
	if (r == CTL_OK && !sysfs_device_exists("pci", name) && gone_read("pci", name, &story)) {
		fprintf(stderr,
			"%s is not in this machine any more: it was removed at %s; see: "
			"smmu-rasctl show %s\n",
			name, CTL_TIME_TEXT(story.record.since), name);
		story_clear(&story);
		return CTL_NO_DEVICE;
	}
	return r;
}

/* What force may cost; nothing is asked when nothing depends on the device. */
static int ask_force(const struct ctl *ctl, const char *name)
{
	char users[512];

	if (!show_users(name, users, sizeof(users)))
		return CTL_OK;
	fprintf(stderr, "%s: %s\n", name, VISIBLE(users));
	return ctl_ask(ctl, "Recovering it may lose what uses it. Recover it all the same?");
}

static int follow(struct follow *f)
{
	char text[64];
	int r;

	if (!f->ctl->json)
		printf("Asked smmu-rasd; this is what happens. ^C ends only the watching.\n");
	r = follow_to_the_end(f);
	if (f->ctl->json)
		return r;
	if (r == CTL_OK && !f->want_isolated)
		printf("%s works again, %s after it was asked for.\n", f->dev,
		       format_usec(text, sizeof(text), now_usec(CLOCK_MONOTONIC) - f->begun));
	else if (r == CTL_OK)
		printf("%s is isolated: it stays fenced until somebody runs: smmu-rasctl recover "
		       "%s\n",
		       f->dev, f->dev);
	return r;
}

int ctl_recover(const struct ctl *ctl, int argc, char **argv)
{
	struct follow f;
	char name[PCI_NAME_SIZE];
	int r = find(argc, argv, name);

	if (r == CTL_OK && ctl->force)
		r = ask_force(ctl, name);
	if (r != CTL_OK)
		return r;
	if (!ctl->wait) {
		r = bus_call_recover(name, ctl->force);
		if (r == CTL_OK && !ctl->json)
			printf("Asked smmu-rasd. To follow: smmu-rasctl monitor %s\n", name);
		return r;
	}
	/* Before it is asked for, so that nothing of it is missed. */
	r = follow_open(&f, ctl, name);
	if (r == CTL_OK)
		r = bus_call_recover(name, ctl->force);
	if (r == CTL_OK)
		r = follow(&f);
	follow_close(&f);
	return r;
}

/* Is there anything to give up? Says why not. */
static int check_fenced(const char *name)
{
	struct machine m = {.daemon = state_daemon_runs()};
	struct story story;
	char text[160];
	int r = show_read(name, &story, &m, text, sizeof(text));
	bool fenced = story.device.state == IOMMU_RAS_STATE_FENCED ||
		      story.device.state == IOMMU_RAS_STATE_SANITIZED ||
		      (story.has_record && story.record.state != RECOVERY_IDLE);

	story_clear(&story);
	/* Of what the kernel does not tell, the daemon knows more. */
	if (r != CTL_OK || fenced)
		return CTL_OK;
	fprintf(stderr, "%s is not fenced; there is nothing to give up\n", name);
	return CTL_REFUSED;
}

static int isolate(const struct ctl *ctl, const char *name)
{
	bool before = ctl_recovery_state(name) == RECOVERY_ISOLATED;
	struct follow f;
	int r;

	if (!ctl->wait) {
		r = bus_call_isolate(name);
		if (r == CTL_OK && !ctl->json)
			printf("Asked smmu-rasd. To follow: smmu-rasctl monitor %s\n", name);
		return r;
	}
	r = follow_open(&f, ctl, name);
	f.want_isolated = true;
	if (r == CTL_OK)
		r = bus_call_isolate(name);
	/* Then nothing happens that could be followed. */
	if (r == CTL_OK && before && ctl_recovery_state(name) == RECOVERY_ISOLATED) {
		if (!ctl->json)
			printf("%s is isolated already\n", name);
	} else if (r == CTL_OK) {
		r = follow(&f);
	}
	follow_close(&f);
	return r;
}

int ctl_isolate(const struct ctl *ctl, int argc, char **argv)
{
	char question[160];
	char name[PCI_NAME_SIZE];
	int r = find(argc, argv, name);

	if (r == CTL_OK)
		r = check_fenced(name);
	if (r != CTL_OK)
		return r;
	snprintf(question, sizeof(question),
		 "%s will stay fenced until somebody has it recovered. Give it up?", name);
	r = ctl_ask(ctl, question);
	return r == CTL_OK ? isolate(ctl, name) : r;
}
