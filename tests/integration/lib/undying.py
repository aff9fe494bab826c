# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that SIGKILL does not end, as one that hangs in the kernel.

ptrace(2) stops a process that is killed just before it ends (PTRACE_O_TRACEEXIT), and there it stays: not reaped, its
descriptors open, its pidfd silent. That is all that its parent sees of a process in D state. What it does not show is
what such a process holds in the kernel: whoever wants the same lock of a device would hang as well.

Only the thread that made one may let it go.
"""

import ctypes
import os
import signal

from lib.bench import process_state

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE = 7, 17, 0x4206
PTRACE_O_TRACEEXIT = 0x40
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def ptrace(request, pid, data=0):
    if LIBC.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request}, {pid})")


class Undying:
    def __init__(self, pid, stopped=False):
        """@stopped: it does nothing from now on, and is not only immortal."""
        self.pid = pid
        ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT)
        if stopped:
            os.kill(pid, signal.SIGSTOP)

    def is_killed(self):
        """Whether it would be dead, unless it was stopped from the beginning."""
        return process_state(self.pid) == "t"

    def let_go(self):
        ptrace(PTRACE_DETACH, self.pid)
