// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection to the system bus, and what is told on it.
 *
 * Nothing here waits: the connection is made when the bus appears, the name is asked for without
 * waiting for the answer, and what others do not read is kept small. Changes are noted, and told
 * with their latest values when the loop has nothing more important to do.
 */
#include "bus-internal.h"

#include <errno.h>
#include <time.h>

#include "host.h"
#include "log.h"
#include "metrics.h"

/* The kernel and the workers go first, however much is asked on the bus. */
#define PRIORITY_BUS (SD_EVENT_PRIORITY_NORMAL + 50)

/* A device that changes a thousand times in this time is told of once. */
#define FLUSH_USEC (10 * USEC_PER_MSEC)

/* Messages that the bus has not read: from here on changes wait, */
#define QUEUE_HIGH 1024
/* and here the connection is given up; it can hold no more than answers to calls. */
#define QUEUE_MAX 8192
/* As it is when nothing is read for so long. */
#define STALL_USEC	 (30 * USEC_PER_SEC)
#define STALL_RETRY_USEC (100 * USEC_PER_MSEC)

#define RETRY_USEC     (100 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

static int bus_connect(struct bus *b);

/* --- what changed ---------------------------------------------------------------------------- */

static uint64_t queued(const struct bus *b)
{
	uint64_t n = 0;

	(void)sd_bus_get_n_queued_write(b->bus, &n);
	return n;
}

static void flush_at(struct bus *b, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(b->flush_later, usec);
	(void)sd_event_source_set_enabled(b->flush_later, SD_EVENT_ONESHOT);
}

static void view_clean(struct bus *b, struct device *d)
{
	if (d->bus.dirty)
		TAILQ_REMOVE(&b->dirty, d, bus.link);
	d->bus.dirty = false;
}

static void flush(struct bus *b)
{
	uint64_t now = now_usec(CLOCK_MONOTONIC);
	uint64_t n;
	struct device *d;
	int r = 0;

	if (!b->ready)
		return;
	if (now < b->flushed + FLUSH_USEC) {
		flush_at(b, b->flushed + FLUSH_USEC - now);
		return;
	}
	n = queued(b);
	if (n >= QUEUE_HIGH) {
		if (b->stalled == 0)
			b->stalled = now;
		if (now - b->stalled >= STALL_USEC)
			bus_lost(b, "it reads nothing");
		else
			flush_at(b, STALL_RETRY_USEC);
		return;
	}
	b->stalled = 0;
	b->flushed = now;
	for (; r >= 0 && n < QUEUE_HIGH && (d = TAILQ_FIRST(&b->dirty)); n++) {
		view_clean(b, d);
		r = bus_device_tell(b, d);
	}
	if (r >= 0 && b->manager_dirty) {
		struct bus_counts counts;

		b->manager_dirty = false;
		bus_manager_count(b->manager, &counts);
		r = bus_manager_tell(b, &counts);
	}
	if (r < 0)
		bus_lost(b, strerror(-r));
	else if (!TAILQ_EMPTY(&b->dirty))
		flush_at(b, FLUSH_USEC);
}

static int on_flush_soon(sd_event_source *s _unused_, void *userdata)
{
	flush(userdata);
	return 0;
}

static int on_flush_later(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	flush(userdata);
	return 0;
}

void bus_manager_changed(struct manager *m)
{
	struct bus *b = m->bus;

	metrics_changed();
	if (!b || !b->ready || b->manager_dirty)
		return;
	b->manager_dirty = true;
	(void)sd_event_source_set_enabled(b->flush_soon, SD_EVENT_ONESHOT);
}

void bus_device_changed(struct device *d)
{
	struct bus *b = d->manager->bus;

	bus_manager_changed(d->manager);
	if (!b || !b->ready)
		return;
	if (d->bus.dirty)
		return;
	d->bus.dirty = true;
	TAILQ_INSERT_TAIL(&b->dirty, d, bus.link);
	(void)sd_event_source_set_enabled(b->flush_soon, SD_EVENT_ONESHOT);
}

void bus_device_removed(struct device *d)
{
	static char interface[] = BUS_DEVICE_INTERFACE;
	static char *interfaces[] = {interface, NULL};
	struct bus *b = d->manager->bus;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!b)
		return;
	view_clean(b, d);
	if (!b->ready)
		return;
	bus_manager_changed(d->manager);
	if (!d->bus.announced)
		return;
	if (queued(b) >= QUEUE_MAX) {
		bus_lost(b, "it does not read fast enough");
		return;
	}
	r = bus_device_path(d, &path);
	if (r >= 0)
		r = sd_bus_emit_interfaces_removed_strv(b->bus, path, interfaces);
	if (r < 0)
		bus_lost(b, strerror(-r));
}

/* --- the connection -------------------------------------------------------------------------- */

static void bus_disconnect(struct bus *b)
{
	struct device *d;

	b->ready = false;
	b->stalled = 0;
	b->manager_dirty = false;
	while ((d = TAILQ_FIRST(&b->dirty)))
		view_clean(b, d);
	bus_auth_stop(b);
	/* Without flushing, which would wait. */
	b->bus = sd_bus_close_unref(b->bus);
}

static int on_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct bus *b = userdata;
	int r;

	bus_disconnect(b);
	r = bus_connect(b);
	if (r < 0)
		bus_lost(b, strerror(-r));
	return 0;
}

