// SPDX-License-Identifier: GPL-2.0-or-later
/* One device's story in words. */
#include "ctl-story.h"

#include <dirent.h>
#include <inttypes.h>
#include <time.h>

#include "ctl-gone.h"
#include "host.h"
#include "sysfs.h"

/* Does its driver say that it cannot use the device? Only nvme says such a thing in sysfs. */
static bool is_dead(const char *bus, const char *dev)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	bool dead = false;
	DIR *dir = opendir(sysfs_device_path(path, sizeof(path), bus, dev, "nvme"));

	while (dir && (entry = readdir(dir))) {
		char attr[300];
		char state[32];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(attr, sizeof(attr), "nvme/%s/state", entry->d_name);
		if (sysfs_read(bus, dev, attr, state, sizeof(state)) >= 0 && streq(state, "dead"))
			dead = true;
	}
	if (dir)
		closedir(dir);
	return dead;
}

void story_judge(struct story *story, const struct machine *m)
{
	const struct device_record *record = &story->record;
	bool fenced = story->device.state == IOMMU_RAS_STATE_FENCED ||
		      story->device.state == IOMMU_RAS_STATE_SANITIZED;

	story->attempts_max = 0;
	if (story->verdict == VERDICT_GONE)
		return;
	for (size_t i = 0; m->policy && story->has_record && i < m->policy->n_rules; i++)
		if (streq(m->policy->rules[i]->name, record->rule))
			story->attempts_max = m->policy->rules[i]->attempts;
	/* The policy has changed since. */
	if (story->attempts_max < record->attempts)
		story->attempts_max = 0;

	if (!story->has_record || record->state == RECOVERY_IDLE) {
		if (fenced)
			story->verdict = m->daemon ? VERDICT_BUSY : VERDICT_UNATTENDED;
		else if (story->has_record && is_dead(story->device.bus, story->device.dev))
			story->verdict = VERDICT_DEAD;
		else
			story->verdict = story_recovered(story) ? VERDICT_RECOVERED : VERDICT_WELL;
		return;
	}
	switch (record->state) {
	case RECOVERY_ISOLATED:
		story->verdict = VERDICT_ISOLATED;
		break;
	case RECOVERY_IGNORED:
		story->verdict = VERDICT_IGNORED;
		break;
	case RECOVERY_STUCK:
	case RECOVERY_GONE:
		story->verdict = VERDICT_STUCK;
		break;
	case RECOVERY_BACKOFF:
		story->verdict = m->daemon ? VERDICT_BACKOFF : VERDICT_UNATTENDED;
		break;
	default:
		story->verdict = m->daemon ? VERDICT_BUSY : VERDICT_UNATTENDED;
		break;
	}
}

void story_clear(struct story *story)
{
	record_clear_history(&story->record);
}

uint64_t story_begun(const struct story *story)
{
	const struct device_record *record = &story->record;
	uint64_t begun = ctl_fence_time(&story->device);

	/* A device that wedges again in each attempt is fenced anew; the outage is older. */
	if (story->has_record && record->n_history > 0) {
		const struct step_result *first = &record->history[0];
		uint64_t tried = first->time - first->duration;

		if (begun == 0 || tried < begun)
			begun = tried;
	}
	return begun;
}

uint64_t story_recovered(const struct story *story)
{
	return story->has_record && story->record.state == RECOVERY_IDLE
		       ? story->record.recovered_time
		       : 0;
}

uint64_t story_outage(const struct story *story)
{
	uint64_t begun = story_begun(story);
	uint64_t recovered = story_recovered(story);

	return begun && recovered > begun ? recovered - begun : 0;
}

const char *story_state(const struct story *story)
{
	if (story->verdict == VERDICT_GONE)
		return "removed";
	if (story->device.state != IOMMU_RAS_STATE_ACTIVE)
		return ras_state_name(story->device.state);
	switch (story->verdict) {
	case VERDICT_RECOVERED:
		return "recovered";
	case VERDICT_DEAD:
		return "dead";
	case VERDICT_WELL:
		return "active";
	default:
		return story->record.driver[0] && !story->device.driver[0] ? "no driver" : "active";
	}
}

const char *story_attempts(const struct story *story, char *buf, size_t size)
{
	buf[0] = '\0';
	if (story->has_record && story->record.attempts > 0 && story->attempts_max > 0)
		snprintf(buf, size, "%u/%u", story->record.attempts, story->attempts_max);
	else if (story->has_record && story->record.attempts > 0)
		snprintf(buf, size, "%u", story->record.attempts);
	return buf;
}

