// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl fence: a drill on a machine that matters. smmu-rasctl reattach: its counterpart. */
#include <errno.h>

#include "ctl-follow.h"
#include "ctl-show.h"
#include "ctl-topology.h"
#include "protect.h"
#include "sysfs.h"

static int find(int argc, char **argv, char name[static PCI_NAME_SIZE])
{
	if (argc != 2) {
		fprintf(stderr, "\"%s\" needs one device, such as: smmu-rasctl %s 01:00.0\n",
			argv[0], argv[0]);
		return CTL_USAGE;
	}
	return ctl_find_device(argv[1], name);
}

static int ask_kernel(uint8_t command, const char *what, const char *name)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	char text[160] = "";
	int r = ctl_connect(&link);

	if (r == CTL_NO_FAMILY)
		(void)ctl_no_family();
	if (r != CTL_OK) {
		kernel_link_close(&link);
		return r;
	}
	r = kernel_link_request(&link, command, "pci", name, NULL, text, sizeof(text));
	kernel_link_close(&link);
	if (r >= 0)
		return CTL_OK;
	if (r == -EPERM && text[0] == '\0')
		fprintf(stderr, "Only root may %s a device; try: sudo smmu-rasctl %s %s\n", what,
			what, name);
	else
		fprintf(stderr, "The kernel does not %s %s: %s\n", what, name,
			text[0] ? VISIBLE(text) : strerror(-r));
	return r == -ENODEV ? CTL_NO_DEVICE : CTL_REFUSED;
}

/* --- what would be touched -------------------------------------------------------------------- */

static void tell_rule(const struct machine *m, const struct device_subject *s)
{
	const struct rule *rule = m->policy ? policy_match(m->policy, &s->match) : NULL;
	char text[MACHINE_POLICY_TEXT_SIZE];
	char steps[256];

	if (!rule)
		fprintf(stderr, m->policy_hidden ? "  By which rule it would be recovered only "
						   "root can see.\n"
						 : "  The policy on disk has a mistake; run: "
						   "smmu-rasctl policy check\n");
	else if (rule->action == ACTION_RECOVER)
		fprintf(stderr, "  %s by rule %s (%s): %s; %u attempt%s.\n",
			m->daemon ? "smmu-rasd would recover it"
				  : "If smmu-rasd ran, it would be recovered",
			VISIBLE(rule->name), VISIBLE(rule->origin),
			show_steps(rule, steps, sizeof(steps)), rule->attempts,
			rule->attempts == 1 ? "" : "s");
	else
		fprintf(stderr, "  %sRule %s (%s) says %s: it would stay fenced.%s\n",
			color(COLOR_BAD), VISIBLE(rule->name), VISIBLE(rule->origin),
			action_name(rule->action), color(COLOR_NONE));
	if (machine_policy_stale(m))
		fprintf(stderr, "  %sBut: %s%s\n", color(COLOR_BAD),
			machine_policy_text(m, text, sizeof(text)), color(COLOR_NONE));
}

/* Would the daemon refuse to take off the driver, or to reset, as it does when it is fenced? */
static bool is_protected(const struct rule *rule, const struct device_subject *s, char *users,
			 size_t size)
{
	bool unbinds = false;

	if (rule->action != ACTION_RECOVER)
		return false;
	for (size_t i = 0; i < rule->n_steps; i++)
		unbinds = unbinds || rule->steps[i].kind == STEP_UNBIND ||
			  rule->steps[i].kind == STEP_REMOVE ||
			  rule->steps[i].kind == STEP_SLOT_POWER_CYCLE;
	return unbinds ? protect_check(rule->protect, "pci", s->address, "", users, size)
		       : protect_check_reset(rule->protect, "pci", s->address, users, size);
}

/* Says so when the device would stay fenced under what uses it. */
static bool tell_protected(const struct machine *m, const struct device_subject *s)
{
	const struct rule *rule = m->policy ? policy_match(m->policy, &s->match) : NULL;
	char users[512];

	if (!rule || !is_protected(rule, s, users, sizeof(users)))
		return false;
	fprintf(stderr,
		"  %sIt WILL STAY FENCED: rule %s protects %s, which hangs until you act.%s\n",
		color(COLOR_BAD), VISIBLE(rule->name), VISIBLE(story_users(users)),
		color(COLOR_NONE));
	return true;
}

static void tell_neighbours(const struct topology *t)
{
	for (size_t i = 0; i < t->functions.n; i++)
		fprintf(stderr, "  A reset may also hit %s, a function of the same device.\n",
			t->functions.dev[i]);
	for (size_t i = 0; i < t->vfs.n; i++)
		fprintf(stderr, "  Its virtual function %s goes with it.\n", t->vfs.dev[i]);
	for (size_t i = 0; i < t->group.n; i++)
		fprintf(stderr, "  %s is in the same IOMMU group.\n", t->group.dev[i]);
}