/* May be called by what sd-bus called, so the connection itself goes later. */
void bus_lost(struct bus *b, const char *why)
{
	if (!b->failed_logged) {
		if (b->ready)
			log_warning("The connection to the system bus is lost (%s); connecting "
				    "again",
				    why);
		else
			log_debug("No connection to the system bus: %s", why);
		b->failed_logged = true;
	}
	b->ready = false;
	b->wait = b->wait ? b->wait * 2 : RETRY_USEC;
	if (b->wait > RETRY_MAX_USEC)
		b->wait = RETRY_MAX_USEC;
	(void)sd_event_source_set_time_relative(b->retry, b->wait);
	(void)sd_event_source_set_enabled(b->retry, SD_EVENT_ONESHOT);
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *b = userdata;

	if (sd_bus_message_is_signal(message, "org.freedesktop.DBus.Local", "Disconnected")) {
		bus_lost(b, "the bus closed it");
		return 0;
	}
	/* Who asks must read the answers. */
	if (queued(b) >= QUEUE_MAX) {
		bus_lost(b, "it does not read fast enough");
		return 0;
	}
	if (queued(b) >= QUEUE_HIGH && sd_bus_message_is_method_call(message, NULL, NULL))
		return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
					"Too many answers have not been read yet; try again later");
	return 0;
}

static int on_name(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_)
{
	struct bus *b = userdata;
	struct device *d;
	uint32_t answer = 0;

	/* 1 and 4: it is ours; see RequestName in the D-Bus specification. */
	if (sd_bus_message_is_method_error(message, NULL) ||
	    sd_bus_message_read(message, "u", &answer) < 0 || (answer != 1 && answer != 4)) {
		const sd_bus_error *e = sd_bus_message_get_error(message);

		if (!b->failed_logged)
			log_warning("Cannot have the name " BUS_NAME " on the system bus: %s",
				    e && e->message ? e->message : "somebody else has it");
		b->failed_logged = true;
		bus_lost(b, "no name");
		return 0;
	}
	b->ready = true;
	b->failed_logged = false;
	b->wait = 0;
	/* Who comes now asks for all that there is; the others have seen the name appear. */
	foreach_device (d, &b->manager->devices, all) {
		d->bus.announced = true;
		bus_device_take_prints(d);
	}
	bus_manager_count(b->manager, &b->told);
	log_debug("On the system bus as " BUS_NAME);
	return 0;
}

static int bus_connect(struct bus *b)
{
	int r = sd_bus_new(&b->bus);

	if (r >= 0)
		r = sd_bus_set_description(b->bus, "smmu-rasd");
	if (r >= 0)
		r = sd_bus_set_address(b->bus, host_bus_address());
	if (r >= 0)
		r = sd_bus_set_bus_client(b->bus, true);
	/* We may be started before the bus is: inotify(7) tells when it appears. */
	if (r >= 0)
		r = sd_bus_set_watch_bind(b->bus, true);
	/* It would wait for the bus when the loop ends. */
	if (r >= 0)
		r = sd_bus_set_close_on_exit(b->bus, false);
	if (r >= 0)
		r = sd_bus_add_filter(b->bus, NULL, on_message, b);
	if (r >= 0)
		r = bus_manager_register(b);
	if (r >= 0)
		r = bus_device_register(b);
	if (r >= 0)
		r = sd_bus_start(b->bus);
	if (r >= 0)
		r = sd_bus_request_name_async(b->bus, NULL, BUS_NAME, 0, on_name, b);
	if (r >= 0)
		r = sd_bus_attach_event(b->bus, b->manager->event, PRIORITY_BUS);
	return r;
}

static int bus_setup(struct bus *b, sd_event *event)
{
	int r = sd_event_add_time(event, &b->retry, CLOCK_MONOTONIC, 0, USEC_PER_MSEC, on_retry, b);

	if (r >= 0)
		r = sd_event_source_set_priority(b->retry, PRIORITY_BUS);
	if (r >= 0)
		r = sd_event_add_defer(event, &b->flush_soon, on_flush_soon, b);
	if (r >= 0)
		r = sd_event_source_set_priority(b->flush_soon, PRIORITY_BUS);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->flush_soon, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(event, &b->flush_later, CLOCK_MONOTONIC, 0, USEC_PER_MSEC,
				      on_flush_later, b);
	if (r >= 0)
		r = sd_event_source_set_priority(b->flush_later, PRIORITY_BUS);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->flush_later, SD_EVENT_OFF);
	return r;
}

int bus_start(struct manager *m)
{
	struct bus *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->manager = m;
	TAILQ_INIT(&b->dirty);
	LIST_INIT(&b->auths);
	m->bus = b;
	/* The first connection is made by the loop, like every other one. */
	r = bus_setup(b, m->event);
	if (r < 0)
		bus_stop(m);
	return r;
}

void bus_stop(struct manager *m)
{
	struct bus *b = m->bus;

	if (!b)
		return;
	bus_disconnect(b);
	sd_event_source_disable_unref(b->retry);
	sd_event_source_disable_unref(b->flush_soon);
	sd_event_source_disable_unref(b->flush_later);
	free(b);
	m->bus = NULL;
}