const char *story_driver(const struct story *story, char *buf, size_t size)
{
	if (story->device.driver[0])
		str_copy(buf, size, story->device.driver);
	else if (story->has_record && story->record.driver[0])
		snprintf(buf, size, "(%s)", story->record.driver);
	else
		buf[0] = '\0';
	return buf;
}

/* "reset: reset: timed out" says nothing twice. */
static const char *once(const char *note)
{
	const char *colon = strstr(note, ": ");
	size_t n = colon ? (size_t)(colon - note) + 2 : 0;

	/* "STEP: " goes when the text begins with the step's name. */
	if (n && strncmp(note + n, note, n - 2) == 0 &&
	    (note[2 * n - 2] == ' ' || note[2 * n - 2] == ':'))
		return note + n;
	return note;
}

/* Why nothing is done about it. */
static void isolated_text(const struct story *story, char *buf, size_t size)
{
	const struct device_record *record = &story->record;

	switch (record->left) {
	case LEFT_RATE:
		snprintf(buf, size, "isolated, rate limit: %s", record->note);
		break;
	case LEFT_PROTECTED:
		snprintf(buf, size, "left fenced, %s%s",
			 strncmp(record->note, "in use", 6) == 0 ? "" : "in use: ", record->note);
		break;
	case LEFT_EXHAUSTED:
		snprintf(buf, size, "isolated, %s failed: %s",
			 record->attempts == 1 ? "the only attempt" : "all attempts",
			 once(record->note));
		break;
	case LEFT_POLICY:
		if (streq(record->rule, "isolate-all"))
			snprintf(buf, size, "isolated, the policy has a mistake");
		else
			snprintf(buf, size, "isolated by rule %s", record->rule);
		break;
	case LEFT_OPERATOR:
		str_copy(buf, size, "isolated, because somebody asked for it");
		break;
	default:
		snprintf(buf, size, "isolated: %s", record->note);
		break;
	}
}

/* When the step that runs, or is stuck, began. */
static uint64_t step_begun(const struct device_record *record)
{
	const struct step_result *last =
		record->n_history ? &record->history[record->n_history - 1] : NULL;

	if (!last || last->attempt != record->attempts)
		return record->since;
	/* A step that is stuck is in the history already; it was given up, and has not ended. */
	if (record->state == RECOVERY_STUCK && streq(last->step, record->step))
		return last->time - last->duration;
	return last->time;
}

const char *story_recovery(const struct story *story, char *buf, size_t size)
{
	const struct device_record *record = &story->record;
	const char *step = record->step[0] ? record->step : "its preparations";
	char text[512];

	if (story->verdict == VERDICT_GONE) {
		snprintf(buf, size, "removed %s ago, at %s: %s", CTL_AGE_TEXT(record->since),
			 CTL_TIME_TEXT(record->since), gone_was(story, text, sizeof(text)));
		return buf;
	}

	if (story->verdict == VERDICT_UNATTENDED) {
		if (story->has_record && record->state == RECOVERY_BACKOFF)
			snprintf(
				buf, size,
				"attempt %u failed, the next one was due at %s; smmu-rasd does not "
				"run",
				record->attempts, CTL_TIME_TEXT(record->next));
		else if (story->has_record && record->state == RECOVERY_QUEUED)
			str_copy(buf, size, "was waiting for its turn; smmu-rasd does not run");
		else if (story->has_record && record->state != RECOVERY_IDLE)
			snprintf(buf, size, "interrupted in %s: smmu-rasd does not run", step);
		else
			snprintf(buf, size, "none: smmu-rasd does not run");
		return buf;
	}
	if (!story->has_record) {
		str_copy(buf, size, story->verdict == VERDICT_BUSY ? "about to begin" : "");
		return buf;
	}
	switch (record->state) {
	case RECOVERY_QUEUED:
		str_copy(buf, size, "waits for its turn");
		break;
	case RECOVERY_RUNNING:
		snprintf(buf, size, "running %s for %s", step, CTL_AGE_TEXT(step_begun(record)));
		break;
	case RECOVERY_STUCK:
		snprintf(buf, size, "stuck in %s for %s", step, CTL_AGE_TEXT(step_begun(record)));
		break;
	case RECOVERY_GONE:
		snprintf(buf, size, "removed; a worker is still stuck in %s", step);
		break;
	case RECOVERY_BACKOFF: {
		uint64_t now = now_usec(CLOCK_REALTIME);

		snprintf(buf, size, "next attempt in %s; the last one failed: %s",
			 USEC_TEXT(record->next > now ? record->next - now : 0),
			 once(record->note));
		break;
	}
	case RECOVERY_ISOLATED:
		isolated_text(story, buf, size);
		break;
	case RECOVERY_IGNORED:
		snprintf(buf, size, "ignored by rule %s", record->rule);
		break;
	default:
		if (story->verdict == VERDICT_DEAD)
			snprintf(buf, size, "unfenced, but its driver gave it up");
		else if (story->verdict == VERDICT_BUSY)
			str_copy(buf, size, "about to begin");
		else if (story_outage(story))
			snprintf(buf, size, "recovered %s ago, was out for %s",
				 CTL_AGE_TEXT(story_recovered(story)),
				 USEC_TEXT(story_outage(story)));
		else
			snprintf(buf, size, "recovered %s ago",
				 CTL_AGE_TEXT(story_recovered(story)));
		break;
	}
	return buf;
}

