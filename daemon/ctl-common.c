// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <pci/pci.h>
#include <time.h>

#include "ctl.h"
#include "sysfs.h"

int ctl_connect(struct kernel_link *link)
{
	int r = kernel_link_open(link, false, 1024 * 1024);

	if (r >= 0)
		r = kernel_link_resolve(link);
	if (r == -ENOENT) {
		fprintf(stderr,
			"This kernel does not fence devices: it has no netlink family \"%s\".\n",
			IOMMU_RAS_FAMILY_NAME);
		return CTL_NO_FAMILY;
	}
	if (r < 0) {
		fprintf(stderr, "Cannot talk to the kernel: %s\n", strerror(-r));
		return CTL_FAILURE;
	}
	return CTL_OK;
}

int ctl_parse_device(const char *text, char name[static PCI_NAME_SIZE])
{
	struct pci_address address;

	if (pci_address_parse(text, &address) < 0) {
		fprintf(stderr,
			"\"%s\" is not a PCI device; write it as lspci does, such as 01:00.0 or "
			"0000:01:00.0, or as a path below /sys\n",
			VISIBLE(text));
		return CTL_USAGE;
	}
	pci_address_format(&address, name);
	return CTL_OK;
}

const char *ctl_device_name(const char *bus, const char *dev, char *buf, size_t size)
{
	static struct pci_access *access;
	char text[16];
	unsigned int vendor;
	unsigned int device;

	buf[0] = '\0';
	if (!streq(bus, "pci") || sysfs_read(bus, dev, "vendor", text, sizeof(text)) < 0)
		return buf;
	vendor = (unsigned int)strtoul(text, NULL, 16);
	if (sysfs_read(bus, dev, "device", text, sizeof(text)) < 0)
		return buf;
	device = (unsigned int)strtoul(text, NULL, 16);
	/* Kept until the program ends; only names are looked up, no bus is scanned. */
	if (!access)
		access = pci_alloc();
	if (!access || !pci_lookup_name(access, buf, (int)size,
					PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE, vendor, device))
		buf[0] = '\0';
	return buf;
}

bool ctl_record(const char *bus, const char *dev, struct device_record *ret)
{
	return state_load(bus, dev, ret) >= 0 && ret->state != RECOVERY_IDLE;
}

const char *ctl_recovery_text(const struct device_record *record, char *buf, size_t size)
{
	uint64_t now = now_usec(CLOCK_REALTIME);

	switch (record->state) {
	case RECOVERY_RUNNING:
		snprintf(buf, size, "running %s, attempt %u",
			 record->step[0] ? record->step : "preparations", record->attempts);
		break;
	case RECOVERY_STUCK:
		snprintf(buf, size, "stuck in %s", record->step[0] ? record->step : "preparations");
		break;
	case RECOVERY_BACKOFF:
		snprintf(buf, size, "attempt %u failed, next in %s", record->attempts,
			 USEC_TEXT(record->next > now ? record->next - now : 0));
		break;
	case RECOVERY_ISOLATED:
		if (record->attempts > 0)
			snprintf(buf, size, "isolated after %u attempt%s", record->attempts,
				 record->attempts == 1 ? "" : "s");
		else
			snprintf(buf, size, "isolated");
		break;
	default:
		str_copy(buf, size, recovery_state_name(record->state));
		break;
	}
	return buf;
}

uint64_t ctl_fence_time(const struct ras_device *device)
{
	uint64_t boot = now_usec(CLOCK_BOOTTIME);
	uint64_t begun = device->fence_time / NSEC_PER_USEC;

	if (device->fence_time == 0 || begun > boot)
		return 0;
	return now_usec(CLOCK_REALTIME) - (boot - begun);
}

const char *ctl_time_text(uint64_t usec, char *buf, size_t size)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(buf, size, "%F %T", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

const char *ctl_time_json(uint64_t usec, char *buf, size_t size)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	char text[32];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%FT%T", &tm) == 0)
		text[0] = '\0';
	snprintf(buf, size, "%s.%06" PRIu64 "Z", text, usec % USEC_PER_SEC);
	return buf;
}

/* A string, or null for "". */
static json_t *text_or_null(const char *s)
{
	return s[0] ? json_string(s) : json_null();
}

static json_t *time_or_null(uint64_t usec)
{
	char buf[48];

	return usec ? json_string(ctl_time_json(usec, buf, sizeof(buf))) : json_null();
}

static json_t *recovery_json(const struct device_record *record)
{
	return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "state",
			 recovery_state_name(record->state), "attempts",
			 (json_int_t)record->attempts, "rule", text_or_null(record->rule), "step",
			 text_or_null(record->step), "note", text_or_null(record->note),
			 "driver_to_bind", text_or_null(record->driver), "since",
			 time_or_null(record->since), "next", time_or_null(record->next));
}

json_t *ctl_device_json(const struct ras_device *device, const struct device_record *record)
{
	json_t *ids = json_array();
	char name[256];

	for (unsigned int i = 0; i < device->n_stream_ids && i < RAS_STREAM_IDS_MAX; i++)
		json_array_append_new(ids, json_integer(device->stream_ids[i]));
	ctl_device_name(device->bus, device->dev, name, sizeof(name));
	return json_pack(
		"{s:s, s:s, s:o, s:s, s:o, s:I, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:o, "
		"s:o}",
		"device", device->dev, "bus", device->bus, "name", text_or_null(name), "state",
		ras_state_name(device->state), "reason",
		device->reason ? json_string(ras_reason_name(device->reason)) : json_null(),
		"event_seq", (json_int_t)device->event_seq, "fence_id",
		(json_int_t)device->fence_id, "fence_time", time_or_null(ctl_fence_time(device)),
		"fence_count", (json_int_t)device->fence_count, "suppressed",
		(json_int_t)device->suppressed, "driver", text_or_null(device->driver), "iommu",
		text_or_null(device->iommu), "group",
		device->has_group ? json_integer(device->group) : json_null(), "stream_ids", ids,
		"recovery", record ? recovery_json(record) : json_null());
}

int ctl_print_json(json_t *json, bool one_line)
{
	char *text = json ? json_dumps(json, one_line ? 0 : JSON_INDENT(2)) : NULL;
	int r = CTL_FAILURE;

	if (text && puts(text) >= 0 && fflush(stdout) == 0)
		r = CTL_OK;
	else
		fprintf(stderr, "Cannot write the answer: %m\n");
	free(text);
	json_decref(json);
	return r;
}
