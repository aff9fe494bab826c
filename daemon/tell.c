// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

/* One write of at most this many bytes goes into a pipe that is writable (pipe(7), PIPE_BUF). */
#define LINE_MAX_SIZE 4096

/* @fd keeps the socket. It is not connected: whoever serves @path may be started again. */
static int send_datagram(int *fd, const char *path, struct iovec *iov, size_t n)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct msghdr msg = {.msg_name = &addr, .msg_iov = iov, .msg_iovlen = n};

	if (!str_copy(addr.sun_path, sizeof(addr.sun_path), path))
		return -ENAMETOOLONG;
	msg.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	/* systemd's way to write an abstract address. */
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	else
		msg.msg_namelen++;
	if (*fd < 0)
		*fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	return sendmsg(*fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int tell_journal(const char *path, const struct iovec *fields, int n)
{
	static int fd = -1;
	static char newline[] = "\n";
	struct iovec iov[UIO_MAXIOV];
	/* What stands between name and value of a field that holds a newline. */
	struct __attribute__((packed)) {
		char newline;
		uint64_t length;
	} heads[TELL_FIELDS_MAX];
	size_t used = 0;

	if (n > TELL_FIELDS_MAX)
		return -E2BIG;
	for (int i = 0; i < n; i++) {
		char *text = fields[i].iov_base;
		size_t length = fields[i].iov_len;
		char *value = memchr(text, '=', length);

		if (!value)
			return -EINVAL;
		if (used + 4 > ARRAY_SIZE(iov))
			return -E2BIG;
		if (memchr(text, '\n', length)) {
			iov[used++] = (struct iovec){text, (size_t)(value - text)};
			value++;
			length -= (size_t)(value - text);
			heads[i].newline = '\n';
			heads[i].length = htole64(length);
			iov[used++] = (struct iovec){&heads[i], sizeof(heads[i])};
			iov[used++] = (struct iovec){value, length};
		} else {
			iov[used++] = fields[i];
		}
		iov[used++] = (struct iovec){newline, 1};
	}
	return send_datagram(&fd, path, iov, used);
}

int tell_systemd(const char *format, ...)
{
	static int fd = -1;
	const char *path = getenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe) */
	char text[1024];
	struct iovec iov = {.iov_base = text};
	va_list ap;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return 0;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	iov.iov_len = strlen(text);
	return send_datagram(&fd, path, &iov, 1);
}

int tell_stderr(const char *line)
{
	struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};
	char text[LINE_MAX_SIZE];
	size_t length;

	(void)str_copy(text, sizeof(text) - 1, line);
	length = strlen(text);
	text[length++] = '\n';
	/* O_NONBLOCK would also hold for everybody else who has this terminal or pipe. */
	if (send(STDERR_FILENO, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno != ENOTSOCK)
		return -errno;
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return -EAGAIN;
	return write(STDERR_FILENO, text, length) < 0 ? -errno : 0;
}
