// SPDX-License-Identifier: GPL-2.0-or-later
#include "manager.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "bus.h"
#include "hooks.h"
#include "host.h"
#include "journal.h"
#include "log.h"
#include "messages.h"
#include "metrics.h"
#include "policy-kept.h"
#include "tell.h"

/* What the kernel may be ahead of us before events are lost; a loss costs a dump. */
#define EVENTS_RCVBUF (8 * 1024 * 1024)
#define DUMPS_RCVBUF  (1024 * 1024)

/* Datagrams taken from a socket before the other sources have their turn. */
#define BATCH 256

/* Before a dump that failed is asked for again; doubles each time. */
#define DUMP_RETRY_USEC	    USEC_PER_SEC
#define DUMP_RETRY_MAX_USEC (60 * USEC_PER_SEC)
/* Less than systemd's patience with a service that stops, and plenty for a step that works. */
#define STOP_GRACE_USEC (5 * USEC_PER_SEC)

/* The kernel's word first: what it said before a worker's message must be known before that. */
enum {
	PRIORITY_KERNEL = SD_EVENT_PRIORITY_IMPORTANT,
	PRIORITY_WORKER = SD_EVENT_PRIORITY_NORMAL,
};

static void dump_start(struct manager *m);

/* --- the kernel ------------------------------------------------------------------------------ */

