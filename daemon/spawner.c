// SPDX-License-Identifier: GPL-2.0-or-later
#include "spawner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "job-message.h"
#include "log.h"
#include "memory.h"
#include "policy-kept.h"
#include "title.h"

/* A fork takes a millisecond; on a machine that is short of everything, longer. */
#define ANSWER_SECONDS 2

enum request_kind {
	REQUEST_WORKER = 1,
	REQUEST_POLICY,
};

struct request {
	uint64_t kind;
	uint64_t seq;
	struct job_message job; /* REQUEST_WORKER only: otherwise the datagram ends before it */
};

#define REQUEST_POLICY_SIZE offsetof(struct request, job)

struct answer {
	uint64_t seq;
	uint64_t start; /* of the worker */
	int32_t error;
	int32_t pid;
};

/* The socket of the worker's messages, and its pidfd. */
#define ANSWER_FDS 2

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(ANSWER_FDS * sizeof(int))];
};

/* --- the spawner ----------------------------------------------------------------------------- */

/* Without the worker when the daemon does not take it: it ends when its socket is closed. */
static void answer(int fd, uint64_t seq, int error, const struct worker *worker)
{
	struct answer text = {.seq = seq, .error = error};
	struct iovec iov = {.iov_base = &text, .iov_len = sizeof(text)};
	union control control = {.bytes = {0}};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (worker) {
		const int fds[ANSWER_FDS] = {worker->fd, worker->pidfd};

		text.pid = worker->pid;
		text.start = worker->start;
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(fds)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	}
	(void)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int make_worker(const struct job_message *message, const struct programs *programs,
		       struct worker *ret)
{
	const char *field;
	struct job job;
	int r = job_decode(&job, message, programs, &field);

	if (r == -EPERM)
		log_error("A worker for %.*s is refused: it would run a program that no policy "
			  "names which was in force since smmu-rasd was started; run: systemctl "
			  "reload smmu-rasd",
			  (int)sizeof(message->dev), message->dev);
	else if (r < 0)
		log_error("A worker is refused: %s of the request is not valid", field);
	return r < 0 ? r : worker_start(&job, ret);
}

static int read_policy(struct programs *programs)
{
	char error[POLICY_ERROR_SIZE];
	struct policy *policy = NULL;
	int kept = 0;
	int r = policy_load(&policy, error);

	/* What is wrong with it is told by the daemon, which has read it as well. */
	if (r >= 0)
		kept = policy_keep(policy);
	else
		r = policy_load_kept(&policy, error);
	if (r >= 0)
		r = programs_add(programs, policy);
	if (r == -E2BIG || r == -ENOMEM)
		log_error("Not all programs of the policy can be run: %s", strerror(-r));
	policy_unref(policy);
	return r < 0 ? r : kept;
}

/* Returns false when the daemon is gone. */
static bool serve(int fd, struct programs *programs)
{
	struct request request;
	struct worker worker;
	ssize_t n = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	int r = -EINVAL;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (n == sizeof(request) && request.kind == REQUEST_WORKER) {
		r = make_worker(&request.job, programs, &worker);
		answer(fd, request.seq, r, r < 0 ? NULL : &worker);
		if (r >= 0) {
			close(worker.fd);
			close(worker.pidfd);
		}
	} else if (n == REQUEST_POLICY_SIZE && request.kind == REQUEST_POLICY) {
		answer(fd, request.seq, read_policy(programs), NULL);
	} else {
		log_error("A request of %zd bytes is refused: it is none", n);
		if (n >= (ssize_t)REQUEST_POLICY_SIZE)
			answer(fd, request.seq, -EINVAL, NULL);
	}
	return true;
}

static void reap(int signals)
{
	struct signalfd_siginfo info;

	(void)!read(signals, &info, sizeof(info));
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

_Noreturn static void spawner_main(int fd, pid_t daemon)
{
	struct programs programs = {.first = NULL};
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
	sigset_t child;
	sigset_t all;

	/* Whoever wants it to end ends the daemon; only SIGKILL reaches it alone. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != daemon)
		_exit(EXIT_FAILURE);
	title_set("smmu-ras-spawn", "smmu-rasd: spawner");
	close_all_but(fd);
	/* What they would say to systemd is the daemon's to say. */
	unsetenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe) */
	unsetenv("WATCHDOG_PID");  /* NOLINT(concurrency-mt-unsafe) */
	memory_keep();
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	fds[1].fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fds[1].fd < 0) {
		log_error("Cannot watch workers: %s", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			_exit(EXIT_FAILURE);
		if (fds[1].revents)
			reap(fds[1].fd);
		/* The workers die with us. */
		if (fds[0].revents && !serve(fd, &programs))
			_exit(EXIT_SUCCESS);
	}
}

/* --- the daemon's end ------------------------------------------------------------------------ */

int spawner_start(struct spawner *ret)
{
	const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	pid_t daemon = getpid();
	struct spawner s = SPAWNER_NONE;
	int fds[2];
	int r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s.fd = fds[0];
	s.pid = fork();
	if (s.pid == 0)
		spawner_main(fds[1], daemon);
	if (s.pid < 0)
		r = -errno;
	close(fds[1]);
	if (r >= 0 && setsockopt(s.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		r = -errno;
	if (r < 0)
		spawner_stop(&s);
	else
		*ret = s;
	return r;
}

/* Takes what came with an answer. Returns 0, or -errno and nothing is open. */
static int take_worker(struct msghdr *message, const struct answer *text, struct worker *ret)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fds[ANSWER_FDS] = {-1, -1};
	size_t size = 0;

	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		size = header->cmsg_len - CMSG_LEN(0);
		memcpy(fds, CMSG_DATA(header), size < sizeof(fds) ? size : sizeof(fds));
	}
	if (ret && text->error >= 0 && size == sizeof(fds)) {
		*ret = (struct worker){
			.pid = text->pid, .start = text->start, .fd = fds[0], .pidfd = fds[1]};
		return 0;
	}
	/* It has lost the other end of its socket, and so ends before it has done anything. */
	for (size_t i = 0; i < ANSWER_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	/* There was no room for them. */
	return text->error < 0 ? text->error : ret ? -EMFILE : 0;
}

/* Reads answers up to the one to the last request, and what that says. Returns false without it. */
static bool receive(struct spawner *s, int flags, struct worker *ret, int *ret_error)
{
	for (;;) {
		struct answer text;
		struct iovec iov = {.iov_base = &text, .iov_len = sizeof(text)};
		union control control;
		struct msghdr message = {.msg_iov = &iov,
					 .msg_iovlen = 1,
					 .msg_control = control.bytes,
					 .msg_controllen = sizeof(control.bytes)};
		ssize_t n = recvmsg(s->fd, &message, flags | MSG_CMSG_CLOEXEC);
		bool last;

		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(text))
			return false;
		last = text.seq == s->seq;
		*ret_error = take_worker(&message, &text, last ? ret : NULL);
		if (last)
			return true;
	}
}

static int ask(struct spawner *s, struct request *request, size_t size, struct worker *ret)
{
	int r;

	/* Nobody waits for it again before it has caught up. */
	if (s->late && !receive(s, MSG_DONTWAIT, NULL, &r))
		return -EAGAIN;
	s->late = false;
	request->seq = ++s->seq;
	if (send(s->fd, request, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
		return -EAGAIN;
	if (receive(s, 0, ret, &r))
		return r;
	log_warning("The spawner of workers (process %d) has not answered within %d s", (int)s->pid,
		    ANSWER_SECONDS);
	s->late = true;
	return -EAGAIN;
}

int spawner_worker(struct spawner *s, const struct job *job, struct worker *ret)
{
	struct request request = {.kind = REQUEST_WORKER};
	int r = job_encode(&request.job, job);

	return r < 0 ? r : ask(s, &request, sizeof(request), ret);
}

int spawner_policy(struct spawner *s)
{
	struct request request = {.kind = REQUEST_POLICY};

	return ask(s, &request, REQUEST_POLICY_SIZE, NULL);
}

void spawner_stop(struct spawner *s)
{
	if (s->fd >= 0)
		close(s->fd);
	*s = SPAWNER_NONE;
}
