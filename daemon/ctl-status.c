// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl status: a sentence and an exit status for scripts and monitoring. */
#include "ctl-story.h"

/* Without a daemon: what is the matter with those that it would see to. */
static void tell_unattended(const struct machine *m, size_t n, char *text, size_t size)
{
	size_t active = 0;

	for (size_t i = 0; i < m->n; i++)
		active += m->stories[i].verdict == VERDICT_UNATTENDED &&
			  m->stories[i].device.state == IOMMU_RAS_STATE_ACTIVE;
	if (active == n)
		snprintf(text, size, "%zu device%s no driver, and smmu-rasd does not run", n,
			 n == 1 ? " has" : "s have");
	else
		snprintf(text, size, "%zu device%s fenced, and smmu-rasd does not run", n,
			 n == 1 ? " is" : "s are");
}

static void tell_busy(const struct machine *m, char *text, size_t size)
{
	size_t backoff = machine_count(m, VERDICT_BACKOFF, VERDICT_BACKOFF);
	size_t busy = machine_count(m, VERDICT_BUSY, VERDICT_BUSY);
	size_t used = 0;

	text[0] = '\0';
	if (busy > 0)
		used = (size_t)snprintf(text, size, "%zu device%s being recovered", busy,
					busy == 1 ? " is" : "s are");
	if (backoff > 0 && used < size)
		snprintf(text + used, size - used, "%s%zu device%s for %s next attempt",
			 used ? ", " : "", backoff, backoff == 1 ? " waits" : "s wait",
			 backoff == 1 ? "its" : "their");
}

static int summary(const struct machine *m, bool gone, char *text, size_t size)
{
	size_t bad = machine_count(m, VERDICT_STUCK, VERDICT_UNATTENDED);
	size_t unattended = machine_count(m, VERDICT_UNATTENDED, VERDICT_UNATTENDED);
	size_t busy = machine_count(m, VERDICT_BACKOFF, VERDICT_BUSY);
	size_t ignored = machine_count(m, VERDICT_IGNORED, VERDICT_IGNORED);
	size_t recovered = machine_count(m, VERDICT_RECOVERED, VERDICT_RECOVERED);

	if (bad > 0 && bad == unattended) {
		tell_unattended(m, bad, text, size);
		return CTL_ATTENTION;
	}
	if (bad > 0) {
		snprintf(text, size, "%zu device%s somebody, first %s%s", bad,
			 bad == 1 ? " needs" : "s need", m->stories[0].device.dev,
			 m->daemon ? "" : "; smmu-rasd does not run");
		return CTL_ATTENTION;
	}
	if (!m->family) {
		snprintf(text, size, "this kernel cannot fence devices");
		return CTL_NO_FAMILY;
	}
	if (!m->daemon) {
		if (ignored > 0)
			snprintf(text, size,
				 "%zu device%s fenced and ignored, and smmu-rasd does not run",
				 ignored, ignored == 1 ? " is" : "s are");
		else
			snprintf(text, size, "no device is fenced, but smmu-rasd does not run");
		return CTL_UNWATCHED;
	}
	/* Also with a policy that has a mistake: who follows a recovery waits for its end. */
	if (busy > 0) {
		tell_busy(m, text, size);
		return CTL_RECOVERING;
	}
	if (ignored > 0)
		snprintf(text, size, "%zu device%s fenced, ignored by policy; %zu recovered lately",
			 ignored, ignored == 1 ? " stays" : "s stay", recovered);
	else if (gone || (!m->policy && !m->policy_hidden))
		snprintf(text, size, "no device is fenced");
	else
		snprintf(text, size, "all is well; %zu device%s recovered lately", recovered,
			 recovered == 1 ? "" : "s");
	return m->policy || m->policy_hidden ? CTL_OK : CTL_UNWATCHED;
}

int machine_summary(const struct machine *m, char *text, size_t size)
{
	size_t gone = machine_count(m, VERDICT_GONE, VERDICT_GONE);
	int status = summary(m, gone > 0, text, size);
	size_t used = strlen(text);

	if (gone > 0)
		snprintf(text + used, size - used, "; %zu %s removed while fenced", gone,
			 gone == 1 ? "was" : "were");
	return status;
}

/* What is to be known about the policy, behind the sentence in @text. */
static void add_policy(const struct machine *m, char *text, size_t size)
{
	char more[MACHINE_POLICY_TEXT_SIZE];
	size_t used = strlen(text);

	if (!m->policy && !m->policy_hidden) {
		snprintf(text + used, size - used, "; the policy on disk has a mistake: %s",
			 m->policy_error);
	} else if (machine_policy_stale(m)) {
		machine_policy_text(m, more, sizeof(more));
		more[0] = more[0] == 'T' ? 't' : more[0];
		snprintf(text + used, size - used, "; %s", more);
	}
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
	char text[MACHINE_SUMMARY_SIZE + POLICY_ERROR_SIZE + MACHINE_POLICY_TEXT_SIZE];
	char visible[2 * sizeof(text)];
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
	status = machine_summary(&m, text, sizeof(text));
	add_policy(&m, text, sizeof(text));
	if (ctl->json)
		r = ctl_print_json(
			ctl,
			json_pack(
				"{s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:o}", "status",
				status, "summary", ctl_json_text(text), "attention",
				(json_int_t)machine_count(&m, VERDICT_STUCK, VERDICT_UNATTENDED),
				"recovering",
				(json_int_t)machine_count(&m, VERDICT_BACKOFF, VERDICT_BUSY),
				"ignored",
				(json_int_t)machine_count(&m, VERDICT_IGNORED, VERDICT_IGNORED),
				"removed",
				(json_int_t)machine_count(&m, VERDICT_GONE, VERDICT_GONE),
				"recovered",
				(json_int_t)machine_count(&m, VERDICT_RECOVERED, VERDICT_RECOVERED),
				"kernel_support", m.family, "daemon_running", m.daemon,
				"policy_good", m.policy != NULL, "policy_in_force",
				machine_policy_json(&m)));
	else
		puts(str_visible(visible, sizeof(visible), text));
	machine_clear(&m);
	return r == CTL_OK ? status : r;
}
