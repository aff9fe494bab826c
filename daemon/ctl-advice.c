// SPDX-License-Identifier: GPL-2.0-or-later
/* What the operator can do about a device, in plain words and with commands to paste. */
#include <inttypes.h>
#include <stdarg.h>

#include "ctl-gone.h"
#include "ctl-show.h"
#include "host.h"
#include "protect.h"
#include "sysfs.h"

struct advisor {
	struct advice *advice;
	size_t n;
};

static struct advice *advise(struct advisor *a, const char *format, ...) _printf_(2, 3);

/* Adds a sentence; the caller may add a command. */
static struct advice *advise(struct advisor *a, const char *format, ...)
{
	struct advice *advice = &a->advice[a->n < ADVICE_MAX - 1 ? a->n : ADVICE_MAX - 1];
	va_list ap;

	if (a->n < ADVICE_MAX)
		a->n++;
	va_start(ap, format);
	vsnprintf(advice->text, sizeof(advice->text), format, ap);
	va_end(ap);
	advice->command[0] = '\0';
	return advice;
}

static void command(struct advice *advice, const char *format, ...) _printf_(2, 3);

static void command(struct advice *advice, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(advice->command, sizeof(advice->command), format, ap);
	va_end(ap);
}

static void advise_journal(struct advisor *a, const char *dev)
{
	command(advise(a, "What happened, with explanations:"),
		"journalctl -x -u smmu-rasd SMMU_RAS_DEVICE=%s", dev);
}

/* --- by hand ---------------------------------------------------------------------------------- */

/* The driver that the device is to have in the end; "" for none. */
static const char *driver_wanted(const struct story *story)
{
	return story->has_record && story->record.driver[0] ? story->record.driver
							    : story->device.driver;
}

static const struct rule *rule_of(const struct story *story, const struct machine *m)
{
	struct device_subject s;

	if (!m->policy)
		return NULL;
	show_subject(&s, story);
	return policy_match(m->policy, &s.match);
}

bool story_lost_by_hand(const struct story *story, const struct machine *m, char *users,
			size_t size)
{
	const struct ras_device *device = &story->device;

	users[0] = '\0';
	if (device->state != IOMMU_RAS_STATE_FENCED || !device->driver[0])
		return false;
	if (!by_hand_takes_off_driver(rule_of(story, m)))
		return protect_check_reset(PROTECT_ALL, device->bus, device->dev, users, size);
	/* Without a driver's name it does not add what another rule would keep. */
	return protect_check(PROTECT_ALL, device->bus, device->dev, "", users, size);
}

const char *story_by_hand(const struct story *story, const struct machine *m,
			  char buf[static BY_HAND_SIZE])
{
	const struct by_hand h = {
		.bus = story->device.bus,
		.dev = story->device.dev,
		.state = story->device.state,
		.driver = story->device.driver,
		.wanted = driver_wanted(story),
		.rule = rule_of(story, m),
	};

	return by_hand_command(&h, buf);
}

/* What the daemon would do, for somebody who has none. */
static void advise_by_hand(struct advisor *a, const struct story *story, const struct machine *m)
{
	char users[256];
	char buf[BY_HAND_SIZE];
	struct advice *advice;

	if (story_lost_by_hand(story, m, users, sizeof(users)))
		advice = advise(a,
				"Or step by step, by hand. Stop first what uses it: %s. Then, as "
				"root:",
				story_users(users));
	else
		advice = advise(a, "Or step by step, by hand, as root:");
	command(advice, "%s", story_by_hand(story, m, buf));
}

/* --- isolated --------------------------------------------------------------------------------- */

const char *story_users(const char *text)
{
	return strncmp(text, "in use by ", 10) == 0 ? text + 10 : text;
}

bool story_note_users(const char *note, char *users, size_t size)
{
	char *advice;

	str_copy(users, size, story_users(note));
	advice = strstr(users, "; steps ");
	if (advice)
		*advice = '\0';
	return advice;
}

