// SPDX-License-Identifier: GPL-2.0-or-later
/* The whole story of one device, for people. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "ctl-gone.h"
#include "ctl-show.h"
#include "ctl-watched.h"
#include "protect.h"
#include "sysfs.h"

#define LABEL 12

static void print_line(const char *label, const char *format, ...) _printf_(2, 3);

static void print_line(const char *label, const char *format, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	printf("%*s%s ", LABEL, label, label[0] ? ":" : " ");
	print_wrapped(text, LABEL + 2);
}

/* --- what happened ---------------------------------------------------------------------------- */

/* As enum iommu_ras_reason has it, for who sees the word for the first time. */
static const char *reason_meaning(uint32_t reason)
{
	switch (reason) {
	case IOMMU_RAS_REASON_ATC_TIMEOUT:
		return "it did not complete an ATC invalidation";
	case IOMMU_RAS_REASON_SYNC_TIMEOUT:
		return "the IOMMU did not say in time whether it completed an ATC invalidation";
	case IOMMU_RAS_REASON_RESET_FAILED:
		return "a reset of it failed, so nobody knows what it still holds";
	case IOMMU_RAS_REASON_ADMINISTRATIVE:
		return "somebody asked the kernel for it, as a drill does";
	default:
		return "this smmu-rasctl does not know what that means";
	}
}

static void print_state(const struct story *story)
{
	const struct ras_device *device = &story->device;
	uint64_t begun = story_begun(story);
	uint64_t recovered = story_recovered(story);
	bool fenced = device->state == IOMMU_RAS_STATE_FENCED ||
		      device->state == IOMMU_RAS_STATE_SANITIZED;
	const char *on = color(story_color(story));
	const char *off = color(COLOR_NONE);

	printf("%*s: %s%s%s", LABEL, "State", on, story_state(story), off);
	if (story->verdict == VERDICT_GONE)
		printf(" %s ago, at %s%s", CTL_AGE_TEXT(story->record.since),
		       CTL_TIME_TEXT(story->record.since),
		       story->record.active ? ", before its driver was bound again"
					    : ", while it was fenced");
	else if (fenced && begun)
		printf(" for %s, since %s", CTL_AGE_TEXT(begun), CTL_TIME_TEXT(begun));
	else if (recovered)
		printf(" %s ago, at %s", CTL_AGE_TEXT(recovered), CTL_TIME_TEXT(recovered));
	putchar('\n');
	if (device->state == IOMMU_RAS_STATE_SANITIZED)
		print_line("", "it was reset, and is blocked until it is attached again");
	if (device->reason && (fenced || story->verdict == VERDICT_GONE))
		print_line("Because of", "%s: %s", ras_reason_name(device->reason),
			   reason_meaning(device->reason));
	else if (device->reason)
		print_line("Last reason", "%s; that is over", ras_reason_name(device->reason));
}

/* What was at this address before, and was removed while it was fenced. */
static void print_before(const struct story *story)
{
	struct story before;
	char text[512];

	if (!gone_read("pci", story->device.dev, &before))
		return;
	print_line("Before", "what was at this address was removed while fenced, at %s: %s",
		   CTL_TIME_TEXT(before.record.since),
		   VISIBLE(gone_was(&before, text, sizeof(text))));
	story_clear(&before);
}

static void print_recovery(const struct story *story, const struct machine *m)
{
	const struct device_record *record = &story->record;
	char text[512];

	if (!story->has_record && story->verdict == VERDICT_WELL)
		return;
	print_line("Recovery", "%s",
		   VISIBLE(story->verdict == VERDICT_GONE
				   ? gone_was(story, text, sizeof(text))
				   : story_recovery(story, text, sizeof(text))));
	if (!story->has_record)
		return;
	if (record->attempts > 0)
		print_line("Attempts", story->attempts_max ? "%u of %u" : "%u", record->attempts,
			   story->attempts_max);
	if (record->next > 0 && m->daemon && record->state == RECOVERY_BACKOFF)
		print_line("Next", "the next attempt begins at %s", CTL_TIME_TEXT(record->next));
	else if (record->next > 0 && m->daemon && record->state == RECOVERY_RUNNING)
		print_line("Next", "the step may take until %s", CTL_TIME_TEXT(record->next));
	else if (story->verdict == VERDICT_STUCK)
		print_line("Next", "%s as soon as the kernel comes back from %s",
			   m->daemon ? "it goes on" : "once smmu-rasd runs, it goes on",
			   record->step[0] ? VISIBLE(record->step) : "it");
	else if (story->verdict == VERDICT_ISOLATED || story->verdict == VERDICT_IGNORED)
		print_line("Next", "nothing happens by itself");
}

