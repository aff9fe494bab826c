// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl list: what is fenced, and what is done about it. */
#include <ctype.h>
#include <dirent.h>

#include "ctl-gone.h"
#include "ctl-watched.h"

enum {
	COLUMN_DEVICE,
	COLUMN_STATE,
	COLUMN_SINCE,
	COLUMN_REASON,
	COLUMN_DRIVER,
	COLUMN_TRY,
	COLUMN_RECOVERY,
	COLUMN_NAME,
	N_COLUMNS,
};

static const char *const heads[N_COLUMNS] = {"DEVICE", "STATE", "SINCE",    "REASON",
					     "DRIVER", "TRY",	"RECOVERY", "NAME"};

/* What the operator needs least goes first. */
static const struct table_fit fits[] = {
	{COLUMN_NAME, 20},     {COLUMN_NAME, 0},  {COLUMN_RECOVERY, 60}, {COLUMN_REASON, 0},
	{COLUMN_RECOVERY, 30}, {COLUMN_TRY, 0},	  {COLUMN_RECOVERY, 22}, {COLUMN_DRIVER, 0},
	{COLUMN_RECOVERY, 14}, {COLUMN_SINCE, 0}, {COLUMN_RECOVERY, 0},
};

static bool is_shown(const struct ctl *ctl, const struct story *story)
{
	return story->verdict < VERDICT_RECOVERED ||
	       (ctl->all && story->verdict == VERDICT_RECOVERED);
}

static void add_row(struct table *table, const struct story *story)
{
	const struct ras_device *device = &story->device;
	uint64_t since =
		story->verdict == VERDICT_RECOVERED ? story_recovered(story) : story_begun(story);
	char buf[512];

	/* The kernel does not say since when a device is active. */
	if ((since == 0 && story->has_record) || story->verdict == VERDICT_GONE)
		since = story->record.since;
	table_add(table, story_color(story), device->dev);
	table_add(table, story_color(story), story_state(story));
	table_add(table, COLOR_NONE, since ? CTL_AGE_TEXT(since) : "");
	table_add(table, COLOR_NONE, device->reason ? ras_reason_name(device->reason) : "");
	table_add(table, COLOR_NONE, story_driver(story, buf, sizeof(buf)));
	table_add(table, COLOR_NONE, story_attempts(story, buf, sizeof(buf)));
	table_add(table, story_color(story), story_short(story, buf, sizeof(buf)));
	table_add(table, COLOR_FAINT,
		  story->verdict == VERDICT_GONE
			  ? gone_name(&story->record, buf, sizeof(buf))
			  : ctl_device_name(device->bus, device->dev, buf, sizeof(buf)));
}

/* Whom does what is shown concern? */
static void print_attention(const struct machine *m, size_t bad)
{
	const char *first = VISIBLE(m->stories[0].device.dev);
	const char *others = bad > 1 ? " (the first; then the others)" : "";

	printf("\n%s%zu device%s you%s.%s ", color(COLOR_BAD), bad, bad == 1 ? " needs" : "s need",
	       m->daemon ? "" : ", and smmu-rasd does not run", color(COLOR_NONE));
	if (m->daemon)
		printf("What to do: smmu-rasctl show %s%s\n", first, others);
	else
		printf("First: systemctl start smmu-rasd; then: smmu-rasctl show %s%s\n", first,
		       others);
}

/* The first that was removed; those that are still here come before it. */
static const char *first_gone(const struct machine *m)
{
	size_t i = 0;

	while (m->stories[i].verdict != VERDICT_GONE)
		i++;
	return m->stories[i].device.dev;
}

