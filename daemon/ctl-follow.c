// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-follow.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "ctl-show.h"

/* How long a daemon that ended in the middle is waited for; systemd starts it again much earlier.
 */
#define DAEMON_PATIENCE (30 * USEC_PER_SEC)
/* What a handler ends the watching with. */
#define DONE	       1 /* the story has ended */
#define DAEMON_CHANGED 2

/* --- lines ------------------------------------------------------------------------------------ */

static int print_json(json_t *json)
{
	const struct ctl one_line = {.json = CTL_JSON_SHORT};

	return ctl_print_json(&one_line, json) == CTL_OK ? 0 : -EPIPE;
}

static json_t *begin_json(const char *event)
{
	return json_pack("{s:o, s:s}", "time", ctl_json_time(now_usec(CLOCK_REALTIME)), "event",
			 event);
}

static json_t *device_json(const char *event, const struct ras_device *device)
{
	struct story story = {.device = *device, .known = true};
	json_t *json = begin_json(event);
	json_t *of_device = story_json(&story);

	/* What only the daemon knows follows in lines of its own. */
	json_object_del(of_device, "recovery");
	json_object_del(of_device, "verdict");
	json_object_del(of_device, "attempts_max");
	json_object_del(of_device, "recovered");
	json_object_del(of_device, "history");
	json_object_del(of_device, "outage_begun");
	json_object_del(of_device, "outage_usec");
	json_object_update(json, of_device);
	json_decref(of_device);
	return json;
}

static json_t *event_json(const struct watch_event *event)
{
	const struct step_result *step = event->step;
	json_t *json;

	switch (event->type) {
	case WATCH_FENCED:
		return device_json("state", event->device);
	case WATCH_KERNEL:
		return device_json(kernel_event_name(event->event), event->device);
	case WATCH_LOST:
		return begin_json("lost");
	case WATCH_STEP:
		json = begin_json("step");
		json_object_set_new(json, "device", ctl_json_text(event->record->dev));
		json_object_set_new(json, "rule", ctl_json_text(event->record->rule));
		json_object_update_new(json, step_json(step));
		return json;
	case WATCH_RECORD:
		json = begin_json("recovery");
		json_object_set_new(json, "device", ctl_json_text(event->record->dev));
		json_object_set_new(json, "recovery", record_json(event->record));
		return json;
	case WATCH_FORGOTTEN:
		json = begin_json("forgotten");
		json_object_set_new(json, "device", ctl_json_text(event->before->dev));
		return json;
	case WATCH_DAEMON:
		json = begin_json("daemon");
		json_object_set_new(json, "running", json_boolean(event->daemon));
		return json;
	}
	return NULL;
}

static const char *time_text(char *buf, size_t size)
{
	uint64_t now = now_usec(CLOCK_REALTIME);
	char text[32];

	ctl_time_text(now, text, sizeof(text));
	/* The day is that of whoever watches. */
	snprintf(buf, size, "%s.%03" PRIu64, strlen(text) > 11 ? text + 11 : text,
		 now % USEC_PER_SEC / USEC_PER_MSEC);
	return buf;
}

static int print_text(enum color how, const char *dev, const char *word, const char *text)
{
	char when[48];

	printf("%s  %-12s  %s%-11s%s  ", time_text(when, sizeof(when)), VISIBLE(dev), color(how),
	       word, color(COLOR_NONE));
	print_wrapped(VISIBLE(text), 41);
	return fflush(stdout) == 0 ? 0 : -EPIPE;
}

/* A device that the kernel has fenced, now or before. */
static int print_fenced(const char *word, const struct ras_device *device)
{
	char text[256];

	snprintf(text, sizeof(text), "by the kernel, because of %s; its driver is %s",
		 ras_reason_name(device->reason), device->driver[0] ? device->driver : "none");
	return print_text(COLOR_BAD, device->dev, word, text);
}