static void advise_protected(struct advisor *a, const struct story *story)
{
	const char *dev = story->device.dev;
	char users[STATE_NOTE_SIZE];
	bool keep = story_note_users(story->record.note, users, sizeof(users));

	advise(a,
	       "Stop what uses it first: %s. (umount, swapoff, move the route, shut the guest "
	       "down)",
	       users);
	command(advise(a, "Then:"), "smmu-rasctl recover %s", dev);
	if (keep)
		command(advise(a,
			       "Without stopping anything, since steps \"reset\", \"verify\" would "
			       "keep it: a rule with \"steps\": [\"reset\", \"verify\"] in "
			       "%s/policy.d/, then:",
			       host_dir(HOST_ETC)),
			"smmu-rasctl policy check && systemctl reload smmu-rasd");
	command(advise(a, "Or lose it (unsaved data of these is lost):"),
		"smmu-rasctl recover --force %s", dev);
}

/* No good policy was there when the daemon needed one. */
static void advise_isolate_all(struct advisor *a, const struct story *story,
			       const struct machine *m)
{
	if (m->policy || m->policy_hidden)
		command(advise(a,
			       "smmu-rasd had to refuse its policy, and leaves all devices fenced. "
			       "What is on disk now is good; have it read again:"),
			"systemctl reload smmu-rasd");
	else {
		advise(a,
		       "The policy on disk has a mistake, so smmu-rasd leaves all devices fenced: "
		       "%s",
		       m->policy_error);
		command(advise(a, "Mend it, and have it read again:"),
			"smmu-rasctl policy check && systemctl reload smmu-rasd");
	}
	command(advise(a, "To recover it at once:"), "smmu-rasctl recover %s", story->device.dev);
}

/* Has a slot been switched off and on, in vain? */
static const struct step_result *failed_step(const struct story *story, bool of_slot)
{
	for (unsigned int i = story->record.n_history; i-- > 0;) {
		const struct step_result *step = &story->record.history[i];

		if (step->error < 0 && streq(step->step, "slot-power-cycle") == of_slot)
			return step;
	}
	return NULL;
}

static void advise_exhausted(struct advisor *a, const struct story *story, const struct machine *m)
{
	const struct step_result *slot = failed_step(story, true);
	const struct step_result *other = failed_step(story, false);

	if (slot)
		advise(a,
		       "Every attempt failed%s%s%s%s, and its slot could not be switched off and "
		       "on: "
		       "%s. Power off the machine, not only reboot it; if that does not help, the "
		       "device is likely to be broken.",
		       other ? ", the last one with: " : "", other ? other->step : "",
		       other ? ": " : "", other ? other->note : "", slot->note);
	else
		advise(a,
		       "A device that a reset does not help is likely to be broken, or needs its "
		       "power switched off and on: power off the machine, not only reboot it.");
	command(advise(a, "To try once more, when the cause is cured:"), "smmu-rasctl recover %s",
		story->device.dev);
	advise_by_hand(a, story, m);
}

static void advise_isolated(struct advisor *a, const struct story *story, const struct machine *m)
{
	const struct device_record *record = &story->record;
	const char *dev = story->device.dev;

	switch (record->left) {
	case LEFT_PROTECTED:
		advise_protected(a, story);
		break;
	case LEFT_RATE:
		advise(a,
		       "It was fenced again and again (%s): its firmware or hardware is likely to "
		       "be at fault. Look for newer firmware, or have it replaced.",
		       record->note);
		command(advise(a, "To recover it once more all the same:"),
			"smmu-rasctl recover %s", dev);
		break;
	case LEFT_POLICY:
		if (streq(record->rule, "isolate-all")) {
			advise_isolate_all(a, story, m);
			break;
		}
		command(advise(a,
			       "The rule \"%s\" leaves it to you. Why it applies:", record->rule),
			"smmu-rasctl policy explain %s", dev);
		command(advise(a, "To recover it once:"), "smmu-rasctl recover %s", dev);
		break;
	case LEFT_EXHAUSTED:
		advise_exhausted(a, story, m);
		break;
	default:
		command(advise(a, "To recover it:"), "smmu-rasctl recover %s", dev);
		break;
	}
}

static void advise_driver(struct advisor *a, const struct story *story)
{
	const struct ras_device *device = &story->device;

	command(advise(a, "It is not fenced any more, but has no driver. To bind it:"),
		"echo %s > /sys/bus/%s/drivers/%s/bind", device->dev, device->bus,
		story->record.driver);
}

