// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl monitor: a line for each event of the kernel, as it comes. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "ctl.h"

struct monitor {
	const struct ctl *ctl;
	uint64_t last_seq;
};

static void print_time(void)
{
	uint64_t now = now_usec(CLOCK_REALTIME);
	char buf[32];

	printf("%s.%03" PRIu64 "  ", ctl_time_text(now, buf, sizeof(buf)),
	       now % USEC_PER_SEC / USEC_PER_MSEC);
}

static int print_event(const struct monitor *m, const char *event, const struct ras_device *device)
{
	if (m->ctl->json) {
		json_t *json = ctl_device_json(device, NULL);
		char now[48];

		json_object_del(json, "recovery");
		json_object_set_new(json, "event", json_string(event));
		json_object_set_new(
			json, "time",
			json_string(ctl_time_json(now_usec(CLOCK_REALTIME), now, sizeof(now))));
		return ctl_print_json(json, true) == CTL_OK ? 0 : -EPIPE;
	}
	print_time();
	printf("%-11s  %s  %-10s  %-14s  fence %" PRIu64, event, VISIBLE(device->dev),
	       device->driver[0] ? VISIBLE(device->driver) : "(no driver)",
	       device->reason ? ras_reason_name(device->reason) : "-", device->fence_id);
	if (device->suppressed)
		printf(", %" PRIu64 " invalidations not sent", device->suppressed);
	putchar('\n');
	/* Somebody is watching. */
	return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static int print_device(const struct kernel_message *message, void *userdata)
{
	const struct monitor *m = userdata;

	/* What is fenced already, or still; no event, so it is told from one. */
	if (m->ctl->json)
		return print_event(m, "state", &message->device);
	return print_event(
		m, message->device.state == IOMMU_RAS_STATE_SANITIZED ? "(sanitized)" : "(fenced)",
		&message->device);
}

static int handle(const struct kernel_message *message, void *userdata)
{
	struct monitor *m = userdata;
	const char *event = kernel_event_name(message->type);

	if (!event)
		return 0;
	/* A gap; the caller dumps, and this event goes first. */
	if (m->last_seq != 0 && message->device.event_seq != m->last_seq + 1) {
		m->last_seq = message->device.event_seq;
		print_event(m, event, &message->device);
		return -ENOBUFS;
	}
	m->last_seq = message->device.event_seq;
	return print_event(m, event, &message->device);
}

static int print_state(struct monitor *m)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	int r = ctl_connect(&link);

	if (r == CTL_OK && kernel_link_dump(&link, print_device, m) == -EPIPE)
		r = CTL_FAILURE;
	kernel_link_close(&link);
	return r;
}

static int events_lost(struct monitor *m)
{
	m->last_seq = 0;
	if (m->ctl->json) {
		char now[48];
		int r = ctl_print_json(
			json_pack("{s:s, s:s}", "event", "lost", "time",
				  ctl_time_json(now_usec(CLOCK_REALTIME), now, sizeof(now))),
			true);

		if (r != CTL_OK)
			return r;
	} else {
		print_time();
		printf("lost         some events; these devices are fenced now:\n");
	}
	return print_state(m);
}

int ctl_monitor(const struct ctl *ctl, int argc, char **argv)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	struct monitor m = {.ctl = ctl};
	int r;

	if (argc > 1) {
		fprintf(stderr, "\"monitor\" takes no arguments, found \"%s\"\n", VISIBLE(argv[1]));
		return CTL_USAGE;
	}
	r = ctl_connect(&link);
	if (r != CTL_OK) {
		kernel_link_close(&link);
		return r;
	}
	r = kernel_link_join(&link);
	if (r < 0) {
		fprintf(stderr, "Cannot subscribe to the kernel's events: %s\n", strerror(-r));
		kernel_link_close(&link);
		return CTL_FAILURE;
	}
	r = print_state(&m);
	while (r == CTL_OK) {
		int n = kernel_link_receive(&link, handle, &m);

		/* One that cannot be understood is as good as lost. */
		if (n == -ENOBUFS || n == -EBADMSG) {
			r = events_lost(&m);
		} else if (n == -EPIPE) {
			/* Whoever read us has gone, as head(1) does. */
			break;
		} else if (n < 0) {
			fprintf(stderr, "Cannot read the kernel's events: %s\n", strerror(-n));
			r = CTL_FAILURE;
		}
	}
	kernel_link_close(&link);
	return r;
}