static int print_kernel(enum kernel_message_type type, const struct ras_device *device)
{
	const char *word = kernel_event_name(type);

	switch (type) {
	case KERNEL_FENCED:
		return print_fenced(word, device);
	case KERNEL_SANITIZED:
		return print_text(COLOR_NONE, device->dev, word,
				  "it was reset, and is blocked until it is attached");
	case KERNEL_UNFENCED:
		return print_text(COLOR_GOOD, device->dev, word,
				  "by the kernel: it may use memory again");
	default:
		return print_text(COLOR_NONE, device->dev, word, "from the system");
	}
}

static int print_record(const struct device_record *record, const struct device_record *before)
{
	struct story story = {.has_record = true, .record = *record, .verdict = VERDICT_BUSY};
	char text[512];
	enum color how = COLOR_NONE;

	/* That a step began is told when it has ended. */
	if (before && before->state == record->state && before->attempts == record->attempts &&
	    before->recovered_time == record->recovered_time)
		return 0;
	switch (record->state) {
	case RECOVERY_IDLE:
		if (record->recovered_time == 0 ||
		    (before && before->recovered_time == record->recovered_time))
			return 0;
		return print_text(COLOR_GOOD, record->dev, "recovered", "it works again");
	case RECOVERY_RUNNING:
		snprintf(text, sizeof(text), "%u begins, by rule %s", record->attempts,
			 record->rule);
		return print_text(COLOR_BUSY, record->dev, "attempt", text);
	case RECOVERY_QUEUED:
		return print_text(COLOR_BUSY, record->dev, "queued", "waits for its turn");
	case RECOVERY_STUCK:
	case RECOVERY_ISOLATED:
		how = COLOR_BAD;
		break;
	default:
		break;
	}
	return print_text(how, record->dev, recovery_state_name(record->state),
			  story_recovery(&story, text, sizeof(text)));
}

static int print_step(const struct step_result *step, const char *dev)
{
	char text[256];

	snprintf(text, sizeof(text), "%s %s after %s%s%s", step->step,
		 step->error < 0 ? "failed" : "done", USEC_TEXT(step->duration),
		 step->note[0] ? ": " : "", step->note);
	return print_text(step->error < 0 ? COLOR_BAD : COLOR_NONE, dev, "step", text);
}

int follow_print(const struct ctl *ctl, const struct watch_event *event)
{
	if (ctl->json)
		return print_json(event_json(event));
	switch (event->type) {
	case WATCH_FENCED:
		return print_fenced(event->device->state == IOMMU_RAS_STATE_SANITIZED
					    ? "(sanitized)"
					    : "(fenced)",
				    event->device);
	case WATCH_KERNEL:
		return print_kernel(event->event, event->device);
	case WATCH_LOST:
		return print_text(COLOR_BAD, "-", "lost",
				  "some events of the kernel; what is fenced now:");
	case WATCH_STEP:
		return print_step(event->step, event->record->dev);
	case WATCH_RECORD:
		return print_record(event->record, event->before);
	case WATCH_FORGOTTEN:
		return 0;
	case WATCH_DAEMON:
		return print_text(event->daemon ? COLOR_GOOD : COLOR_BAD, "-", "daemon",
				  event->daemon ? "smmu-rasd runs"
						: "smmu-rasd does not run any more");
	}
	return 0;
}

bool follow_is_about(const struct watch_event *event, const char *dev)
{
	if (event->device)
		return streq(event->device->dev, dev);
	if (event->record)
		return streq(event->record->dev, dev);
	return !event->before || streq(event->before->dev, dev);
}

/* --- to the end ------------------------------------------------------------------------------- */

static void kernel_said(struct follow *f, const struct watch_event *event)
{
	if (event->event == KERNEL_FENCED && f->fenced_at == 0)
		f->fenced_at = now_usec(CLOCK_MONOTONIC);
	f->unfenced = event->event == KERNEL_UNFENCED;
}