/* What was found in use, without the advice behind it. */
static void short_users(const char *note, char *buf, size_t size)
{
	char users[STATE_NOTE_SIZE];
	size_t skip;

	(void)story_note_users(note, users, sizeof(users));
	skip = strncmp(users, "filesystem ", 11) == 0 ? 11 : 0;
	snprintf(buf, size, "in use: %s", users + skip);
}

/* "5 in 1h" of "recovered 5 times within 1h already, ..." */
static void short_rate(const char *note, char *buf, size_t size)
{
	const char *within = strstr(note, " within ");
	const char *end = within ? strstr(within, " already") : NULL;
	unsigned int n = 0;

	if (end && sscanf(note, "recovered %u ", &n) == 1) /* NOLINT(cert-err34-c) */
		snprintf(buf, size, "too often (%u in %.*s)", n,
			 (int)(end - within - strlen(" within ")), within + strlen(" within "));
	else
		snprintf(buf, size, "too often: %s", note);
}

const char *story_short(const struct story *story, char *buf, size_t size)
{
	const struct device_record *record = &story->record;

	if (story->verdict == VERDICT_GONE)
		return gone_was(story, buf, size);
	if (story->verdict == VERDICT_UNATTENDED && story->has_record &&
	    record->state == RECOVERY_BACKOFF) {
		snprintf(buf, size, "attempt %u failed; smmu-rasd does not run", record->attempts);
		return buf;
	}
	if (!story->has_record || record->state != RECOVERY_ISOLATED)
		return story_recovery(story, buf, size);
	switch (record->left) {
	case LEFT_RATE:
		short_rate(record->note, buf, size);
		break;
	case LEFT_PROTECTED:
		short_users(record->note, buf, size);
		break;
	case LEFT_EXHAUSTED:
		snprintf(buf, size, "failed: %s", once(record->note));
		break;
	case LEFT_POLICY:
		if (streq(record->rule, "isolate-all"))
			str_copy(buf, size, "the policy has a mistake");
		else
			snprintf(buf, size, "by rule %s", record->rule);
		break;
	case LEFT_OPERATOR:
		str_copy(buf, size, "by operator");
		break;
	default:
		return story_recovery(story, buf, size);
	}
	return buf;
}

enum color story_color(const struct story *story)
{
	static const enum color colors[] = {
		[VERDICT_STUCK] = COLOR_BAD,	  [VERDICT_ISOLATED] = COLOR_BAD,
		[VERDICT_DEAD] = COLOR_BAD,	  [VERDICT_UNATTENDED] = COLOR_BAD,
		[VERDICT_BACKOFF] = COLOR_BUSY,	  [VERDICT_BUSY] = COLOR_BUSY,
		[VERDICT_IGNORED] = COLOR_FAINT,  [VERDICT_GONE] = COLOR_BUSY,
		[VERDICT_RECOVERED] = COLOR_GOOD, [VERDICT_WELL] = COLOR_NONE,
	};

	return colors[story->verdict];
}

