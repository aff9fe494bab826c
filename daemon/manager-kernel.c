// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's events, dumps of its devices, and when to ask for one. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "host.h"
#include "log.h"
#include "manager.h"
#include "messages.h"
#include "metrics.h"

/* What the kernel may be ahead of us before events are lost; a loss costs a dump. */
#define EVENTS_RCVBUF (8 * 1024 * 1024)
#define DUMPS_RCVBUF  (1024 * 1024)

/* Datagrams taken from a socket before the other sources have their turn. */
#define BATCH 256

/* Before a dump that failed is asked for again; doubles each time. */
#define DUMP_RETRY_USEC	    USEC_PER_SEC
#define DUMP_RETRY_MAX_USEC (60 * USEC_PER_SEC)

static void events_lost(struct manager *m, const char *why)
{
	struct log_record record;

	metrics_counting()->events_lost++;
	m->last_seq = 0;
	m->events_lost = true;
	/* In a flood they are lost again and again; the dump that is due makes up for all of them.
	 */
	if (m->dumping && m->dump_again)
		return;
	log_record_init(&record, LOG_WARNING, MESSAGE_EVENTS_LOST);
	log_record_send(&record, "Events of the kernel were lost (%s); asking it for all devices",
			why);
	manager_ask_kernel(m);
}

static void family_appeared(struct manager *m, uint16_t family, uint32_t group)
{
	struct log_record record;
	int r;

	if (m->events.family == family)
		return;
	m->events.family = family;
	m->events.group = group;
	m->dumps.family = family;
	m->dumps.group = group;
	r = kernel_link_join(&m->events);
	if (r < 0) {
		log_error("Cannot subscribe to the kernel's iommu-ras events: %s", strerror(-r));
		return;
	}
	log_record_init(&record, LOG_INFO, MESSAGE_FAMILY);
	log_record_send(&record, "Watching the kernel's iommu-ras events");
	m->last_seq = 0;
	m->status_dirty = true;
	manager_ask_kernel(m);
}

static void family_missing(struct manager *m)
{
	struct log_record record;

	m->events.family = 0;
	m->dumps.family = 0;
	m->dumping = false;
	m->status_dirty = true;
	log_record_init(&record, LOG_NOTICE, MESSAGE_NO_FAMILY);
	log_record_send(&record, "This kernel does not fence devices (it has no netlink family "
				 "iommu-ras); waiting for it to appear");
}

static int event_handler(const struct kernel_message *message, void *userdata)
{
	struct manager *m = userdata;
	uint64_t seq = message->device.event_seq;

	switch (message->type) {
	case KERNEL_FENCED:
	case KERNEL_SANITIZED:
	case KERNEL_UNFENCED:
	case KERNEL_REMOVED:
		if (m->last_seq != 0 && seq != m->last_seq + 1) {
			char why[80];

			snprintf(why, sizeof(why), "event %" PRIu64 " came after event %" PRIu64,
				 seq, m->last_seq);
			events_lost(m, why);
		}
		m->last_seq = seq;
		device_kernel_update(m, message->type, &message->device);
		break;
	case KERNEL_FAMILY:
		family_appeared(m, message->family, message->group);
		break;
	case KERNEL_FAMILY_GONE:
		family_missing(m);
		break;
	case KERNEL_BAD:
		/* Whatever it was about, a dump tells. */
		m->event_bad = true;
		break;
	default:
		break;
	}
	return 0;
}

static void bad_message(struct manager *m)
{
	if (!m->bad_message_logged)
		log_error("The kernel sent a message that cannot be understood; it is skipped, and "
			  "so will be others like it");
	m->bad_message_logged = true;
}

/*
 * After a full batch workers have their turn as well, and are not starved by a flood. Nor is the
 * watchdog, which goes before all: what still reads events makes progress, and one batch is short.
 */
static void set_flooded(struct manager *m, bool flooded)
{
	if (m->flooded == flooded)
		return;
	m->flooded = flooded;
	(void)sd_event_source_set_priority(m->events_source,
					   flooded ? PRIORITY_WORKER : PRIORITY_KERNEL);
}