/* Returns whether it would stay fenced under what uses it. */
static bool tell_impact(const char *name, const struct machine *m, const struct story *story)
{
	char users[512];
	char text[256];
	struct topology t;
	struct device_subject s;
	bool used = show_users(name, users, sizeof(users));

	topology_read(&t, name);
	show_subject(&s, story);
	s.match.values[MATCH_REASON] = ras_reason_name(IOMMU_RAS_REASON_ADMINISTRATIVE);
	ctl_device_name("pci", name, text, sizeof(text));
	fprintf(stderr, "%s  %s\n", name, VISIBLE(text));
	fprintf(stderr, "  Driver %s; all its DMA is blocked until it has been reset.\n",
		s.driver[0] ? VISIBLE(s.driver) : "none");
	if (used)
		fprintf(stderr, "  %sIt is %s.%s\n", color(COLOR_BAD), VISIBLE(users),
			color(COLOR_NONE));
	tell_neighbours(&t);
	tell_rule(m, &s);
	if (!m->daemon)
		fprintf(stderr, "  %ssmmu-rasd does not run: nobody will recover it.%s\n",
			color(COLOR_BAD), color(COLOR_NONE));
	return used && tell_protected(m, &s);
}

/* --- the drill -------------------------------------------------------------------------------- */

static void tell_by_hand(const char *name, const struct machine *m)
{
	struct machine now = {.policy = m->policy};
	struct story story;
	char text[BY_HAND_SIZE];

	/* As it is now: fenced. */
	(void)show_read(name, &story, &now, text, sizeof(text));
	fprintf(stderr, "%s is fenced. To recover it: systemctl start smmu-rasd; or by hand%s\n",
		name, story_lost_by_hand(&story, &now, text, sizeof(text)) ? "." : ", as root:");
	if (text[0])
		fprintf(stderr, "Stop first what uses it: %s. Then, as root:\n",
			VISIBLE(story_users(text)));
	fprintf(stderr, "  %s\n", VISIBLE(story_by_hand(&story, &now, text)));
	story_clear(&story);
}

static int drill(const struct ctl *ctl, const char *name)
{
	struct follow f;
	int r = follow_open(&f, ctl, name);

	if (r == CTL_OK)
		r = ask_kernel(IOMMU_RAS_CMD_DEVICE_FENCE, "fence", name);
	if (r == CTL_OK) {
		r = follow_to_the_end(&f);
		if (r == CTL_OK && !ctl->json)
			printf("The drill went well: %s works again. It was out for %s.\n", name,
			       USEC_TEXT(f.outage));
	}
	follow_close(&f);
	return r;
}

int ctl_fence(const struct ctl *ctl, int argc, char **argv)
{
	struct machine m = {.daemon = state_daemon_runs()};
	struct story story;
	char name[PCI_NAME_SIZE];
	char text[160];
	int r = find(argc, argv, name);

	if (r != CTL_OK)
		return r;
	machine_read_policy(&m);
	r = show_read(name, &story, &m, text, sizeof(text));
	if (r == CTL_NO_FAMILY) {
		(void)ctl_no_family();
	} else if (r != CTL_OK) {
		fprintf(stderr, "%s cannot be fenced: %s\n", name, VISIBLE(text));
	} else if (story.device.state != IOMMU_RAS_STATE_ACTIVE) {
		fprintf(stderr, "%s is fenced already; see: smmu-rasctl show %s\n", name, name);
		r = CTL_REFUSED;
	} else {
		if (tell_impact(name, &m, &story) && !ctl->force) {
			fprintf(stderr,
				"Nothing was done. To fence it although it will stay fenced: "
				"smmu-rasctl fence --force %s\n",
				name);
			r = CTL_REFUSED;
		} else {
			r = ctl_ask(ctl, "Fence it now?");
		}
	}
	if (r == CTL_OK && m.daemon && ctl->wait) {
		r = drill(ctl, name);
	} else if (r == CTL_OK) {
		r = ask_kernel(IOMMU_RAS_CMD_DEVICE_FENCE, "fence", name);
		if (r == CTL_OK && !m.daemon)
			tell_by_hand(name, &m);
		else if (r == CTL_OK && !ctl->json)
			printf("%s is fenced. To follow its recovery: smmu-rasctl monitor %s\n",
			       name, name);
	}
	story_clear(&story);
	policy_unref(m.policy);
	return r;
}

int ctl_reattach(const struct ctl *ctl, int argc, char **argv)
{
	char name[PCI_NAME_SIZE];
	int r = find(argc, argv, name);

	if (r == CTL_OK)
		r = ask_kernel(IOMMU_RAS_CMD_DEVICE_REATTACH, "reattach", name);
	if (r == CTL_OK && ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:b}", "device", name, "reattached", 1));
	if (r == CTL_OK)
		printf("%s is not fenced any more.\n", name);
	return r;
}
