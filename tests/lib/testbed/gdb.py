# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's debugger stub: just enough of the gdb remote protocol to stop at a function and to step through it."""

import bisect
import contextlib
import socket

from workshop.ui import Failure

SP, PC, LR = 31, 32, 30


class Symbols:
    """A kernel's System.map."""

    def __init__(self, path):
        found = []
        for line in path.read_text().splitlines():
            address, kind, name = line.split(" ", 2)
            if kind in "tT" and not name.startswith("$"):
                found.append((int(address, 16), name))
        found.sort()
        self._starts, self._names = [at for at, _ in found], [name for _, name in found]
        self._at = {name: at for at, name in found}

    def address(self, name):
        if name not in self._at:
            raise Failure(f"the kernel has no function {name}")
        return self._at[name]

    def name(self, address):
        number = bisect.bisect_right(self._starts, address) - 1
        return self._names[number] if number >= 0 else hex(address)


class Gdb:
    """A connection; the machine stands still from here on, but for run() and step()."""

    def __init__(self, bed, timeout=60):
        path = bed.folder / "gdb.sock"
        with bed.qmp() as qmp:
            qmp.command("human-monitor-command", **{"command-line": f"gdbserver unix:{path},server=on,wait=off"})
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._buffer = b""
        self._ask("?")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Detached, the machine runs on.
        with contextlib.suppress(OSError, Failure):
            self._ask("D")
        self._socket.close()

    def _send(self, text):
        self._socket.sendall(f"${text}#{sum(text.encode()) & 0xff:02x}".encode())

    def _receive(self):
        while True:
            head, mark, rest = self._buffer.partition(b"#")
            if mark and len(rest) >= 2:
                self._buffer = rest[2:]
                self._socket.sendall(b"+")
                return head.partition(b"$")[2].decode("latin-1")
            try:
                got = self._socket.recv(65536)
            except OSError as error:
                raise Failure(f"QEMU's debugger stub does not answer: {error}") from None
            if not got:
                raise Failure("QEMU closed its debugger connection")
            self._buffer += got

    def _ask(self, text):
        self._send(text)
        return self._receive()

    def register(self, number):
        return int.from_bytes(bytes.fromhex(self._ask(f"p{number:x}")), "little")

    def memory(self, address, length):
        answer = self._ask(f"m{address:x},{length:x}")
        if answer.startswith("E"):
            raise Failure(f"cannot read the guest's memory at {address:#x}")
        return bytes.fromhex(answer)

    def stop_at(self, address, stop=True):
        if self._ask(f"{'Z' if stop else 'z'}1,{address:x},4") != "OK":
            raise Failure("QEMU takes no breakpoint")

    def run(self):
        """Runs until a breakpoint."""
        self._ask("c")

    def step(self):
        """Executes one instruction, with interrupts held back (QEMU's default); returns where the next one is."""
        self._ask("s")
        return self.register(PC)

    def trace(self, limit=100000):
        """From a function's first instruction to its return: the addresses of the instructions that it executed."""
        end, stack = self.register(LR), self.register(SP)
        at, executed = self.register(PC), []
        while not (at == end and self.register(SP) == stack):
            executed.append(at)
            if len(executed) > limit:
                raise Failure(f"no return after {limit} instructions")
            at = self.step()
        return executed