static void events_lost(struct manager *m, const char *why)
{
	struct log_record record;

	metrics_counting()->events_lost++;
	log_record_init(&record, LOG_WARNING, MESSAGE_EVENTS_LOST);
	log_record_send(&record, "Events of the kernel were lost (%s); asking it for all devices",
			why);
	m->last_seq = 0;
	dump_start(m);
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
	dump_start(m);
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

static int on_events(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
		     void *userdata)
{
	struct manager *m = userdata;

	for (int i = 0; i < BATCH; i++) {
		int r = kernel_link_receive(&m->events, event_handler, m);

		if (r == -EAGAIN)
			return 0;
		if (r == -ENOBUFS) {
			events_lost(m, "the socket was full");
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
	return 0;
}

static int on_dump_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;

	m->dump_retry = sd_event_source_disable_unref(m->dump_retry);
	dump_start(m);
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

/* systemd waits for this one, so it is said again until it could be said. */
static void tell_ready(struct manager *m)
{
	if (m->ready && !m->ready_told)
		m->ready_told = tell_systemd("READY=1") >= 0;
}

static void become_ready(struct manager *m)
{
	if (m->ready)
		return;
	m->ready = true;
	tell_ready(m);
}

static void dump_start(struct manager *m)
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

static void dump_done(struct manager *m, int error, bool interrupted)
{
	struct device *d;
	struct device *next;

	m->dumping = false;
	/*
	 * Whatever could not be read may have been about any device: none is done with because it
	 * was not named, and those that were read are recovered all the same.
	 */
	if (error >= 0 && m->dump_bad) {
		become_ready(m);
		dump_later(m);
		return;
	}
	if (error < 0) {
		log_warning("The kernel could not list its devices: %s", strerror(-error));
		dump_later(m);
		return;
	}
	if (interrupted || m->dump_again) {
		dump_start(m);
		return;
	}
	for (d = TAILQ_FIRST(&m->devices); d; d = next) {
		next = TAILQ_NEXT(d, all);
		if (d->generation != m->generation)
			device_not_in_dump(d);
	}
	m->dump_wait = 0;
	become_ready(m);
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
		dump_start(m);
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

static int kernel_setup(struct manager *m)
{
	int r = kernel_link_open(&m->events, true, EVENTS_RCVBUF);

	if (r >= 0)
		r = kernel_link_open(&m->dumps, true, DUMPS_RCVBUF);
	if (r < 0) {
		log_error("Cannot open a netlink socket: %s", strerror(-r));
		return r;
	}
	/* First watch, then ask: the family may appear in between. */
	r = kernel_link_watch_families(&m->events);
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
		become_ready(m);
		return 0;
	}
	if (r < 0) {
		log_error("Cannot ask for the kernel's netlink family iommu-ras: %s", strerror(-r));
		return r;
	}
	family_appeared(m, m->dumps.family, m->dumps.group);
	return 0;
}

/* --- policy ---------------------------------------------------------------------------------- */

/*
 * Without a policy nobody knows what may be done to a device, but fenced devices have to be
 * watched, and drivers that an earlier daemon owes have to be given back.
 */
static int isolating_policy(struct policy **ret)
{
	struct policy *policy = policy_new();

	if (policy)
		policy->fallback = rule_new("isolate-all", "built in, for want of a good policy");
	if (!policy || !policy->fallback) {
		policy_unref(policy);
		return -ENOMEM;
	}
	policy->fallback->action = ACTION_ISOLATE;
	*ret = policy;
	return policy_finish(policy);
}

static bool kept_policy(struct policy **ret)
{
	char error[POLICY_ERROR_SIZE];
	int r = policy_load_kept(ret, error);

	if (r < 0 && r != -ENOENT)
		log_error("%s; the policy that was kept is of no use", error);
	return r >= 0;
}

/* Returns 0; or -errno when the policy on disk is refused, and another one is in force. */
static int load_policy(struct manager *m)
{
	struct policy *policy = NULL;
	struct log_record record;
	int r = policy_load(&policy, m->policy_error);

	m->policy_refused = r < 0;
	if (r < 0) {
		const char *consequence = "The policy in force stays";

		if (!m->policy && kept_policy(&m->policy))
			consequence = "The last good one is in force, which was kept in "
				      "/run/smmu-rasd, until this is mended and systemctl reload "
				      "smmu-rasd is run";
		else if (!m->policy)
			consequence = "There is no policy to start with: devices stay fenced until "
				      "this is mended and systemctl reload smmu-rasd is run";
		log_record_init(&record, LOG_ERR, MESSAGE_POLICY_REFUSED);
		log_record_send(&record, "%s. %s", m->policy_error, consequence);
		return m->policy ? r : isolating_policy(&m->policy);
	}
	policy_unref(m->policy);
	m->policy = policy;
	r = policy_keep(policy);
	if (r < 0)
		log_warning("Cannot keep a copy of the policy in /run/smmu-rasd: %s; a daemon that "
			    "is started while the policy is bad would have none",
			    strerror(-r));
	policy_drop_texts(policy);
	log_record_init(&record, LOG_INFO, MESSAGE_POLICY_LOADED);
	if (policy->sources)
		log_record_send(&record, "Policy loaded from %s: %zu rule%s", policy->sources,
				policy->n_rules - 1, policy->n_rules == 2 ? "" : "s");
	else
		log_record_send(&record, "No policy file found; every device is recovered by the "
					 "built-in rule");
	return 0;
}

/* --- signals --------------------------------------------------------------------------------- */

int manager_reload(struct manager *m)
{
	struct device *d;
	struct device *next;
	int r;

	tell_systemd("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
	r = load_policy(m);
	if (r >= 0) {
		for (d = TAILQ_FIRST(&m->devices); d; d = next) {
			next = TAILQ_NEXT(d, all);
			device_policy_changed(d);
		}
	}
	m->status_dirty = true;
	m->queue_dirty = true;
	m->ready_told = false;
	tell_ready(m);
	return r;
}

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
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(handled); i++)
		r = sd_event_add_signal(m->event, NULL, handled[i].signal, handled[i].handler, m);
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
	/* While it fails it has a timer of its own. */
	if (!m->save_wait)
		devices_save(m);
	if (m->status_dirty) {
		send_status(m);
		bus_manager_changed(m);
	}
	tell_ready(m);
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
	int r = sd_watchdog_enabled(0, &m->watchdog_usec);

	if (r <= 0)
		return r;
	m->watchdog_usec /= 3;
	return sd_event_add_time_relative(m->event, NULL, CLOCK_MONOTONIC, 0, 0, on_watchdog, m);
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
	if (r < 0)
		return r;
	(void)load_policy(m);
	if (!m->policy) {
		log_error("Out of memory");
		return -ENOMEM;
	}
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
	return kernel_setup(m);
}

int manager_new(struct manager **ret)
{
	struct manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->events = KERNEL_LINK_NONE;
	m->dumps = KERNEL_LINK_NONE;
	TAILQ_INIT(&m->devices);
	TAILQ_INIT(&m->queue);
	TAILQ_INIT(&m->busy);
	TAILQ_INIT(&m->dirty);
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
	while (!TAILQ_EMPTY(&m->dirty) && !m->save_wait)
		devices_save(m);
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
	policy_unref(m->policy);
	journal_stop();
	sd_event_unref(m->event);
	free(m);
}