/* The first sentence: is all well, and if not, whom does it concern? */
static void print_summary(const struct machine *m, size_t shown)
{
	size_t bad = machine_count(m, VERDICT_STUCK, VERDICT_UNATTENDED);
	size_t gone = machine_count(m, VERDICT_GONE, VERDICT_GONE);
	char text[MACHINE_SUMMARY_SIZE];
	int status = machine_summary(m, text, sizeof(text));

	text[0] = (char)toupper((unsigned char)text[0]);
	if (bad > 0) {
		print_attention(m, bad);
		if (gone > 0)
			printf("%zu device%s removed while fenced. What is known: smmu-rasctl show "
			       "%s\n",
			       gone, gone == 1 ? " was" : "s were", VISIBLE(first_gone(m)));
		return;
	}
	if (shown)
		putchar('\n');
	if (status == CTL_RECOVERING || machine_count(m, VERDICT_BACKOFF, VERDICT_BUSY) > 0)
		printf("%s. To follow: smmu-rasctl monitor\n", VISIBLE(text));
	else if (machine_count(m, VERDICT_IGNORED, VERDICT_IGNORED) > 0)
		printf("%s%s.%s\n", status == CTL_OK ? "" : color(COLOR_BAD), VISIBLE(text),
		       color(COLOR_NONE));
	else if (gone > 0)
		printf("%s%s.%s What to do: smmu-rasctl show %s\n",
		       color(status == CTL_OK ? COLOR_BUSY : COLOR_BAD), VISIBLE(text),
		       color(COLOR_NONE), VISIBLE(first_gone(m)));
	else if (status == CTL_NO_FAMILY)
		printf("No device is fenced, because this kernel (%s) cannot fence devices: it has "
		       "no netlink family \"%s\".\n",
		       ctl_kernel_release(), IOMMU_RAS_FAMILY_NAME);
	else if (!m->daemon)
		printf("%sNo device is fenced, but smmu-rasd does not run: nobody would recover "
		       "one.%s\n",
		       color(COLOR_BAD), color(COLOR_NONE));
	else if (!m->policy && !m->policy_hidden)
		printf("%sNo device is fenced, but the policy on disk has a mistake.%s\n",
		       color(COLOR_BAD), color(COLOR_NONE));
	else
		printf("%sAll is well: no device is fenced.%s\n", color(COLOR_GOOD),
		       color(COLOR_NONE));
}

static json_t *stories_json(const struct machine *m, enum verdict first, enum verdict last)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n; i++)
		if (m->stories[i].verdict >= first && m->stories[i].verdict <= last)
			json_array_append_new(list, story_json(&m->stories[i]));
	return list;
}

static int print_json(const struct ctl *ctl, const struct machine *m)
{
	json_t *json = json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "kernel_support", m->family,
				 "daemon_running", m->daemon, "policy", watched_policy_json(m),
				 "watched", watched_devices_json(), "devices",
				 stories_json(m, VERDICT_STUCK, VERDICT_IGNORED), "removed",
				 stories_json(m, VERDICT_GONE, VERDICT_GONE), "recovered",
				 stories_json(m, VERDICT_RECOVERED, VERDICT_RECOVERED));

	return ctl_print_json(ctl, json);
}

static int print_text(const struct ctl *ctl, const struct machine *m)
{
	struct table table = {
		.heads = heads, .n_columns = N_COLUMNS, .fits = fits, .n_fits = ARRAY_SIZE(fits)};
	size_t shown = 0;
	bool good = true;

	pager_open(ctl->pager);
	for (size_t i = 0; i < m->n; i++) {
		if (!is_shown(ctl, &m->stories[i]))
			continue;
		add_row(&table, &m->stories[i]);
		shown++;
	}
	if (shown > 0)
		good = table_print(&table, ctl->legend);
	table_clear(&table);
	if (ctl->legend) {
		print_summary(m, shown);
		watched_print(m, shown == 0);
	}
	return good ? CTL_OK : ctl_no_memory();
}

int ctl_list(const struct ctl *ctl, int argc, char **argv)
{
	struct machine m;
	int r;

	if (argc > 1) {
		fprintf(stderr,
			"\"list\" takes no device, found \"%s\"; for one device: smmu-rasctl show "
			"%s\n",
			VISIBLE(argv[1]), VISIBLE(argv[1]));
		return CTL_USAGE;
	}
	r = machine_read(&m);
	if (r == CTL_OK)
		r = ctl->json ? print_json(ctl, &m) : print_text(ctl, &m);
	if (r == CTL_OK && !m.family)
		r = CTL_NO_FAMILY;
	machine_clear(&m);
	return r;
}
