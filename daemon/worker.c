// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "host.h"
#include "steps.h"
#include "title.h"

/* Room for all messages of a worker: it must never wait for the daemon. */
#define WORKER_SNDBUF (256 * 1024)

static void report(int fd, const struct worker_message *message)
{
	ssize_t n;

	do
		n = send(fd, message, sizeof(*message), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	/* The daemon is gone: whoever comes next starts from what is on disk. */
	if (n < 0)
		_exit(EXIT_FAILURE);
}

static void wait_for_go(int fd)
{
	char go = 0;
	ssize_t n;

	do
		n = recv(fd, &go, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(EXIT_FAILURE);
}

static void fill_names(struct worker_message *message, const struct job *job)
{
	memcpy(message->driver, job->driver, sizeof(message->driver));
	memcpy(message->driver_override, job->driver_override, sizeof(message->driver_override));
	memcpy(message->reset_method, job->reset_method, sizeof(message->reset_method));
	memcpy(message->slot, job->slot, sizeof(message->slot));
	message->functions = job->functions;
	message->vfs = job->vfs;
}

static void say(struct step_context *c, int level, const char *text)
{
	struct worker_message message = {.report = WORKER_SAYS, .level = level};

	str_copy(message.text, sizeof(message.text), text);
	report(*(const int *)c->userdata, &message);
}

static void run(struct job *job, int fd)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	struct step_context c = {.job = job, .link = &link, .say = say, .userdata = &fd};
	struct worker_message message = {.report = WORKER_PREPARED};
	int r;

	r = job->hooks_only ? 0 : steps_prepare(&c);
	if (r >= 0) {
		fill_names(&message, job);
		report(fd, &message);
		wait_for_go(fd);
	}
	if (r >= 0 && !job->hooks_only) {
		r = kernel_link_open(&link, false, 0);
		if (r >= 0)
			r = kernel_link_resolve(&link);
		if (r < 0)
			snprintf(c.text, sizeof(c.text), "cannot talk to the kernel: %s",
				 strerror(-r));
	}
	for (size_t i = 0; r >= 0 && i < job->n_steps; i++) {
		uint64_t begin;

		if (i > 0)
			wait_for_go(fd);
		/* As the daemon has written to its record. */
		if (steps_bring_back(job->steps + i, job->n_steps - i))
			job->away = true;
		begin = now_usec(CLOCK_MONOTONIC);
		r = step_run(&c, &job->steps[i]);
		message = (struct worker_message){.report = WORKER_STEP_END,
						  .step = (unsigned int)i,
						  .error = r,
						  .protected = c.protected,
						  .vetoed = c.vetoed,
						  .duration = now_usec(CLOCK_MONOTONIC) - begin};
		memcpy(message.identity, job->identity, sizeof(message.identity));
		str_copy(message.text, sizeof(message.text), c.text);
		report(fd, &message);
	}
	message = (struct worker_message){.report = WORKER_FINISHED,
					  .error = r,
					  .protected = c.protected,
					  .refenced = c.refenced,
					  .vetoed = c.vetoed};
	str_copy(message.text, sizeof(message.text), c.text);
	/* Only a verified ending speaks for the kernel. */
	if (r >= 0 || c.refenced)
		message.device = c.device;
	/* What the daemon knew was about the device that it was before it came back. */
	else if (link.fd >= 0 && job->away)
		message.device = steps_device_now(&c);
	report(fd, &message);
}

_Noreturn static void worker_main(const struct job *job, int fd, pid_t spawner)
{
	struct job copy = *job;
	sigset_t none;

	/* The spawner's are of no use here. */
	close_all_but(fd);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/*
	 * The spawner dies with its daemon. Without that nobody would watch this; and the next one
	 * starts a worker of its own.
	 */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != spawner)
		_exit(EXIT_FAILURE);
	title_set("smmu-ras-worker", "smmu-rasd: worker");
	run(&copy, fd);
	_exit(EXIT_SUCCESS);
}

int worker_start(const struct job *job, struct worker *ret)
{
	pid_t spawner = getpid();
	int size = WORKER_SNDBUF;
	int fds[2];
	pid_t pid;
	int pidfd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* A copy of a small process that has decoded the job already; nothing to execute. */
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0)
		worker_main(job, fds[1], spawner);
	close(fds[1]);
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		/* It has done nothing yet, and dies at once. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(fds[0]);
		if (pidfd >= 0)
			close(pidfd);
		return r;
	}
	*ret = (struct worker){
		.pid = pid, .start = process_start_time(pid), .pidfd = pidfd, .fd = fds[0]};
	return 0;
}

uint64_t job_step_limit(const struct job *job, const struct step *step)
{
	return step_limit(step, job->step_timeout);
}

int worker_go(int fd)
{
	return send(fd, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int worker_receive(int fd, struct worker_message *ret)
{
	ssize_t n;

	do
		n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return 0;
	return n == (ssize_t)sizeof(*ret) ? 1 : -EBADMSG;
}

uint64_t process_start_time(pid_t pid)
{
	char path[512];
	char buf[1024];
	_cleanup_close_ int fd = -1;
	unsigned long long start = 0;
	const char *s;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	/* The name is in parentheses and may hold anything; field 22 counts from behind it. */
	s = strrchr(buf, ')');
	if (!s)
		return 0;
	for (int field = 2; field < 22 && s; field++)
		s = strchr(s + 1, ' ');
	if (!s || sscanf(s, " %llu", &start) != 1) /* NOLINT(cert-err34-c) */
		return 0;
	return start;
}
