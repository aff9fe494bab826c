// SPDX-License-Identifier: GPL-2.0-or-later
#include "manager.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "bus.h"
#include "confine.h"
#include "hooks.h"
#include "host.h"
#include "journal.h"
#include "log.h"
#include "messages.h"
#include "metrics.h"
#include "policy-kept.h"
#include "tell.h"

/* Less than systemd's patience with a service that stops, and plenty for a step that works. */
#define STOP_GRACE_USEC (5 * USEC_PER_SEC)

/* systemd waits for this one, so it is said again until it could be said. */
void manager_tell_ready(struct manager *m)
{
	if (m->ready && !m->ready_told)
		m->ready_told = tell_systemd("READY=1") >= 0;
}

void manager_ready(struct manager *m)
{
	if (m->ready)
		return;
	m->ready = true;
	manager_tell_ready(m);
}

/* --- signals --------------------------------------------------------------------------------- */

static int on_reload(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
		     void *userdata)
{
	(void)manager_reload(userdata);
	return 0;
}

static int on_stop_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;

	return sd_event_exit(m->event, 0);
}

static int on_terminate(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
			void *userdata)
{
	struct manager *m = userdata;

	/* Told twice: at once. */
	if (m->stopping || m->n_running == 0) {
		m->stopping = true;
		return sd_event_exit(m->event, 0);
	}
	m->stopping = true;
	tell_systemd("STOPPING=1\nSTATUS=Finishing %u recover%s", m->n_running,
		     m->n_running == 1 ? "y" : "ies");
	return sd_event_add_time_relative(m->event, &m->stop_timer, CLOCK_MONOTONIC,
					  STOP_GRACE_USEC, 0, on_stop_timer, m);
}

/* It lives as long as the loop, and nothing goes before it. Returns 0 or -errno. */
static int keep_with_priority(sd_event_source *source)
{
	int r = sd_event_source_set_priority(source, PRIORITY_CONTROL);

	if (r >= 0)
		r = sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
	return r;
}

static int signals_setup(struct manager *m)
{
	static const struct {
		int signal;
		sd_event_signal_handler_t handler;
	} handled[] = {{SIGHUP, on_reload}, {SIGTERM, on_terminate}, {SIGINT, on_terminate}};
	sigset_t mask;
	int r = 0;

	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(handled); i++)
		sigaddset(&mask, handled[i].signal);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(handled); i++) {
		sd_event_source *source = NULL;

		r = sd_event_add_signal(m->event, &source, handled[i].signal, handled[i].handler,
					m);
		if (r >= 0)
			r = keep_with_priority(source);
	}
	return r;
}

/* --- the loop -------------------------------------------------------------------------------- */

static void send_status(struct manager *m)
{
	const char *policy =
		m->policy_refused ? "The policy on disk is refused, see the journal; " : "";
	unsigned int n[_RECOVERY_STATE_MAX] = {0};
	struct device *d;

	m->status_dirty = false;
	if (m->stopping)
		return;
	if (m->events.family == 0) {
		tell_systemd("STATUS=Waiting: this kernel does not fence devices");
		return;
	}
	foreach_device (d, &m->devices, all)
		n[d->record.state]++;
	if (n[RECOVERY_QUEUED] + n[RECOVERY_RUNNING] + n[RECOVERY_BACKOFF] + n[RECOVERY_STUCK] +
		    n[RECOVERY_ISOLATED] + n[RECOVERY_IGNORED] ==
	    0) {
		tell_systemd("STATUS=%sWatching; no device is fenced", policy);
		return;
	}
	tell_systemd("STATUS=%s%u being recovered, %u waiting, %u stuck, %u isolated, %u ignored",
		     policy, n[RECOVERY_RUNNING], n[RECOVERY_QUEUED] + n[RECOVERY_BACKOFF],
		     n[RECOVERY_STUCK], n[RECOVERY_ISOLATED], n[RECOVERY_IGNORED]);
}

/* Runs after every round of the loop in which something happened. */
static int on_post(sd_event_source *s _unused_, void *userdata)
{
	struct manager *m = userdata;

	while (m->queue_dirty)
		devices_run_queue(m);
	devices_save(m);
	if (m->status_dirty) {
		send_status(m);
		bus_manager_changed(m);
	}
	manager_tell_ready(m);
	if (m->stopping && m->n_running == 0)
		return sd_event_exit(m->event, 0);
	return 0;
}

static void load_device(const struct device_record *record, int error, void *userdata)
{
	device_load(userdata, record, error);
}

