// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <time.h>

#include "host.h"

/* A daemon that opened its lock has it a moment later. */
#define DAEMON_SETTLE (100 * USEC_PER_MSEC)

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

/* --- records ---------------------------------------------------------------------------------- */

static struct device_record *find_record(struct watch *w, const char *bus, const char *dev)
{
	for (size_t i = 0; i < w->n_records; i++)
		if (streq(w->records[i].dev, dev) && streq(w->records[i].bus, bus))
			return &w->records[i];
	return NULL;
}

/* Takes over what @record has on the heap. Returns false when memory is short. */
static bool keep_record(struct watch *w, const struct device_record *record)
{
	struct device_record *known = find_record(w, record->bus, record->dev);

	if (known) {
		record_clear_history(known);
	} else {
		if (w->n_records == w->size) {
			size_t size = w->size ? 2 * w->size : 16;
			struct device_record *grown =
				reallocarray(w->records, size, sizeof(*grown));

			if (!grown)
				return false;
			w->records = grown;
			w->size = size;
		}
		known = &w->records[w->n_records++];
	}
	*known = *record;
	return true;
}

static int tell(struct watch *w, const struct watch_event *event)
{
	return w->handler(event, w->userdata);
}

/* The steps that ended since @before; of those that are still kept. */
static int tell_steps(struct watch *w, const struct device_record *record,
		      const struct device_record *before)
{
	uint64_t last =
		before && before->n_history ? before->history[before->n_history - 1].time : 0;

	for (unsigned int i = 0; i < record->n_history; i++) {
		struct watch_event event = {.type = WATCH_STEP,
					    .record = record,
					    .before = before,
					    .step = &record->history[i]};
		int r;

		if (record->history[i].time <= last)
			continue;
		r = tell(w, &event);
		if (r != 0)
			return r;
	}
	return 0;
}

static int record_changed(struct watch *w, const char *bus, const char *dev)
{
	struct device_record record = {0};
	const struct device_record *before = find_record(w, bus, dev);
	struct watch_event event = {.type = WATCH_RECORD, .record = &record, .before = before};
	int r;

	/* It is replaced as a whole; what cannot be read now was replaced, or removed, since. */
	if (state_load(bus, dev, &record) < 0)
		return 0;
	r = tell_steps(w, &record, before);
	if (r == 0 && (!before || before->state != record.state || before->since != record.since ||
		       before->attempts != record.attempts || !streq(before->step, record.step) ||
		       before->recovered_time != record.recovered_time))
		r = tell(w, &event);
	if (!keep_record(w, &record))
		record_clear_history(&record);
	return r;
}

static void load_record(const struct device_record *record, int error, void *userdata)
{
	struct device_record copy = *record;

	if (error >= 0 && !keep_record(userdata, record))
		record_clear_history(&copy);
}

static int record_removed(struct watch *w, const char *bus, const char *dev)
{
	struct device_record *before = find_record(w, bus, dev);
	struct watch_event event = {.type = WATCH_FORGOTTEN, .before = before};
	int r;

	if (!before)
		return 0;
	r = tell(w, &event);
	record_clear_history(before);
	*before = w->records[--w->n_records];
	return r;
}

static int record_file(struct watch *w, const char *file, bool removed)
{
	char name[NAME_MAX + 1];
	size_t len = strlen(file);
	char *at;

	if (file[0] == '.' || len < 6 || len > NAME_MAX || !streq(file + len - 5, ".json"))
		return 0;
	memcpy(name, file, len - 5);
	name[len - 5] = '\0';
	at = strchr(name, '@');
	if (!at)
		return 0;
	*at = '\0';
	return removed ? record_removed(w, name, at + 1) : record_changed(w, name, at + 1);
}

/* --- inotify ---------------------------------------------------------------------------------- */

