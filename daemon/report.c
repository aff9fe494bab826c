// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One structured record for each transition. The sentence is for the operator at 3 a.m.; the fields
 * are for programs, and for `journalctl SMMU_RAS_DEVICE=0000:01:00.0`.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "by-hand.h"
#include "journal.h"
#include "log.h"
#include "manager.h"
#include "messages.h"
#include "metrics.h"
#include "sysfs.h"

static void begin(struct log_record *record, int level, const char *message_id,
		  const struct ras_device *kernel)
{
	log_record_init(record, level, message_id);
	log_record_field(record, "SMMU_RAS_DEVICE", "%s", kernel->dev);
	if (kernel->fence_id)
		log_record_field(record, "SMMU_RAS_FENCE_ID", "%" PRIu64, kernel->fence_id);
	if (kernel->reason)
		log_record_field(record, "SMMU_RAS_REASON", "%s", ras_reason_name(kernel->reason));
}

static void begin_recovery(struct log_record *record, int level, const char *message_id,
			   const struct device *d)
{
	/* A device that was fenced under an earlier daemon may be known from its record only. */
	struct ras_device kernel = d->kernel;

	memcpy(kernel.dev, d->record.dev, sizeof(kernel.dev));
	kernel.fence_id = d->record.fence_id;
	begin(record, level, message_id, &kernel);
	log_record_field(record, "SMMU_RAS_ATTEMPT", "%u", d->record.attempts);
	log_record_field(record, "SMMU_RAS_RULE", "%s", d->record.rule);
	if (d->record.step[0])
		log_record_field(record, "SMMU_RAS_STEP", "%s", d->record.step);
	if (d->record.driver[0])
		log_record_field(record, "SMMU_RAS_DRIVER", "%s", d->record.driver);
}

/* "0000:01:00.0 (nvme)" */
static const char *device_text(const struct device *d, char *buf, size_t size)
{
	const char *driver = d->record.driver[0] ? d->record.driver : d->kernel.driver;

	snprintf(buf, size, driver[0] ? "%s (%s)" : "%s", d->record.dev, driver);
	return buf;
}
#define DEVICE_TEXT(d) device_text((d), (char[160]){0}, 160)

/* How long the present fence has lasted, in us. */
static uint64_t fence_age(const struct ras_device *kernel)
{
	uint64_t now = now_usec(CLOCK_BOOTTIME);
	uint64_t begun = kernel->fence_time / NSEC_PER_USEC;

	return kernel->fence_time && now > begun ? now - begun : 0;
}

/* A thousand devices may be fenced at once, and one of them a thousand times. */
static bool kernel_record_admitted(enum kernel_message_type type, const char *dev)
{
	switch (type) {
	case KERNEL_FENCED:
		return journal_admits(JOURNAL_FENCED, dev);
	case KERNEL_SANITIZED:
		return journal_admits(JOURNAL_SANITIZED, dev);
	case KERNEL_UNFENCED:
		return journal_admits(JOURNAL_UNFENCED, dev);
	case KERNEL_REMOVED:
		return journal_admits(JOURNAL_REMOVED, dev);
	default:
		return true;
	}
}

void report_kernel(const struct device *d, enum kernel_message_type type,
		   const struct ras_device *info)
{
	struct log_record record;
	char name[160];

	if (type == KERNEL_FENCED)
		metrics_count_fence(metrics_counting(), info->dev, info->reason);
	if (!kernel_record_admitted(type, info->dev))
		return;
	snprintf(name, sizeof(name), info->driver[0] ? "%s (%s)" : "%s", info->dev, info->driver);
	switch (type) {
	case KERNEL_FENCED:
		begin(&record, LOG_WARNING, MESSAGE_FENCED, info);
		if (info->driver[0])
			log_record_field(&record, "SMMU_RAS_DRIVER", "%s", info->driver);
		log_record_send(&record, "%s: the kernel fenced it: %s%s%s", name,
				ras_reason_name(info->reason), info->iommu[0] ? ", behind " : "",
				info->iommu);
		break;
	case KERNEL_SANITIZED:
		begin(&record, LOG_INFO, MESSAGE_SANITIZED, info);
		log_record_send(&record, "%s: it was reset, and stays blocked until it is attached",
				name);
		break;
	case KERNEL_UNFENCED:
		begin(&record, LOG_NOTICE, MESSAGE_UNFENCED, info);
		log_record_field(&record, "SMMU_RAS_DURATION_USEC", "%" PRIu64, fence_age(info));
		log_record_send(&record, "%s: the kernel unfenced it after %s%s", name,
				USEC_TEXT(fence_age(info)),
				d && (d->record.state == RECOVERY_RUNNING ||
				      d->record.state == RECOVERY_STUCK)
					? ""
					: ", by other hands than ours");
		break;
	case KERNEL_REMOVED:
		begin(&record, LOG_NOTICE, MESSAGE_REMOVED, info);
		log_record_send(
			&record,
			"%s: it was removed from the system while fenced; what is known of it, and "
			"what to do: smmu-rasctl show %s",
			name, info->dev);
		break;
	default:
		break;
	}
}