/* Unfenced, and its driver gave it up; what is mounted from it still holds the driver. */
static void advise_dead(struct advisor *a, const struct story *story)
{
	const struct ras_device *device = &story->device;
	char users[256];

	if (protect_check(PROTECT_ALL, device->bus, device->dev, "", users, sizeof(users)))
		advise(a,
		       "It is not fenced any more, but its driver gave it up, and what uses it has "
		       "lost "
		       "it: %s. Umount (or swapoff) that first.",
		       story_users(users));
	else
		advise(a, "It is not fenced any more, but its driver gave it up.");
	command(advise(a, "Bind it again, as root; then mount again what was mounted from it:"),
		"echo %s > /sys/bus/%s/drivers/%s/unbind && echo %s > /sys/bus/%s/drivers/%s/bind",
		device->dev, device->bus, device->driver, device->dev, device->bus, device->driver);
}

/* Fenced, or owed its driver, and no daemon. */
static void advise_unattended(struct advisor *a, const struct story *story, const struct machine *m)
{
	char buf[BY_HAND_SIZE];

	if (story->device.state == IOMMU_RAS_STATE_FENCED) {
		advise_by_hand(a, story, m);
		return;
	}
	story_by_hand(story, m, buf);
	if (buf[0])
		command(advise(a, story->device.state == IOMMU_RAS_STATE_SANITIZED
					  ? "It was reset already. To let it work again without "
					    "smmu-rasd, as root:"
					  : "It is not fenced any more, but has no driver. To bind "
					    "it without smmu-rasd, as root:"),
			"%s", buf);
}

static void advise_stuck(struct advisor *a, const struct story *story, const struct machine *m)
{
	const struct device_record *record = &story->record;

	advise(a,
	       "The kernel does not come back from the step \"%s\", and nobody can interrupt it. "
	       "%s%s.",
	       record->step[0] ? record->step : "preparations",
	       story->device.state == IOMMU_RAS_STATE_ACTIVE
		       ? "The device is not fenced any more, but does not work"
		       : "The device stays fenced, and harms nothing else",
	       m->daemon ? "; smmu-rasd goes on as soon as the kernel lets it"
			 : "; smmu-rasd, once it runs, goes on as soon as the kernel lets it");
	if (record->worker > 0)
		command(advise(a, "What it waits for:"), "cat /proc/%d/stack; dmesg | tail -n 50",
			(int)record->worker);
	advise(a, "If it does not end by itself, only a reboot of the machine helps.");
}

size_t story_advice(const struct story *story, const struct machine *m,
		    struct advice advice[static ADVICE_MAX])
{
	struct advisor a = {.advice = advice};
	const char *dev = story->device.dev;

	/* Most of what follows is asked of it. */
	if (!m->daemon && story->verdict < VERDICT_RECOVERED)
		command(advise(&a, story->verdict == VERDICT_UNATTENDED
					   ? "Nobody recovers it, because smmu-rasd does not run. "
					     "Start it, and it does what the policy says:"
					   : "smmu-rasd does not run. Start it:"),
			"systemctl start smmu-rasd");
	switch (story->verdict) {
	case VERDICT_STUCK:
		advise_stuck(&a, story, m);
		break;
	case VERDICT_ISOLATED:
		if (story->device.state == IOMMU_RAS_STATE_ACTIVE && story->record.driver[0])
			advise_driver(&a, story);
		else
			advise_isolated(&a, story, m);
		break;
	case VERDICT_DEAD:
		advise_dead(&a, story);
		break;
	case VERDICT_UNATTENDED:
		advise_unattended(&a, story, m);
		break;
	case VERDICT_BACKOFF:
		command(advise(&a,
			       "Nothing need be done: the next attempt begins at %s. Not to wait:",
			       CTL_TIME_TEXT(story->record.next)),
			"smmu-rasctl recover %s", dev);
		break;
	case VERDICT_BUSY:
		command(advise(&a, "Nothing: smmu-rasd is at it. To watch it:"),
			"smmu-rasctl monitor %s", dev);
		break;
	case VERDICT_IGNORED:
		command(advise(&a,
			       "Nothing, if that is what you want: rule \"%s\" ignores it, and it "
			       "stays fenced. To recover it once:",
			       story->record.rule),
			"smmu-rasctl recover %s", dev);
		break;
	case VERDICT_GONE:
		a.n = gone_advice(story, advice);
		break;
	case VERDICT_RECOVERED:
		advise(&a, "Nothing: it works again. If it happens often, look for newer firmware, "
			   "or have it replaced.");
		break;
	case VERDICT_WELL:
		return 0;
	}
	if (story->has_record)
		advise_journal(&a, dev);
	return a.n;
}
