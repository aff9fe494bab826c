// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl show DEV: all that is known about one device. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "ctl.h"
#include "sysfs.h"

static void print_kernel(const struct ras_device *device)
{
	uint64_t begun = ctl_fence_time(device);
	char buf[256];

	printf("%s  %s\n", VISIBLE(device->dev),
	       VISIBLE(ctl_device_name(device->bus, device->dev, buf, sizeof(buf))));
	printf("%16s: %s\n", "State", ras_state_name(device->state));
	if (device->reason)
		printf("%16s: %s%s\n",
		       device->state == IOMMU_RAS_STATE_ACTIVE ? "Last fenced for" : "Reason",
		       ras_reason_name(device->reason),
		       device->state == IOMMU_RAS_STATE_ACTIVE ? " (over now)" : "");
	if (begun && device->state != IOMMU_RAS_STATE_ACTIVE)
		printf("%16s: %s (%s ago)\n", "Fenced since",
		       ctl_time_text(begun, buf, sizeof(buf)),
		       USEC_TEXT(now_usec(CLOCK_REALTIME) - begun));
	printf("%16s: %" PRIu32 "\n", "Times fenced", device->fence_count);
	if (device->fence_id)
		printf("%16s: %" PRIu64 "\n", "Fence id", device->fence_id);
	if (device->suppressed)
		printf("%16s: %" PRIu64 " invalidations not sent\n", "Suppressed",
		       device->suppressed);
	printf("%16s: %s\n", "Driver", device->driver[0] ? VISIBLE(device->driver) : "none");
	if (device->iommu[0])
		printf("%16s: %s\n", "IOMMU", VISIBLE(device->iommu));
	if (device->has_group)
		printf("%16s: %" PRIu32 "\n", "IOMMU group", device->group);
	if (device->n_stream_ids) {
		printf("%16s:", "Stream ids");
		for (unsigned int i = 0; i < device->n_stream_ids && i < RAS_STREAM_IDS_MAX; i++)
			printf(" 0x%" PRIx32, device->stream_ids[i]);
		printf("%s\n", device->n_stream_ids > RAS_STREAM_IDS_MAX ? " ..." : "");
	}
	if (sysfs_read(device->bus, device->dev, "reset_method", buf, sizeof(buf)) >= 0)
		printf("%16s: %s\n", "Reset methods", buf[0] ? VISIBLE(buf) : "none");
}

static void print_record(const struct device_record *record, bool daemon)
{
	char buf[128];

	printf("%16s: %s\n", "Recovery", VISIBLE(ctl_recovery_text(record, buf, sizeof(buf))));
	printf("%16s: %s\n", "Since", ctl_time_text(record->since, buf, sizeof(buf)));
	if (record->rule[0])
		printf("%16s: %s\n", "Rule", VISIBLE(record->rule));
	if (record->note[0])
		printf("%16s: %s\n", "Because", VISIBLE(record->note));
	if (record->driver[0])
		printf("%16s: %s\n", "Driver to bind", VISIBLE(record->driver));
	if (!daemon)
		printf("%16s  smmu-rasd is not running; it goes on when it is started\n", "");
}

int ctl_show(const struct ctl *ctl, int argc, char **argv)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	struct device_record record;
	struct ras_device device;
	char name[PCI_NAME_SIZE];
	char text[160];
	bool has_record;
	int r;

	if (argc != 2) {
		fprintf(stderr, "\"show\" needs one device, such as: smmu-rasctl show 01:00.0\n");
		return CTL_USAGE;
	}
	r = ctl_parse_device(argv[1], name);
	if (r != CTL_OK)
		return r;
	r = ctl_connect(&link);
	if (r != CTL_OK) {
		kernel_link_close(&link);
		return r;
	}
	r = kernel_link_request(&link, IOMMU_RAS_CMD_DEVICE_GET, "pci", name, &device, text,
				sizeof(text));
	kernel_link_close(&link);
	if (r == -ENODEV) {
		if (sysfs_device_exists("pci", name))
			fprintf(stderr, "%s cannot be fenced: %s\n", name,
				text[0] ? VISIBLE(text) : "it is not behind an IOMMU");
		else
			fprintf(stderr,
				"There is no PCI device %s; lspci -D lists those that are\n", name);
		return CTL_NO_DEVICE;
	}
	if (r < 0) {
		fprintf(stderr, "The kernel does not tell about %s: %s\n", name,
			text[0] ? VISIBLE(text) : strerror(-r));
		return CTL_FAILURE;
	}
	has_record = ctl_record("pci", name, &record);
	if (ctl->json)
		return ctl_print_json(ctl_device_json(&device, has_record ? &record : NULL), false);
	print_kernel(&device);
	if (has_record)
		print_record(&record, state_daemon_runs());
	return CTL_OK;
}
