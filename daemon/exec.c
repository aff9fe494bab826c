// SPDX-License-Identifier: GPL-2.0-or-later
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "trusted.h"

/* After SIGKILL: what has not ended then hangs in the kernel. */
#define KILL_USEC USEC_PER_SEC

struct output {
	const struct exec *exec;
	char line[EXEC_LINE_SIZE];
	size_t used;
	char last[EXEC_LINE_SIZE]; /* the last line that is not empty */
	unsigned int lines;
	size_t dropped; /* bytes */
};

static void end_line(struct output *o)
{
	char visible[EXEC_LINE_SIZE];

	if (o->used == 0)
		return;
	o->line[o->used] = '\0';
	o->used = 0;
	str_visible(visible, sizeof(visible), o->line);
	str_copy(o->last, sizeof(o->last), visible);
	if (o->lines++ < EXEC_LINES_MAX && o->exec->output)
		o->exec->output(visible, o->exec->userdata);
}

static void take(struct output *o, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			end_line(o);
		} else if (o->lines >= EXEC_LINES_MAX) {
			o->dropped++;
		} else {
			o->line[o->used++] = data[i];
			if (o->used == sizeof(o->line) - 1)
				end_line(o);
		}
	}
}

/* Reads what is there. Returns false at the end. */
static bool drain(struct output *o, int fd)
{
	char data[4096];

	/* So much at a time, since a program can write for as long as it lives. */
	for (int i = 0; i < 16; i++) {
		ssize_t n = read(fd, data, sizeof(data));

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		take(o, data, (size_t)n);
	}
	return true;
}

/* The daemon is the last one to be killed for memory; what it runs is not that important. */
static void as_killable_as_others(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

_Noreturn static void child(const struct exec *exec, int out, int status, pid_t parent)
{
	sigset_t none;
	int null;
	int r;

	(void)setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* status is above 2: these three are always open in the daemon and its workers. */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0 || chdir("/") < 0)
		goto failed;
	as_killable_as_others();
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	umask(022);
	execve(exec->command->argv[0], exec->command->argv, exec->environment);
failed:
	r = errno;
	(void)!write(status, &r, sizeof(r));
	_exit(127);
}

struct process {
	pid_t pid;
	int pidfd;
	int out;
};

static void close_two(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* Returns 0 once the program runs, or -errno. */
static int start(const struct exec *exec, struct process *ret)
{
	pid_t parent = getpid();
	int out[2];
	int status[2];
	int error = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(status, O_CLOEXEC) < 0) {
		error = -errno;
		close_two(out);
		return error;
	}
	pid = fork();
	if (pid == 0)
		child(exec, out[1], status[1], parent);
	if (pid < 0)
		error = -errno;
	close(out[1]);
	close(status[1]);
	if (pid > 0) {
		/* Whoever comes first. */
		(void)setpgid(pid, pid);
		do
			n = read(status[0], &error, sizeof(error));
		while (n < 0 && errno == EINTR);
		error = n == (ssize_t)sizeof(error) ? -error : 0;
		ret->pidfd = error ? -1 : pidfd_open(pid, 0);
		if (!error && ret->pidfd < 0) {
			error = -errno;
			(void)kill(-pid, SIGKILL);
		}
		if (error)
			(void)waitpid(pid, NULL, 0);
	}
	close(status[0]);
	if (error) {
		close(out[0]);
		return error;
	}
	(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
	ret->pid = pid;
	ret->out = out[0];
	return 0;
}

/* Waits until it has ended, or @usec have passed. Returns true when it has ended. */
static bool wait_for_end(struct process *p, struct output *o, uint64_t usec)
{
	uint64_t end = now_usec(CLOCK_MONOTONIC) + usec;
	struct pollfd fds[2] = {{.fd = p->pidfd, .events = POLLIN},
				{.fd = p->out, .events = POLLIN}};

	for (;;) {
		uint64_t now = now_usec(CLOCK_MONOTONIC);
		struct timespec left = {0};

		if (now >= end)
			return false;
		left.tv_sec = (time_t)((end - now) / USEC_PER_SEC);
		left.tv_nsec = (long)((end - now) % USEC_PER_SEC * NSEC_PER_USEC);
		if (ppoll(fds, ARRAY_SIZE(fds), &left, NULL) < 0 && errno != EINTR)
			return false;
		if (fds[1].revents && !drain(o, p->out))
			fds[1].fd = -1; /* it has closed both, and may go on */
		if (fds[0].revents)
			return true;
	}
}

static int verdict(const siginfo_t *info, const struct output *o, const char *name, char *text,
		   size_t size)
{
	const char *colon = o->last[0] ? ": " : "";

	if (info->si_code == CLD_EXITED && info->si_status == 0)
		return 0;
	if (info->si_code == CLD_EXITED)
		snprintf(text, size, "%s exited with status %d%s%s", name, info->si_status, colon,
			 o->last);
	else
		snprintf(text, size, "%s was ended by signal %d (%s)%s%s", name, info->si_status,
			 strsignal(info->si_status), colon, o->last);
	return -EREMOTEIO;
}

int exec_run(const struct exec *exec, char *text, size_t size)
{
	struct output output = {.exec = exec};
	struct process p = {.pid = 0};
	const char *name = exec->command->argv[0];
	siginfo_t info = {0};
	bool ended;
	int r;

	text[0] = '\0';
	r = trusted_program(name, text, size);
	if (r < 0)
		return r;
	r = start(exec, &p);
	if (r < 0) {
		snprintf(text, size, "cannot execute %s: %s", name, strerror(-r));
		return r;
	}
	ended = wait_for_end(&p, &output, exec->timeout);
	/*
	 * What it has left running goes with it: it would outlive the recovery that it is about.
	 * Its leader is not reaped yet, so the number of the group is not another's.
	 */
	(void)kill(-p.pid, SIGKILL);
	if (!ended) {
		snprintf(text, size, "%s has not ended after %s and was killed", name,
			 USEC_TEXT(exec->timeout));
		if (!wait_for_end(&p, &output, KILL_USEC))
			snprintf(text, size,
				 "%s has not ended after %s, and does not end when it is killed "
				 "(process %d)",
				 name, USEC_TEXT(exec->timeout), (int)p.pid);
		r = -ETIMEDOUT;
	}
	(void)drain(&output, p.out);
	end_line(&output);
	if (output.dropped && exec->output) {
		char line[EXEC_LINE_SIZE];

		snprintf(line, sizeof(line), "... and %zu bytes more", output.dropped);
		exec->output(line, exec->userdata);
	}
	(void)waitid(P_PIDFD, (id_t)p.pidfd, &info, WEXITED | WNOHANG);
	close(p.pidfd);
	close(p.out);
	return r < 0 ? r : verdict(&info, &output, name, text, size);
}
