// SPDX-License-Identifier: GPL-2.0-or-later
/* What the operator can do about a device, in plain words and with commands to paste. */
#include <inttypes.h>
#include <stdarg.h>

#include "ctl-story.h"
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

/* What the daemon would do, for somebody who has none. */
static void advise_by_hand(struct advisor *a, const struct story *story)
{
	const struct ras_device *device = &story->device;
	const char *driver = story->record.driver[0] ? story->record.driver : device->driver;
	const char *bus = device->bus;
	const char *dev = device->dev;
	struct advice *advice = advise(a, "Or recover it by hand, as root:");

	if (driver[0])
		command(advice,
			"echo %s > /sys/bus/%s/drivers/%s/unbind; echo 1 > "
			"/sys/bus/%s/devices/%s/reset; echo %s > /sys/bus/%s/drivers/%s/bind",
			dev, bus, driver, bus, dev, dev, bus, driver);
	else
		command(advice, "echo 1 > /sys/bus/%s/devices/%s/reset && smmu-rasctl reattach %s",
			bus, dev, dev);
}

static void advise_isolated(struct advisor *a, const struct story *story, const struct machine *m)
{
	const struct device_record *record = &story->record;
	const char *dev = story->device.dev;

	switch (record->left) {
	case LEFT_PROTECTED:
		advise(a,
		       "To recover it, its driver has to be unbound, and that would take away what "
		       "is in use: %s.",
		       record->note);
		command(advise(a, "When that is done:"), "smmu-rasctl recover %s", dev);
		command(advise(a, "To recover it although it is in use (what uses it is lost):"),
			"smmu-rasctl recover --force %s", dev);
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
		if (!m->policy) {
			advise(a,
			       "The policy on disk has a mistake, so smmu-rasd leaves all devices "
			       "fenced: %s",
			       m->policy_error);
			command(advise(a, "Mend it, and have it read again:"),
				"smmu-rasctl policy check && systemctl reload smmu-rasd");
			break;
		}
		command(advise(a,
			       "The rule \"%s\" leaves it to you. Why it applies:", record->rule),
			"smmu-rasctl policy explain %s", dev);
		command(advise(a, "To recover it once:"), "smmu-rasctl recover %s", dev);
		break;
	case LEFT_EXHAUSTED:
		advise(a,
		       "Every attempt failed, the last one with: %s. A device that a reset does "
		       "not help is likely to be broken, or needs its power switched off and on.",
		       record->note);
		command(advise(a, "To try once more:"), "smmu-rasctl recover %s", dev);
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

static void advise_stuck(struct advisor *a, const struct story *story)
{
	const struct device_record *record = &story->record;

	advise(a,
	       "The kernel does not come back from the step \"%s\", and nobody can interrupt it. "
	       "%s; smmu-rasd goes on as soon as the kernel lets it.",
	       record->step[0] ? record->step : "preparations",
	       story->device.state == IOMMU_RAS_STATE_ACTIVE
		       ? "The device is not fenced any more, but does not work"
		       : "The device stays fenced, and harms nothing else");
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

	switch (story->verdict) {
	case VERDICT_STUCK:
		advise_stuck(&a, story);
		break;
	case VERDICT_ISOLATED:
		if (story->device.state == IOMMU_RAS_STATE_ACTIVE && story->record.driver[0])
			advise_driver(&a, story);
		else
			advise_isolated(&a, story, m);
		break;
	case VERDICT_DEAD:
		command(advise(&a, "It is not fenced any more, but its driver gave it up. Bind it "
				   "again; what was mounted from it has to be mounted again:"),
			"echo %s > /sys/bus/%s/drivers/%s/unbind; echo %s > "
			"/sys/bus/%s/drivers/%s/bind",
			dev, story->device.bus, story->device.driver, dev, story->device.bus,
			story->device.driver);
		break;
	case VERDICT_UNATTENDED:
		command(advise(&a, "Nobody recovers it, because smmu-rasd does not run. Start it, "
				   "and it does what the policy says:"),
			"systemctl start smmu-rasd; systemctl status smmu-rasd");
		if (story->device.state == IOMMU_RAS_STATE_SANITIZED)
			command(advise(&a, "It was reset already. To let it work again without "
					   "smmu-rasd:"),
				"smmu-rasctl reattach %s", dev);
		else
			advise_by_hand(&a, story);
		break;
	case VERDICT_BACKOFF:
	case VERDICT_BUSY:
		command(advise(&a, "Nothing: smmu-rasd is at it. To watch it:"),
			"smmu-rasctl monitor");
		break;
	case VERDICT_IGNORED:
		command(advise(&a,
			       "Nothing, if that is what you want: rule \"%s\" ignores it, and it "
			       "stays fenced. To recover it once:",
			       story->record.rule),
			"smmu-rasctl recover %s", dev);
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
