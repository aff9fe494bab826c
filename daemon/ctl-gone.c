// SPDX-License-Identifier: GPL-2.0-or-later
/* Devices that left the system while they were fenced, or were being recovered. */
#include <inttypes.h>

#include "ctl-gone.h"
#include "gone.h"

bool gone_read(const char *bus, const char *dev, struct story *story)
{
	struct device_record record;

	if (state_load_in(STATE_GONE, bus, dev, &record) < 0)
		return false;
	gone_story(story, &record);
	return true;
}

void gone_story(struct story *story, const struct device_record *record)
{
	*story = (struct story){.record = *record, .has_record = true, .verdict = VERDICT_GONE};
	str_copy(story->device.bus, sizeof(story->device.bus), record->bus);
	str_copy(story->device.dev, sizeof(story->device.dev), record->dev);
	story->device.fence_id = record->fence_id;
	story->device.reason = record->reason;
}

const char *gone_name(const struct device_record *record, char *buf, size_t size)
{
	unsigned int vendor;
	unsigned int device;

	buf[0] = '\0';
	/* As sysfs_identity() writes it: the inode, then the ids. */
	if (!streq(record->bus, "pci") ||
	    sscanf(record->identity, "%*u %x %x", &vendor, &device) != 2) /* NOLINT(cert-err34-c) */
		return buf;
	return ctl_id_name(vendor, device, buf, size);
}

/* Did the policy take it away, and not bring it back? */
static bool by_last_resort(const struct device_record *record)
{
	return record->last_resort &&
	       (record->was == RECOVERY_RUNNING || record->was == RECOVERY_STUCK);
}

/* What was done about it, or why nothing was. */
const char *gone_was(const struct story *story, char *buf, size_t size)
{
	const struct device_record *record = &story->record;
	struct story then = *story;
	char text[512];

	switch (record->was) {
	case RECOVERY_QUEUED:
		str_copy(buf, size, "waited for its turn");
		break;
	case RECOVERY_RUNNING:
	case RECOVERY_STUCK:
		if (by_last_resort(record))
			snprintf(buf, size, "all attempts had failed, and rule %s took it away",
				 record->rule);
		else
			snprintf(buf, size, "%s was running",
				 record->step[0] ? record->step : "a recovery");
		break;
	case RECOVERY_BACKOFF:
		snprintf(buf, size, "attempt %u had failed", record->attempts);
		break;
	case RECOVERY_ISOLATED:
	case RECOVERY_IGNORED:
		then.record.state = record->was;
		then.verdict = record->was == RECOVERY_IGNORED ? VERDICT_IGNORED : VERDICT_ISOLATED;
		story_short(&then, text, sizeof(text));
		if (record->was == RECOVERY_ISOLATED && record->left == LEFT_EXHAUSTED)
			snprintf(buf, size, "was given up, %s", text);
		else if (record->was == RECOVERY_ISOLATED && record->left != LEFT_PROTECTED)
			snprintf(buf, size, "was isolated %s", text);
		else
			snprintf(buf, size, "was %s", text);
		break;
	default:
		str_copy(buf, size, "smmu-rasd did not run");
		break;
	}
	return buf;
}

size_t gone_advice(const struct story *story, struct advice advice[static ADVICE_MAX])
{
	const struct device_record *record = &story->record;
	uint64_t before = record->since > 60 * USEC_PER_SEC ? record->since - 60 * USEC_PER_SEC : 0;
	size_t n = 0;

	if (by_last_resort(record))
		snprintf(advice[n].text, sizeof(advice[n].text),
			 "All attempts had failed, and rule \"%s\" took it out of the system, as "
			 "its on_exhausted says: it is likely to be broken. What the kernel said:",
			 record->rule);
	else
		snprintf(advice[n].text, sizeof(advice[n].text),
			 "It was pulled out, switched off, or removed by hand. If nobody did that, "
			 "it has lost its link or its power; what the kernel said:");
	snprintf(advice[n++].command, sizeof(advice[0].command),
		 "journalctl -k -S '%s' | grep -e %s -e pciehp -e AER", CTL_TIME_TEXT(before),
		 story->device.dev);
	snprintf(advice[n].text, sizeof(advice[n].text),
		 "What needs it does not work until it is back. Replace it, or cut its power for a "
		 "while; then have the kernel look for it, as root:");
	snprintf(advice[n++].command, sizeof(advice[0].command), "echo 1 > /sys/bus/%s/rescan",
		 story->device.bus);
	snprintf(advice[n].text, sizeof(advice[n].text),
		 "smmu-rasctl goes on to tell of it until a device is at this address again, for a "
		 "day at the most. Nothing else depends on that.");
	advice[n++].command[0] = '\0';
	return n;
}