static int on_events(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
		     void *userdata)
{
	struct manager *m = userdata;

	for (int i = 0; i < BATCH; i++) {
		int r = kernel_link_receive(&m->events, event_handler, m);

		if (r == -EAGAIN) {
			set_flooded(m, false);
			if (m->overrun)
				events_lost(m, "the socket was full");
			m->overrun = false;
			return 0;
		}
		if (r == -ENOBUFS) {
			/*
			 * The kernel says this first, and from then on drops events until we have
			 * read all that is left (NETLINK_S_CONGESTED, net/netlink/af_netlink.c):
			 * what it would answer before that may be old news, and nobody would tell.
			 */
			m->overrun = true;
		} else if (r == -EBADMSG) {
			bad_message(m);
			/* At once: the next event, which would reveal the gap, may be long in
			 * coming. */
			if (m->event_bad && m->events.family != 0)
				events_lost(m, "one cannot be understood");
			m->event_bad = false;
		} else if (r < 0) {
			log_error("Cannot read the kernel's events: %s", strerror(-r));
			return sd_event_exit(m->event, r);
		}
	}
	set_flooded(m, true);
	return 0;
}

static int on_dump_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;

	m->dump_retry = sd_event_source_disable_unref(m->dump_retry);
	manager_ask_kernel(m);
	return 0;
}

static void dump_later(struct manager *m)
{
	m->dumping = false;
	if (m->dump_retry)
		return;
	m->dump_wait = m->dump_wait ? m->dump_wait * 2 : DUMP_RETRY_USEC;
	if (m->dump_wait > DUMP_RETRY_MAX_USEC)
		m->dump_wait = DUMP_RETRY_MAX_USEC;
	(void)sd_event_add_time_relative(m->event, &m->dump_retry, CLOCK_MONOTONIC, m->dump_wait, 0,
					 on_dump_retry, m);
}

void manager_ask_kernel(struct manager *m)
{
	int r;

	if (m->events.family == 0)
		return;
	if (m->dumping) {
		m->dump_again = true;
		return;
	}
	m->generation++;
	m->dump_again = false;
	m->dump_bad = false;
	r = kernel_link_send_dump(&m->dumps);
	if (r < 0) {
		log_warning("Cannot ask the kernel for its devices: %s", strerror(-r));
		dump_later(m);
		return;
	}
	m->dumping = true;
}

/*
 * An event that was read while the dump was on its way is newer than the dump, as a rule. After a
 * loss it may be one that was still in the socket, and what followed it was lost: a device that the
 * dump leaves out may be fenced since, or not any more. Another dump tells.
 */
static bool perhaps_old_news(const struct manager *m, const struct device *d)
{
	return m->events_lost && d->listed != m->generation && device_is_fenced(d);
}

static void dump_done(struct manager *m, int error, bool interrupted)
{
	struct device *d;
	struct device *next;
	bool unsure = false;

	m->dumping = false;
	/*
	 * Whatever could not be read may have been about any device: none is done with because it
	 * was not named, and those that were read are recovered all the same.
	 */
	if (error >= 0 && m->dump_bad) {
		manager_ready(m);
		dump_later(m);
		return;
	}
	if (error < 0) {
		log_warning("The kernel could not list its devices: %s", strerror(-error));
		dump_later(m);
		return;
	}
	if (interrupted || m->dump_again) {
		manager_ask_kernel(m);
		return;
	}
	for (d = TAILQ_FIRST(&m->devices); d; d = next) {
		next = TAILQ_NEXT(d, all);
		if (d->generation != m->generation)
			device_not_in_dump(d);
		else if (perhaps_old_news(m, d))
			unsure = true;
	}
	manager_ready(m);
	if (unsure) {
		dump_later(m);
		return;
	}
	m->events_lost = false;
	m->dump_wait = 0;
}

