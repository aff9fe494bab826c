// SPDX-License-Identifier: GPL-2.0-or-later
#include "journal.h"

#include <time.h>

#include "log.h"
#include "messages.h"
#include "name-set.h"

_Static_assert(NAME_SET_MAX == LOG_VALUES_MAX, "a summary has room for all of them");

#define SUMMARY_USEC USEC_PER_SEC
/* A summary names all its devices; when there are more, another one begins, up to so many. */
#define SUMMARIES_MAX 16

struct kind {
	const char *message_id;
	int level;
	const char *what; /* "17 more ..." */

	unsigned int tokens; /* records that may be written now */
	uint64_t filled;     /* when tokens were added last, us of CLOCK_MONOTONIC */
	uint64_t due;	     /* likewise, when the summary is; 0: there is none */
	uint64_t count;	     /* records that it stands for */
	uint64_t unnamed;    /* of them about devices that there was no room for */
	unsigned int summaries;
	struct name_set *names; /* of devices that records were not written about */
};

static struct kind kinds[_JOURNAL_KIND_MAX] = {
	[JOURNAL_FENCED] = {.message_id = MESSAGE_FENCED,
			    .level = LOG_WARNING,
			    .what = "times the kernel fenced a device"},
	[JOURNAL_SANITIZED] = {.message_id = MESSAGE_SANITIZED,
			       .level = LOG_INFO,
			       .what = "times a fenced device was reset"},
	[JOURNAL_UNFENCED] = {.message_id = MESSAGE_UNFENCED,
			      .level = LOG_NOTICE,
			      .what = "times the kernel unfenced a device"},
	[JOURNAL_REMOVED] = {.message_id = MESSAGE_REMOVED,
			     .level = LOG_NOTICE,
			     .what = "times a fenced device was removed"},
	[JOURNAL_BEGUN] = {.message_id = MESSAGE_RECOVERY_BEGUN,
			   .level = LOG_NOTICE,
			   .what = "recovery attempts began"},
	[JOURNAL_STEP_DONE] = {.message_id = MESSAGE_STEP_DONE,
			       .level = LOG_INFO,
			       .what = "steps of recoveries were done"},
	[JOURNAL_STEP_FAILED] = {.message_id = MESSAGE_STEP_FAILED,
				 .level = LOG_WARNING,
				 .what = "steps of recoveries failed"},
	[JOURNAL_ATTEMPT_FAILED] = {.message_id = MESSAGE_ATTEMPT_FAILED,
				    .level = LOG_WARNING,
				    .what = "recovery attempts failed, and others follow"},
	[JOURNAL_RECOVERED] = {.message_id = MESSAGE_RECOVERED,
			       .level = LOG_NOTICE,
			       .what = "times a device was recovered"},
	[JOURNAL_IGNORED] = {.message_id = MESSAGE_IGNORED,
			     .level = LOG_NOTICE,
			     .what = "times a fenced device was left alone by policy"},
};

static sd_event_source *timer;

/* --- summaries ------------------------------------------------------------------------------- */

static void summary_write(struct kind *kind)
{
	static const char *const none[1];
	const char *values[NAME_SET_MAX];
	struct name_set *names = kind->names;
	struct log_record record;
	char few[320] = "";
	size_t n = names ? names->n : 0;
	size_t used = 0;
	size_t shown = 0;

	for (size_t i = 0; i < n; i++)
		values[i] = names->names[i];
	for (; shown < n && shown < 4; shown++)
		used += (size_t)snprintf(few + used, sizeof(few) - used, "%s%s",
					 shown ? ", " : ": ", values[shown]);
	log_record_init(&record, kind->level, MESSAGE_COLLAPSED);
	log_record_field(&record, "SMMU_RAS_SUMMARY_OF", "%s", kind->message_id);
	log_record_field(&record, "SMMU_RAS_COUNT", "%llu", (unsigned long long)kind->count);
	log_record_send_list(&record, "SMMU_RAS_DEVICE", n ? values : none, n,
			     "%llu more %s, in short because there were so many%s%s%s",
			     (unsigned long long)kind->count, kind->what, few,
			     shown < n ? " and others, named in this record" : "",
			     kind->unnamed ? "; there was no room for more names" : "");
	kind->count = 0;
	kind->unnamed = 0;
	if (names)
		name_set_clear(names);
}