static void print_rule(const struct device_subject *s, const struct machine *m)
{
	const struct rule *rule;
	char text[MACHINE_POLICY_TEXT_SIZE];
	char steps[256];

	if (!m->policy) {
		print_line("Rule",
			   m->policy_hidden ? "not known, only root can read the policy: %s"
					    : "not known, the policy on disk has a mistake: %s",
			   VISIBLE(m->policy_error));
		if (machine_policy_text(m, text, sizeof(text))[0])
			print_line("", "%s", text);
		return;
	}
	rule = policy_match(m->policy, &s->match);
	if (rule->action == ACTION_RECOVER)
		print_line("Rule", "%s (%s): %s; %u attempt%s", VISIBLE(rule->name),
			   VISIBLE(rule->origin), show_steps(rule, steps, sizeof(steps)),
			   rule->attempts, rule->attempts == 1 ? "" : "s");
	else
		print_line("Rule", "%s (%s): %s", VISIBLE(rule->name), VISIBLE(rule->origin),
			   action_name(rule->action));
	if (machine_policy_stale(m))
		print_line("", "%s", machine_policy_text(m, text, sizeof(text)));
}

const char *show_steps(const struct rule *rule, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < rule->n_steps && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 step_name(rule->steps[i].kind));
	return buf;
}

static void print_history(const struct story *story)
{
	static const char *const heads[] = {"ENDED", "ATTEMPT", "STEP", "RESULT", "TOOK", "NOTE"};
	static const struct table_fit fits[] = {{5, 10}, {1, 0}, {0, 0}, {5, 1}};
	struct table table = {.heads = heads,
			      .n_columns = ARRAY_SIZE(heads),
			      .fits = fits,
			      .n_fits = ARRAY_SIZE(fits)};

	if (!story->has_record || story->record.n_history == 0)
		return;
	printf("\n%sWhat was done:%s\n", color(COLOR_HEAD), color(COLOR_NONE));
	for (unsigned int i = 0; i < story->record.n_history; i++) {
		const struct step_result *step = &story->record.history[i];
		enum color how = step->error < 0 ? COLOR_BAD : COLOR_NONE;
		char text[32];

		/* The day, unless it was today. */
		ctl_time_text(step->time, text, sizeof(text));
		table_add(&table, COLOR_NONE,
			  ctl_age(step->time) < 12 * 3600 * USEC_PER_SEC && strlen(text) > 11
				  ? text + 11
				  : text);
		snprintf(text, sizeof(text), "%u", step->attempt);
		table_add(&table, COLOR_NONE, text);
		table_add(&table, COLOR_NONE, step->step);
		table_add(&table, how, step->error < 0 ? "failed" : "done");
		table_add(&table, COLOR_NONE, USEC_TEXT(step->duration));
		table_add(&table, COLOR_NONE, step->note);
	}
	(void)table_print(&table, true);
	table_clear(&table);
}

/* --- what and where it is --------------------------------------------------------------------- */

/* "0000:01:00.1 (nvme), 0000:01:00.2 (no driver)" */
static const char *list_text(const struct topology_list *list, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < list->n && used < size; i++) {
		char driver[RAS_NAME_SIZE];

		(void)sysfs_link("pci", list->dev[i], "driver", driver, sizeof(driver));
		used += (size_t)snprintf(buf + used, size - used, "%s%s (%s)", i ? ", " : "",
					 list->dev[i], driver[0] ? VISIBLE(driver) : "no driver");
	}
	if (list->more && used < size)
		snprintf(buf + used, size - used, ", ...");
	return buf;
}

static void print_path(const struct topology_list *path)
{
	for (size_t i = 0; i < path->n; i++) {
		const char *type = pci_port_type(path->dev[i]);

		printf("%*s%s %*s%s%s%s%s\n", LABEL, i ? "" : "Topology", i ? " " : ":",
		       (int)(2 * i), "", i ? "- " : "", path->dev[i], type[0] ? "  " : "", type);
	}
}

static void print_driver(const struct story *story)
{
	const char *dev = story->device.dev;
	char driver[RAS_NAME_SIZE];
	char override[RAS_NAME_SIZE];

	(void)sysfs_link("pci", dev, "driver", driver, sizeof(driver));
	if (sysfs_read("pci", dev, "driver_override", override, sizeof(override)) < 0 ||
	    streq(override, "(null)"))
		override[0] = '\0';
	if (driver[0])
		print_line("Driver", "%s%s%s%s", VISIBLE(driver),
			   override[0] ? " (driver_override: " : "", VISIBLE(override),
			   override[0] ? ")" : "");
	else if (story->has_record && story->record.driver[0])
		print_line("Driver", "none; %s is to be bound again",
			   VISIBLE(story->record.driver));
	else
		print_line("Driver", "none");
}

static void print_place(const struct story *story, const struct topology *t)
{
	char text[2048];

	print_driver(story);
	print_path(&t->path);
	if (t->slot[0])
		print_line("Slot", "%s", VISIBLE(t->slot));
	if (t->functions.n)
		print_line("Functions", "shares its device with %s",
			   list_text(&t->functions, text, sizeof(text)));
	if (t->pf[0])
		print_line("Physical", "it is a virtual function of %s", t->pf);
	if (t->vfs.n)
		print_line("Virtual", "%zu function%s: %s", t->vfs.n, t->vfs.n == 1 ? "" : "s",
			   list_text(&t->vfs, text, sizeof(text)));
	if (t->group_name[0] && t->group.n)
		print_line("IOMMU group", "%s, together with %s", VISIBLE(t->group_name),
			   list_text(&t->group, text, sizeof(text)));
	else if (t->group_name[0])
		print_line("IOMMU group", "%s, alone", VISIBLE(t->group_name));
}

