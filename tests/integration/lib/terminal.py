# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasctl on a terminal of its own."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios

from lib.bench import BINARIES


def on_terminal(b, width, *args, answer=None, **env):
    """Runs smmu-rasctl on a terminal of @width columns, and types @answer. Returns its output and exit status."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 100, width, 0, 0))
    environment = {k: v for k, v in b.env.items() if k not in ("NO_COLOR", "SYSTEMD_COLORS", "COLUMNS", "LESS")}
    environment |= {"TERM": "xterm", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "cat", **env}
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.closerange(3, 256)
        os.execve(f"{BINARIES}/smmu-rasctl", ["smmu-rasctl", *args], environment)
    os.close(slave)
    if answer is not None:
        os.write(master, answer.encode())
    output = b""
    while True:
        if not select.select([master], [], [], 120)[0]:  # a pager that waits for a key waits for ever
            os.kill(pid, signal.SIGKILL)
            output += b"(on_terminal: nothing came for two minutes)"
            break
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        output += data
    os.close(master)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return output.decode().replace("\r\n", "\n"), status