static int dump_handler(const struct kernel_message *message, void *userdata)
{
	struct manager *m = userdata;

	if (!m->dumping || message->seq != m->dumps.seq)
		return 0;
	if (message->interrupted)
		m->dump_again = true;
	if (message->type == KERNEL_BAD)
		m->dump_bad = true;
	if (message->type == KERNEL_DEVICE)
		device_kernel_update(m, KERNEL_DEVICE, &message->device);
	else if (message->type == KERNEL_DONE || message->type == KERNEL_ERROR)
		dump_done(m, message->error, message->interrupted);
	return 0;
}

static int on_dumps(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
		    void *userdata)
{
	struct manager *m = userdata;

	for (int i = 0; i < BATCH; i++) {
		int r = kernel_link_receive(&m->dumps, dump_handler, m);

		if (r == -EAGAIN)
			return 0;
		if (r == -EBADMSG) {
			/* Also when it was too short to say which dump it belongs to. */
			m->dump_bad = true;
			bad_message(m);
		} else if (r < 0) {
			log_warning("Cannot read the kernel's devices: %s", strerror(-r));
			if (r == -ECONNRESET)
				return sd_event_exit(m->event, r);
			dump_later(m);
		}
	}
	return 0;
}

/*
 * While the machine slept, or was a snapshot of itself, devices may have come and gone in ways that
 * nobody made an event of; and what is shown in wall clock time may be wrong now. It costs a dump.
 */
static int on_clock_jump(sd_event_source *s _unused_, int fd, uint32_t revents _unused_,
			 void *userdata)
{
	struct manager *m = userdata;
	int r = host_clock_jumped(fd);

	if (r < 0) {
		log_warning("The clock cannot be watched any more: %s", strerror(-r));
		m->clock_source = sd_event_source_disable_unref(m->clock_source);
		return 0;
	}
	if (r > 0 && m->events.family != 0) {
		log_info(
			"The clock jumped, or the machine was suspended; asking the kernel for all "
			"devices");
		manager_ask_kernel(m);
	}
	return 0;
}

/* Without it, resynchronisation waits for the next gap. */
static void clock_setup(struct manager *m)
{
	int fd = host_clock_watch();
	int r;

	if (fd < 0) {
		log_warning("The clock cannot be watched: %s", strerror(-fd));
		return;
	}
	r = sd_event_add_io(m->event, &m->clock_source, fd, EPOLLIN, on_clock_jump, m);
	if (r < 0) {
		log_warning("The clock cannot be watched: %s", strerror(-r));
		close(fd);
		return;
	}
	(void)sd_event_source_set_io_fd_own(m->clock_source, true);
}

int manager_kernel_open(struct manager *m)
{
	int r = kernel_link_open(&m->events, true, EVENTS_RCVBUF);

	if (r >= 0)
		r = kernel_link_open(&m->dumps, true, DUMPS_RCVBUF);
	if (r < 0)
		log_error("Cannot open a netlink socket: %s", strerror(-r));
	return r;
}

int manager_kernel_setup(struct manager *m)
{
	/* First watch, then ask: the family may appear in between. */
	int r = kernel_link_watch_families(&m->events);
	if (r < 0) {
		log_error("Cannot watch for netlink families: %s", strerror(-r));
		return r;
	}
	r = sd_event_add_io(m->event, &m->events_source, m->events.fd, EPOLLIN, on_events, m);
	if (r >= 0)
		r = sd_event_source_set_priority(m->events_source, PRIORITY_KERNEL);
	if (r >= 0)
		r = sd_event_add_io(m->event, &m->dumps_source, m->dumps.fd, EPOLLIN, on_dumps, m);
	if (r >= 0)
		r = sd_event_source_set_priority(m->dumps_source, PRIORITY_KERNEL);
	if (r < 0) {
		log_error("Cannot watch a netlink socket: %s", strerror(-r));
		return r;
	}
	clock_setup(m);
	r = kernel_link_resolve(&m->dumps);
	if (r == -ENOENT) {
		family_missing(m);
		manager_ready(m);
		return 0;
	}
	if (r < 0) {
		log_error("Cannot ask for the kernel's netlink family iommu-ras: %s", strerror(-r));
		return r;
	}
	family_appeared(m, m->dumps.family, m->dumps.group);
	return 0;
}