json_t *record_json(const struct device_record *record)
{
	static const char *const why[] = {
		[LEFT_NOT] = NULL,
		[LEFT_POLICY] = "policy",
		[LEFT_RATE] = "rate-limit",
		[LEFT_PROTECTED] = "protected",
		[LEFT_EXHAUSTED] = "exhausted",
		[LEFT_OPERATOR] = "operator",
	};
	bool alone = record->state == RECOVERY_ISOLATED || record->state == RECOVERY_IGNORED;
	const char *left = alone && record->left < ARRAY_SIZE(why) ? why[record->left] : NULL;

	return json_pack("{s:s, s:s?, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "state",
			 recovery_state_name(record->state), "why", left, "attempts",
			 (json_int_t)record->attempts, "rule", ctl_json_text(record->rule), "step",
			 ctl_json_text(record->step), "note", ctl_json_text(record->note),
			 "driver_to_bind", ctl_json_text(record->driver), "since",
			 ctl_json_time(record->since), "next", ctl_json_time(record->next));
}

json_t *step_json(const struct step_result *step)
{
	return json_pack("{s:I, s:o, s:I, s:I, s:o, s:o}", "attempt", (json_int_t)step->attempt,
			 "step", ctl_json_text(step->step), "error", (json_int_t)-step->error,
			 "duration_usec", (json_int_t)step->duration, "ended",
			 ctl_json_time(step->time), "note", ctl_json_text(step->note));
}

json_t *story_json(const struct story *story)
{
	static const char *const verdicts[] = {
		[VERDICT_STUCK] = "stuck",	   [VERDICT_ISOLATED] = "isolated",
		[VERDICT_DEAD] = "dead",	   [VERDICT_UNATTENDED] = "unattended",
		[VERDICT_BACKOFF] = "backoff",	   [VERDICT_BUSY] = "busy",
		[VERDICT_IGNORED] = "ignored",	   [VERDICT_GONE] = "gone",
		[VERDICT_RECOVERED] = "recovered", [VERDICT_WELL] = "well",
	};
	const struct ras_device *device = &story->device;
	json_t *ids = json_array();
	char name[256];
	json_t *json;
	json_t *list;

	for (unsigned int i = 0; i < device->n_stream_ids && i < RAS_STREAM_IDS_MAX; i++)
		json_array_append_new(ids, json_integer(device->stream_ids[i]));
	if (story->verdict == VERDICT_GONE)
		gone_name(&story->record, name, sizeof(name));
	else
		ctl_device_name(device->bus, device->dev, name, sizeof(name));
	json = json_pack(
		"{s:s, s:s, s:o, s:s, s:s, s:o, s:I, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:o}",
		"device", device->dev, "bus", device->bus, "name", ctl_json_text(name), "state",
		ras_state_name(device->state), "verdict", verdicts[story->verdict], "reason",
		device->reason ? json_string(ras_reason_name(device->reason)) : json_null(),
		"event_seq", (json_int_t)device->event_seq, "fence_id",
		(json_int_t)device->fence_id, "fence_time", ctl_json_time(ctl_fence_time(device)),
		"fence_count", (json_int_t)device->fence_count, "suppressed",
		(json_int_t)device->suppressed, "driver", ctl_json_text(device->driver), "iommu",
		ctl_json_text(device->iommu), "group",
		device->has_group ? json_integer(device->group) : json_null(), "stream_ids", ids);
	if (!json)
		return NULL;
	json_object_set_new(json, "outage_begun", ctl_json_time(story_begun(story)));
	json_object_set_new(
		json, "removed",
		ctl_json_time(story->verdict == VERDICT_GONE ? story->record.since : 0));
	json_object_set_new(json, "was",
			    story->verdict == VERDICT_GONE
				    ? json_string(recovery_state_name(story->record.was))
				    : json_null());
	json_object_set_new(json, "recovered", ctl_json_time(story_recovered(story)));
	json_object_set_new(json, "outage_usec",
			    story_outage(story) ? json_integer((json_int_t)story_outage(story))
						: json_null());
	list = json_array();
	for (unsigned int i = 0; i < story->record.n_history; i++)
		json_array_append_new(list, step_json(&story->record.history[i]));
	json_object_set_new(json, "history", list);
	json_object_set_new(json, "attempts_max",
			    story->attempts_max ? json_integer(story->attempts_max) : json_null());
	json_object_set_new(json, "recovery",
			    story->has_record && story->record.state != RECOVERY_IDLE
				    ? record_json(&story->record)
				    : json_null());
	return json;
}