static int on_watchdog(sd_event_source *s, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;

	(void)tell_systemd("WATCHDOG=1");
	(void)sd_event_source_set_time_relative(s, m->watchdog_usec);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* Not sd_event_set_watchdog(): that one waits when systemd does not read. */
static int watchdog_setup(struct manager *m)
{
	sd_event_source *source = NULL;
	int r = sd_watchdog_enabled(0, &m->watchdog_usec);

	if (r <= 0)
		return r;
	m->watchdog_usec /= 3;
	r = sd_event_add_time_relative(m->event, &source, CLOCK_MONOTONIC, 0, 0, on_watchdog, m);
	return r < 0 ? r : keep_with_priority(source);
}

/* Workers die with it, and none can be started any more. What is on disk is enough to go on. */
static int on_spawner_gone(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
			   void *userdata)
{
	struct manager *m = userdata;

	log_error(
		"The spawner of workers (process %d) has died, and its workers with it; smmu-rasd "
		"ends, to be started again",
		(int)m->spawner.pid);
	return sd_event_exit(m->event, -ECHILD);
}

/* Before a worker's death, so that this is not taken for the failure of a step. */
static int spawner_watch(struct manager *m)
{
	sd_event_source *source = NULL;
	int r = sd_event_add_io(m->event, &source, m->spawner.fd, EPOLLHUP, on_spawner_gone, m);

	return r < 0 ? r : keep_with_priority(source);
}

/* Opens what takes a privilege to be opened as it should, and then gives all of them up. */
static int manager_confine(struct manager *m)
{
	int r = manager_kernel_open(m);

	if (r < 0)
		return r;
	r = confine(host_dir(HOST_RUN));
	if (r < 0)
		log_error("Cannot give up capabilities: %s", strerror(-r));
	return r;
}

static int manager_setup(struct manager *m)
{
	int r = sd_event_default(&m->event);

	if (r >= 0)
		r = journal_start(m->event);
	if (r >= 0)
		r = watchdog_setup(m);
	if (r >= 0)
		r = signals_setup(m);
	if (r >= 0)
		r = spawner_watch(m);
	if (r >= 0)
		r = sd_event_add_post(m->event, NULL, on_post, m);
	if (r < 0) {
		log_error("Cannot set up the event loop: %s", strerror(-r));
		return r;
	}
	/* The loop's descriptor for timers: there may be none left when one is needed. */
	r = sd_event_add_time(m->event, NULL, CLOCK_MONOTONIC, UINT64_MAX, 0, on_stop_timer, m);
	if (r < 0) {
		log_error("Cannot set a timer: %s", strerror(-r));
		return r;
	}
	r = state_open();
	if (r == -EBUSY)
		log_error("Another smmu-rasd is running");
	else if (r < 0)
		log_error("Cannot use /run/smmu-rasd: %s", strerror(-r));
	if (r >= 0)
		r = manager_confine(m);
	if (r < 0)
		return r;
	(void)manager_load_policy(m);
	if (!m->policy) {
		log_error("Out of memory");
		return -ENOMEM;
	}
	gone_load(&m->gone);
	r = state_load_all(load_device, m);
	if (r >= 0)
		r = m->load_error;
	if (r < 0) {
		log_error("Cannot read /run/smmu-rasd: %s", strerror(-r));
		return r;
	}
	m->status_dirty = true;
	r = bus_start(m);
	if (r < 0) {
		log_error("Cannot watch the system bus: %s", strerror(-r));
		return r;
	}
	r = metrics_start(m);
	if (r < 0) {
		log_error("Cannot set a timer: %s", strerror(-r));
		return r;
	}
	return manager_kernel_setup(m);
}

int manager_new(struct manager **ret, struct spawner *spawner)
{
	struct manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m) {
		spawner_stop(spawner);
		return -ENOMEM;
	}
	m->spawner = *spawner;
	m->events = KERNEL_LINK_NONE;
	m->dumps = KERNEL_LINK_NONE;
	TAILQ_INIT(&m->devices);
	TAILQ_INIT(&m->queue);
	TAILQ_INIT(&m->busy);
	TAILQ_INIT(&m->dirty);
	TAILQ_INIT(&m->unsaved);
	TAILQ_INIT(&m->hooks);
	r = manager_setup(m);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int manager_run(struct manager *m)
{
	struct device *d;
	int r;

	send_status(m);
	r = sd_event_loop(m->event);
	tell_systemd("STOPPING=1");
	/* Their workers die with us; the records on disk stay as they are. */
	foreach_device (d, &m->busy, busy)
		report_left_to_restart(d);
	return r;
}

void manager_free(struct manager *m)
{
	struct device *d;

	if (!m)
		return;
	/* Written or not, it is in this list no more. */
	while ((d = TAILQ_FIRST(&m->dirty)))
		(void)device_save(d);
	/* The devices are not gone, only we are. */
	bus_stop(m);
	metrics_stop();
	hooks_stop(m);
	while ((d = TAILQ_FIRST(&m->devices)))
		device_free(d);
	free(m->buckets);
	sd_event_source_disable_unref(m->save_source);
	sd_event_source_disable_unref(m->keep_timer);
	sd_event_source_disable_unref(m->events_source);
	sd_event_source_disable_unref(m->dumps_source);
	sd_event_source_disable_unref(m->dump_retry);
	sd_event_source_disable_unref(m->clock_source);
	sd_event_source_disable_unref(m->stop_timer);
	kernel_link_close(&m->events);
	kernel_link_close(&m->dumps);
	spawner_stop(&m->spawner);
	policy_unref(m->policy);
	journal_stop();
	sd_event_unref(m->event);
	free(m);
}