/* Has the story ended with this record? */
static bool is_settled(const struct follow *f, const struct device_record *record)
{
	switch (record->state) {
	case RECOVERY_IDLE:
		return record->recovered_time >= f->begun_at || f->unfenced;
	case RECOVERY_STUCK:
	case RECOVERY_ISOLATED:
	case RECOVERY_IGNORED:
		return true;
	default:
		return false;
	}
}

static int on_event(const struct watch_event *event, void *userdata)
{
	struct follow *f = userdata;
	int r;

	if (!follow_is_about(event, f->dev))
		return 0;
	r = follow_print(f->ctl, event);
	if (r < 0)
		return r;
	switch (event->type) {
	case WATCH_KERNEL:
		kernel_said(f, event);
		return event->event == KERNEL_REMOVED ? DONE : 0;
	case WATCH_RECORD:
		if (event->record->state == RECOVERY_STUCK)
			str_copy(f->stuck, sizeof(f->stuck),
				 event->record->step[0] ? event->record->step : "preparations");
		return is_settled(f, event->record) ? DONE : 0;
	case WATCH_FORGOTTEN:
		return DONE;
	case WATCH_DAEMON:
		return DAEMON_CHANGED;
	default:
		return 0;
	}
}

int follow_open(struct follow *f, const struct ctl *ctl, const char *dev)
{
	*f = (struct follow){.ctl = ctl,
			     .begun = now_usec(CLOCK_MONOTONIC),
			     .begun_at = now_usec(CLOCK_REALTIME)};
	str_copy(f->dev, sizeof(f->dev), dev);
	return watch_open(&f->watch, on_event, f);
}

void follow_close(struct follow *f)
{
	watch_close(&f->watch);
}

/* How it stands now, as nobody knows better than kernel and record. */
static int conclude(struct follow *f)
{
	struct machine m = {.daemon = state_daemon_runs()};
	struct advice advice[ADVICE_MAX];
	struct story story;
	char text[512];
	size_t n;
	int r = CTL_NOT_WELL;

	machine_read_policy(&m);
	(void)show_read(f->dev, &story, &m, text, sizeof(text));
	if (f->want_isolated && story.verdict == VERDICT_ISOLATED)
		r = CTL_OK;
	else if (story.known &&
		 (story.verdict == VERDICT_RECOVERED || story.verdict == VERDICT_WELL))
		r = CTL_OK;
	if (f->ctl->json || r == CTL_OK) {
		story_clear(&story);
		policy_unref(m.policy);
		return r;
	}
	if (f->stuck[0])
		fprintf(stderr,
			"Not followed any further: it is stuck in %s; it may go on by itself\n",
			VISIBLE(f->stuck));
	fprintf(stderr, "%s is %s: %s\n", f->dev, story_state(&story),
		VISIBLE(story_recovery(&story, text, sizeof(text))));
	n = story_advice(&story, &m, advice);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "  %s%s%s\n", VISIBLE(advice[i].text),
			advice[i].command[0] ? "\n      " : "", VISIBLE(advice[i].command));
	story_clear(&story);
	policy_unref(m.policy);
	return r;
}

int follow_to_the_end(struct follow *f)
{
	int r;

	do {
		/* A daemon that ended, and does not come back, ends it. */
		r = watch_run(&f->watch, f->watch.daemon
						 ? USEC_INFINITY
						 : now_usec(CLOCK_MONOTONIC) + DAEMON_PATIENCE);
	} while (r == DAEMON_CHANGED);
	if (f->fenced_at)
		f->outage = now_usec(CLOCK_MONOTONIC) - f->fenced_at;
	if (r == -EINTR) {
		fprintf(stderr,
			"Not followed any further; what was begun goes on. See: smmu-rasctl show "
			"%s\n",
			f->dev);
		return CTL_FAILURE;
	}
	if (r < 0) {
		fprintf(stderr, "Cannot follow it any further: %s\n", strerror(-r));
		return CTL_FAILURE;
	}
	return conclude(f);
}