void report_begun(const struct device *d)
{
	struct log_record record;

	metrics_counting()->attempts++;
	if (!journal_admits(JOURNAL_BEGUN, d->record.dev))
		return;
	begin_recovery(&record, LOG_NOTICE, MESSAGE_RECOVERY_BEGUN, d);
	log_record_send(&record, "%s: recovery attempt %u of %u begins, by rule %s (%s)",
			DEVICE_TEXT(d), d->record.attempts, d->rule->attempts, d->rule->name,
			d->rule->origin);
}

void report_step(const struct device *d, const struct worker_message *message)
{
	struct log_record record;
	bool good = message->error >= 0;
	const char *step = step_name(d->job->steps[message->step].kind);

	if (!good)
		metrics_count_step(metrics_counting(), step, false);
	if (!journal_admits(good ? JOURNAL_STEP_DONE : JOURNAL_STEP_FAILED, d->record.dev))
		return;
	begin_recovery(&record, good ? LOG_INFO : LOG_WARNING,
		       good ? MESSAGE_STEP_DONE : MESSAGE_STEP_FAILED, d);
	log_record_field(&record, "SMMU_RAS_DURATION_USEC", "%" PRIu64, message->duration);
	if (!good)
		log_record_field(&record, "ERRNO", "%d", -message->error);
	log_record_send(&record, "%s: %s %s after %s%s%s", DEVICE_TEXT(d), step,
			good ? "done" : "failed", USEC_TEXT(message->duration),
			message->text[0] ? ": " : "", message->text);
}

void report_stuck(const struct device *d)
{
	struct log_record record;

	metrics_count_step(metrics_counting(), d->record.step, true);
	begin_recovery(&record, LOG_ERR, MESSAGE_STEP_STUCK, d);
	log_record_field(&record, "SMMU_RAS_DURATION_USEC", "%" PRIu64, d->step_limit);
	log_record_send(&record,
			"%s: %s; worker %d is stopped as soon as the kernel lets it go, and the "
			"device is looked at again then; until then it stays fenced. What it waits "
			"for: cat /proc/%d/stack",
			DEVICE_TEXT(d), d->record.note, (int)d->worker.pid, (int)d->worker.pid);
}

void report_attempt_failed(const struct device *d, uint64_t wait)
{
	struct log_record record;

	metrics_counting()->attempts_failed++;
	if (!journal_admits(JOURNAL_ATTEMPT_FAILED, d->record.dev))
		return;
	begin_recovery(&record, LOG_WARNING, MESSAGE_ATTEMPT_FAILED, d);
	log_record_send(&record, "%s: attempt %u of %u failed (%s); the next one follows in %s",
			DEVICE_TEXT(d), d->record.attempts, d->rule->attempts, d->record.note,
			USEC_TEXT(wait));
}

void report_recovered(const struct device *d)
{
	struct log_record record;
	uint64_t age = fence_age(&d->kernel);

	metrics_count_recovery(metrics_counting(), age);
	if (!journal_admits(JOURNAL_RECOVERED, d->record.dev))
		return;
	begin_recovery(&record, LOG_NOTICE, MESSAGE_RECOVERED, d);
	log_record_field(&record, "SMMU_RAS_DURATION_USEC", "%" PRIu64, age);
	/* Not known when it came back as a new device, and the daemon was another one before. */
	log_record_send(&record, "%s: recovered%s%s%s in %u attempt%s", DEVICE_TEXT(d),
			age ? " " : "", age ? USEC_TEXT(age) : "",
			age ? " after it was fenced," : "", d->record.attempts,
			d->record.attempts == 1 ? "" : "s");
}

static enum metrics_result result_of(const struct device *d)
{
	switch (d->record.left) {
	case LEFT_POLICY:
		return METRICS_POLICY;
	case LEFT_RATE:
		return METRICS_RATE_LIMITED;
	case LEFT_OPERATOR:
		return METRICS_OPERATOR;
	default:
		return METRICS_EXHAUSTED;
	}
}

/* What note_who_waits() has added: of interest whatever the reason is. */
static const char *who_waits(const struct device *d)
{
	const char *text = strstr(d->record.note, "; whoever uses its disk");

	return text ? text : "";
}

/* All that somebody who reads nothing else has to know: what happened, what was tried, what to do.
 */