static int on_timer(sd_event_source *s, uint64_t usec _unused_, void *userdata _unused_)
{
	uint64_t now = now_usec(CLOCK_MONOTONIC);
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < _JOURNAL_KIND_MAX; i++) {
		struct kind *kind = &kinds[i];

		if (kind->due == 0)
			continue;
		if (kind->due <= now) {
			if (kind->count > 0)
				summary_write(kind);
			kind->due = 0;
			free(kind->names);
			kind->names = NULL;
		} else if (kind->due < next) {
			next = kind->due;
		}
	}
	if (!log_retry() && now + USEC_PER_SEC < next)
		next = now + USEC_PER_SEC;
	if (next == UINT64_MAX)
		return 0;
	(void)sd_event_source_set_time(s, next);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* At @usec at the latest; the timer finds out itself what is due. */
static void timer_at(uint64_t usec)
{
	uint64_t planned = 0;
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(timer, &enabled);
	if (enabled != SD_EVENT_OFF && sd_event_source_get_time(timer, &planned) >= 0 &&
	    planned <= usec)
		return;
	(void)sd_event_source_set_time(timer, usec);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void on_lost(void)
{
	timer_at(now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC);
}

static void collapse(struct kind *kind, const char *dev, uint64_t now)
{
	if (kind->due == 0) {
		kind->due = now + SUMMARY_USEC;
		kind->summaries = 0;
		kind->names = calloc(1, sizeof(*kind->names));
		timer_at(kind->due);
	}
	if (kind->names && kind->names->n == NAME_SET_MAX && kind->summaries < SUMMARIES_MAX) {
		kind->summaries++;
		summary_write(kind);
	}
	kind->count++;
	if (!kind->names || name_set_add(kind->names, dev) < 0)
		kind->unnamed++;
}

bool journal_admits(enum journal_kind number, const char *dev)
{
	struct kind *kind = &kinds[number];
	uint64_t now;
	uint64_t fresh;

	if (!timer)
		return true;
	now = now_usec(CLOCK_MONOTONIC);
	fresh = (now - kind->filled) * JOURNAL_PER_SECOND / USEC_PER_SEC;
	if (kind->filled == 0 || fresh >= JOURNAL_BURST) {
		kind->tokens = JOURNAL_BURST;
		kind->filled = now;
	} else if (fresh > 0) {
		kind->tokens += (unsigned int)fresh;
		if (kind->tokens > JOURNAL_BURST)
			kind->tokens = JOURNAL_BURST;
		kind->filled += fresh * USEC_PER_SEC / JOURNAL_PER_SECOND;
	}
	/* While a summary is being collected everything goes there, so that it tells the order. */
	if (kind->tokens > 0 && kind->due == 0) {
		kind->tokens--;
		return true;
	}
	collapse(kind, dev, now);
	return false;
}

/* --- the loop -------------------------------------------------------------------------------- */

int journal_start(sd_event *event)
{
	int r = sd_event_add_time(event, &timer, CLOCK_MONOTONIC, UINT64_MAX, 100 * USEC_PER_MSEC,
				  on_timer, NULL);

	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(timer, SD_EVENT_OFF);
	log_set_lost_handler(on_lost);
	return r;
}

void journal_stop(void)
{
	log_set_lost_handler(NULL);
	timer = sd_event_source_disable_unref(timer);
	for (size_t i = 0; i < _JOURNAL_KIND_MAX; i++) {
		struct kind *kind = &kinds[i];

		if (kind->count > 0)
			summary_write(kind);
		kind->due = 0;
		kind->tokens = 0;
		kind->filled = 0;
		free(kind->names);
		kind->names = NULL;
	}
	(void)log_retry();
}
