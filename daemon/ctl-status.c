// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl status: a sentence and an exit status for scripts and monitoring. */
#include "ctl-story.h"

static int judge(const struct machine *m, char *text, size_t size)
{
	size_t bad = machine_count(m, VERDICT_STUCK, VERDICT_DEAD);
	size_t unattended = machine_count(m, VERDICT_UNATTENDED, VERDICT_UNATTENDED);
	size_t busy = machine_count(m, VERDICT_BACKOFF, VERDICT_BUSY);
	size_t ignored = machine_count(m, VERDICT_IGNORED, VERDICT_IGNORED);
	size_t recovered = machine_count(m, VERDICT_RECOVERED, VERDICT_RECOVERED);

	if (bad > 0) {
		snprintf(text, size, "%zu device%s somebody, first %s", bad,
			 bad == 1 ? " needs" : "s need", m->stories[0].device.dev);
		return CTL_ATTENTION;
	}
	if (unattended > 0) {
		snprintf(text, size, "%zu device%s fenced, and smmu-rasd does not run", unattended,
			 unattended == 1 ? " is" : "s are");
		return CTL_ATTENTION;
	}
	if (!m->family) {
		snprintf(text, size, "this kernel cannot fence devices");
		return CTL_NO_FAMILY;
	}
	if (!m->daemon) {
		snprintf(text, size, "no device is fenced, but smmu-rasd does not run");
		return CTL_UNWATCHED;
	}
	if (!m->policy) {
		snprintf(text, size, "the policy on disk has a mistake: %s", m->policy_error);
		return CTL_UNWATCHED;
	}
	if (busy > 0) {
		snprintf(text, size, "%zu device%s being recovered", busy,
			 busy == 1 ? " is" : "s are");
		return CTL_RECOVERING;
	}
	snprintf(text, size, "all is well; %zu device%s ignored by policy, %zu recovered lately",
		 ignored, ignored == 1 ? "" : "s", recovered);
	return CTL_OK;
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
	char text[POLICY_ERROR_SIZE + 64];
	struct machine m;
	int r;
	int status;

	if (argc > 1) {
		fprintf(stderr,
			"\"status\" takes no device, found \"%s\"; for one device: smmu-rasctl "
			"show %s\n",
			VISIBLE(argv[1]), VISIBLE(argv[1]));
		return CTL_USAGE;
	}
	r = machine_read(&m);
	if (r != CTL_OK) {
		machine_clear(&m);
		return r;
	}
	status = judge(&m, text, sizeof(text));
	if (ctl->json)
		r = ctl_print_json(
			ctl,
			json_pack(
				"{s:i, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:b}", "status", status,
				"summary", ctl_json_text(text), "attention",
				(json_int_t)machine_count(&m, VERDICT_STUCK, VERDICT_UNATTENDED),
				"recovering",
				(json_int_t)machine_count(&m, VERDICT_BACKOFF, VERDICT_BUSY),
				"ignored",
				(json_int_t)machine_count(&m, VERDICT_IGNORED, VERDICT_IGNORED),
				"recovered",
				(json_int_t)machine_count(&m, VERDICT_RECOVERED, VERDICT_RECOVERED),
				"kernel_support", m.family, "daemon_running", m.daemon,
				"policy_good", m.policy != NULL));
	else
		puts(VISIBLE(text));
	machine_clear(&m);
	return r == CTL_OK ? status : r;
}