static void send_given_up(struct log_record *record, const struct device *d)
{
	const char *slot = device_is_away(d) ? d->record.slot : "";
	const char *now = device_is_away(d) ? "It is out of the system"
			  : d->kernel.state != IOMMU_RAS_STATE_ACTIVE
				  ? "It stays fenced and harms nothing, and what needs it does not "
				    "work"
				  : "It is not fenced, but has no driver";
	char driver[RAS_NAME_SIZE];
	struct by_hand h = {
		.bus = d->record.bus,
		.dev = d->record.dev,
		.state = d->kernel.state,
		.driver = driver,
		.wanted = d->record.driver[0] ? d->record.driver : d->kernel.driver,
		.rule = d->rule,
		.away = device_is_away(d),
	};
	char tried[BY_HAND_SIZE];
	char command[BY_HAND_SIZE];

	(void)sysfs_link(d->record.bus, d->record.dev, "driver", driver, sizeof(driver));
	tried_text(&d->record, tried);
	by_hand_command(&h, command);
	log_record_send(record,
			"%s: given up after %u attempt%s (%s). %s%s%s; nothing more is tried. "
			"Tried: %s. When the cause is cured%s: smmu-rasctl recover %s%s%s",
			DEVICE_TEXT(d), d->record.attempts, d->record.attempts == 1 ? "" : "s",
			d->record.note, now, slot[0] ? ", and belongs into slot " : "", slot,
			tried[0] ? tried : "nothing",
			streq(d->record.step, step_name(STEP_SLOT_POWER_CYCLE))
				? " (power the machine off and on, a reboot alone keeps the slot's "
				  "power)"
				: "",
			d->record.dev, command[0] ? "; or step by step, by hand, as root: " : "",
			command);
}

void report_isolated(const struct device *d)
{
	struct log_record record;
	const char *dev = d->record.dev;

	metrics_counting()->results[result_of(d)]++;
	begin_recovery(&record, LOG_ERR, MESSAGE_ISOLATED, d);
	switch (d->record.left) {
	case LEFT_OPERATOR:
		log_record_send(&record,
				"%s: left isolated, as an operator asked%s. To go on: smmu-rasctl "
				"recover %s",
				DEVICE_TEXT(d), who_waits(d), dev);
		break;
	case LEFT_RATE:
		log_record_send(&record,
				"%s: left isolated (too often: %s). To recover it once more: "
				"smmu-rasctl recover %s",
				DEVICE_TEXT(d), d->record.note, dev);
		break;
	case LEFT_POLICY:
		if (streq(d->record.rule, "isolate-all"))
			log_record_send(&record,
					"%s: left isolated: there is no good policy%s. What is "
					"wrong: smmu-rasctl policy check; then: systemctl reload "
					"smmu-rasd; or, this device once: smmu-rasctl recover %s",
					DEVICE_TEXT(d), who_waits(d), dev);
		else
			log_record_send(&record,
					"%s: left isolated (%s). To recover it once: smmu-rasctl "
					"recover %s",
					DEVICE_TEXT(d), d->record.note, dev);
		break;
	default:
		send_given_up(&record, d);
		break;
	}
}

void report_taken_out(const struct device *d)
{
	struct log_record record;

	metrics_counting()->results[METRICS_EXHAUSTED]++;
	begin_recovery(&record, LOG_ERR, MESSAGE_TAKEN_OUT, d);
	log_record_send(&record,
			"%s: taken out of the system after %u attempt%s, as on_exhausted of rule "
			"%s says; nothing more is tried. When the cause is cured: echo 1 > "
			"/sys/bus/pci/rescan",
			DEVICE_TEXT(d), d->record.attempts, d->record.attempts == 1 ? "" : "s",
			d->record.rule);
}

void report_protected(const struct device *d)
{
	struct log_record record;

	metrics_counting()->results[METRICS_PROTECTED]++;
	begin_recovery(&record, LOG_ERR, MESSAGE_PROTECTED, d);
	log_record_send(&record,
			"%s: left fenced, its driver bound: %s. To go on, end that use and run: "
			"smmu-rasctl recover %s; to recover it although that takes the use away "
			"(data may be lost): smmu-rasctl recover --force %s; or leave it out of "
			"\"protect\" of rule %s and run: systemctl reload smmu-rasd",
			DEVICE_TEXT(d), d->record.note, d->record.dev, d->record.dev,
			d->record.rule);
}

void report_left_to_restart(const struct device *d)
{
	struct log_record record;

	begin_recovery(&record, LOG_WARNING, MESSAGE_LEFT_TO_RESTART, d);
	log_record_send(&record,
			"%s: its recovery is interrupted%s%s; smmu-rasd goes on with it when it is "
			"started again",
			DEVICE_TEXT(d), d->record.step[0] ? " in " : "", d->record.step);
}

void report_ignored(const struct device *d)
{
	struct log_record record;

	metrics_counting()->results[METRICS_POLICY]++;
	if (!journal_admits(JOURNAL_IGNORED, d->record.dev))
		return;
	begin_recovery(&record, LOG_NOTICE, MESSAGE_IGNORED, d);
	log_record_send(&record,
			"%s: left alone, fenced, because %s. To recover it all the same: "
			"smmu-rasctl recover %s",
			DEVICE_TEXT(d), d->record.note, d->record.dev);
}

void report_asked(const struct device *d, const char *what, uint32_t uid)
{
	struct log_record record;

	begin_recovery(&record, LOG_NOTICE, MESSAGE_ASKED, d);
	log_record_field(&record, "SMMU_RAS_UID", "%u", uid);
	log_record_send(&record, "%s: user %u asks to %s", DEVICE_TEXT(d), uid, what);
}

void report_device(const struct device *d, int level, const char *format, ...)
{
	struct log_record record;
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	begin_recovery(&record, level, NULL, d);
	log_record_send(&record, "%s: %s", DEVICE_TEXT(d), text);
}