static void print_kernel(const struct story *story)
{
	const struct ras_device *device = &story->device;
	const char *dev = device->dev;
	char text[512] = "";
	size_t used = 0;
	int ats = pci_ats_enabled(dev);

	for (unsigned int i = 0; i < device->n_stream_ids && i < RAS_STREAM_IDS_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s0x%" PRIx32,
					 i ? ", " : "; stream ids ", device->stream_ids[i]);
	if (device->n_stream_ids > RAS_STREAM_IDS_MAX)
		snprintf(text + used, sizeof(text) - used, ", ...");
	if (device->iommu[0])
		print_line("IOMMU", "%s%s", VISIBLE(device->iommu), text);
	if (ats == -ENODEV)
		print_line("Hardware",
			   "%sthe device does not answer: its configuration space reads as ones. "
			   "It hangs, has lost its power, or was pulled out%s",
			   color(COLOR_BAD), color(COLOR_NONE));
	if (ats >= 0 || ats == -ENODATA)
		print_line("ATS", "%s",
			   ats > 0    ? "enabled: it caches translations"
			   : ats == 0 ? "disabled at the moment"
				      : "the device has none");
	if (sysfs_read("pci", dev, "reset_method", text, sizeof(text)) >= 0)
		print_line("Resets", "%s", text[0] ? VISIBLE(text) : "it has none");
	if (story->known && device->fence_count == 0)
		print_line("Fenced", "never since the machine was started");
	if (device->fence_count)
		print_line("Fenced", "%" PRIu32 " time%s; the last was fence %" PRIu64,
			   device->fence_count, device->fence_count == 1 ? "" : "s",
			   device->fence_id);
	if (device->suppressed)
		print_line("Suppressed", "%" PRIu64 " invalidation%s not sent since",
			   device->suppressed, device->suppressed == 1 ? "" : "s");
}

/* --- what depends on it ----------------------------------------------------------------------- */

bool show_users(const char *dev, char *text, size_t size)
{
	char driver[RAS_NAME_SIZE];

	(void)sysfs_link("pci", dev, "driver", driver, sizeof(driver));
	if (protect_check(PROTECT_ALL, "pci", dev, driver, text, size))
		return true;
	snprintf(text, size, "by no file system, swap, default route or guest that could be found");
	return false;
}

/* What is safe, and what is not, while the device is blocked. */
static void print_data(const struct story *story, bool used, const char *users)
{
	if (story->device.state != IOMMU_RAS_STATE_FENCED &&
	    story->device.state != IOMMU_RAS_STATE_SANITIZED)
		return;
	if (!used) {
		print_line("Data", "memory is safe: the device can write nowhere");
		return;
	}
	if (strncmp(users, "filesystem ", 11) == 0 || strncmp(users, "swap ", 5) == 0) {
		if (users[0] == 'f')
			users += 11;
		print_line("Data",
			   "memory is safe: the device can write nowhere. Reads and writes of %.*s "
			   "wait or fail; what was not written yet is lost if the driver gives up",
			   (int)strcspn(users, ";"), VISIBLE(users));
		return;
	}
	print_line("Data", "memory is safe: the device can write nowhere. It fails for: %.*s",
		   (int)strcspn(users, ";"), VISIBLE(users));
}

static void print_advice(const struct story *story, const struct machine *m)
{
	struct advice advice[ADVICE_MAX];
	size_t n = story_advice(story, m, advice);

	if (n == 0)
		return;
	printf("\n%sWhat to do:%s\n", color(COLOR_HEAD), color(COLOR_NONE));
	for (size_t i = 0; i < n; i++) {
		printf("  ");
		print_wrapped(VISIBLE(advice[i].text), 2);
		/* Not wrapped: it is to be pasted. */
		if (advice[i].command[0])
			printf("      %s\n", VISIBLE(advice[i].command));
	}
}

void show_print(const struct story *story, const struct machine *m, const struct topology *t,
		const struct device_subject *s)
{
	const char *dev = story->device.dev;
	bool present = sysfs_device_exists("pci", dev);
	bool used;
	char users[512];
	char name[256];

	if (present)
		ctl_device_name("pci", dev, name, sizeof(name));
	else
		gone_name(&story->record, name, sizeof(name));
	printf("%s%s%s  ", color(story_color(story)), VISIBLE(dev), color(COLOR_NONE));
	print_wrapped(name[0] ? VISIBLE(name) : "", 14);
	if (!present)
		print_line("Place", "it is not in this machine any more");
	print_state(story);
	print_recovery(story, m);
	if (present)
		print_rule(s, m);
	if (present) {
		print_place(story, t);
		print_kernel(story);
		used = show_users(dev, users, sizeof(users));
		print_line("In use", "%s",
			   VISIBLE(strncmp(users, "in use ", 7) == 0 ? users + 7 : users));
		print_data(story, used, story_users(users));
		print_before(story);
	}
	print_history(story);
	print_advice(story, m);
}