/* Watches what there is; the directories may come later, and may go. */
static void watch_directories(struct watch *w)
{
	char path[512];
	char *slash;

	snprintf(path, sizeof(path), "%s/devices", host_dir(HOST_RUN));
	w->devices = inotify_add_watch(w->inotify, path, IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
	/* The daemon changes the mode of its lock when it starts, and closes it when it ends. */
	w->run = inotify_add_watch(w->inotify, host_dir(HOST_RUN),
				   IN_CREATE | IN_ATTRIB | IN_CLOSE_WRITE | IN_ONLYDIR);
	str_copy(path, sizeof(path), host_dir(HOST_RUN));
	slash = strrchr(path, '/');
	if (slash && slash != path)
		*slash = '\0';
	w->parent = inotify_add_watch(w->inotify, path, IN_CREATE | IN_ONLYDIR);
}

static int daemon_changed(struct watch *w)
{
	bool daemon = state_daemon_runs();
	struct watch_event event = {.type = WATCH_DAEMON, .daemon = daemon};

	if (daemon == w->daemon)
		return 0;
	w->daemon = daemon;
	return tell(w, &event);
}

static int read_inotify(struct watch *w)
{
	char buf[16 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(w->inotify, buf, sizeof(buf));
	int r = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (char *p = buf; p < buf + n && r == 0;) {
		const struct inotify_event *event = (const struct inotify_event *)(void *)p;

		p += sizeof(*event) + event->len;
		if (event->wd == w->devices && event->len > 0) {
			r = record_file(w, event->name, event->mask & IN_DELETE);
		} else if (event->wd == w->run && event->len > 0 && streq(event->name, "lock")) {
			w->daemon_asked = true;
			r = daemon_changed(w);
		} else if (event->mask & (IN_CREATE | IN_IGNORED)) {
			watch_directories(w);
		}
	}
	return r;
}

/* --- the kernel ------------------------------------------------------------------------------- */

static int on_message(const struct kernel_message *message, void *userdata)
{
	struct watch *w = userdata;
	struct watch_event event = {
		.type = WATCH_KERNEL, .device = &message->device, .event = message->type};
	bool gap;
	int r;

	if (message->type == KERNEL_BAD)
		return -EBADMSG;
	if (!kernel_event_name(message->type))
		return 0;
	gap = w->last_seq != 0 && message->device.event_seq != w->last_seq + 1;
	w->last_seq = message->device.event_seq;
	r = tell(w, &event);
	return r == 0 && gap ? -ENOBUFS : r;
}

static int on_fenced(const struct kernel_message *message, void *userdata)
{
	struct watch *w = userdata;
	struct watch_event event = {.type = WATCH_FENCED, .device = &message->device};

	return tell(w, &event);
}

int watch_tell_fenced(struct watch *w)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	int r = ctl_connect(&link) == CTL_OK ? kernel_link_dump(&link, on_fenced, w) : -EIO;

	kernel_link_close(&link);
	return r == -EBADMSG || r == -EINTR ? 0 : r;
}

static int read_kernel(struct watch *w)
{
	int r = kernel_link_receive(&w->link, on_message, w);

	if (r == -EAGAIN || r == -EINTR)
		return 0;
	/* One that cannot be understood is as good as lost. */
	if (r == -ENOBUFS || r == -EBADMSG) {
		struct watch_event event = {.type = WATCH_LOST};

		w->last_seq = 0;
		r = tell(w, &event);
		return r ? r : watch_tell_fenced(w);
	}
	return r < 0 ? r : 0;
}

/* --- all together ----------------------------------------------------------------------------- */

int watch_open(struct watch *w, watch_handler handler, void *userdata)
{
	int r;

	*w = (struct watch){.link = KERNEL_LINK_NONE,
			    .inotify = -1,
			    .parent = -1,
			    .run = -1,
			    .devices = -1,
			    .handler = handler,
			    .userdata = userdata};
	r = kernel_link_open(&w->link, true, 4 * 1024 * 1024);
	if (r >= 0)
		r = kernel_link_resolve(&w->link);
	if (r == -ENOENT)
		return ctl_no_family();
	if (r >= 0)
		r = kernel_link_join(&w->link);
	if (r < 0) {
		fprintf(stderr, "Cannot subscribe to the kernel's events: %s\n", strerror(-r));
		return CTL_FAILURE;
	}
	w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify < 0) {
		fprintf(stderr, "Cannot watch /run/smmu-rasd: %s\n", strerror(errno));
		return CTL_FAILURE;
	}
	watch_directories(w);
	w->daemon = state_daemon_runs();
	(void)state_load_all(load_record, w);
	return CTL_OK;
}

void watch_close(struct watch *w)
{
	kernel_link_close(&w->link);
	if (w->inotify >= 0)
		close(w->inotify);
	for (size_t i = 0; i < w->n_records; i++)
		record_clear_history(&w->records[i]);
	free(w->records);
	w->records = NULL;
	w->n_records = 0;
}

/* What is ready now. The kernel first: the daemon acts on what the kernel said. */
static int handle_ready(struct watch *w, const struct pollfd *fds)
{
	int r = 0;

	if (fds[2].revents)
		return -EPIPE;
	if (fds[0].revents)
		r = read_kernel(w);
	if (r == 0 && fds[1].revents)
		r = read_inotify(w);
	return r;
}

static int wait_ready(struct watch *w, uint64_t until, const sigset_t *mask)
{
	struct pollfd fds[] = {{.fd = w->link.fd, .events = POLLIN},
			       {.fd = w->inotify, .events = POLLIN},
			       {.fd = STDOUT_FILENO}};
	uint64_t now = now_usec(CLOCK_MONOTONIC);
	uint64_t wait = until == USEC_INFINITY ? USEC_INFINITY : until > now ? until - now : 0;
	struct timespec timeout;
	int n;

	if (w->daemon_asked && wait > DAEMON_SETTLE)
		wait = DAEMON_SETTLE;
	timeout = (struct timespec){.tv_sec = (time_t)(wait / USEC_PER_SEC),
				    .tv_nsec = (long)(wait % USEC_PER_SEC * NSEC_PER_USEC)};
	n = ppoll(fds, ARRAY_SIZE(fds), wait == USEC_INFINITY ? NULL : &timeout, mask);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0 && w->daemon_asked) {
		w->daemon_asked = false;
		return daemon_changed(w);
	}
	return n > 0 ? handle_ready(w, fds) : 0;
}

int watch_run(struct watch *w, uint64_t until)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;
	sigset_t before;
	int r = 0;

	/* Delivered while it waits only: between two looks at a signal none is missed. */
	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		sigaddset(&blocked, numbers[i]);
		sigaction(numbers[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &before);
	while (r == 0 && (until == USEC_INFINITY || now_usec(CLOCK_MONOTONIC) < until)) {
		if (fflush(stdout) != 0)
			r = -EPIPE;
		else
			r = wait_ready(w, until, &before);
		if (r == 0 && interrupted)
			r = -EINTR;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
