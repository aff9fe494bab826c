# SPDX-License-Identifier: GPL-2.0-or-later
"""A user of VFIO inside a machine: the program tests/vm/guest/vfio-drive, which is told what to do line by line.

The program has 256 pages of memory. Page N is mapped at iova(N), wherever it is mapped.
"""

import contextlib
import os
import select
import subprocess
import time

from workshop.ui import Failure

from .bed import patience
from .guest import pci

PROGRAM = "/usr/local/lib/testbed/vfio-drive"
UNMAPPED = 0x5a  # what the program fills a page with when it has been unmapped


class Refused(Exception):
    """The program's answer was an error: `error` is its name, such as EBUSY."""

    def __init__(self, question, answer):
        super().__init__(f"{question}: {answer}")
        self.error = answer.split()[1]


def iova(page):
    return 0x80000000 + page * 4096  # not where the devices' registers are: QEMU's NVMe takes these for its own


def to_vfio(bed, *devices):
    """Has vfio-pci take over devices that it does not have yet, and smmu-rasd keep out of what follows."""
    lines = ["systemctl stop smmu-rasd"]
    for device in devices:
        address = bed.device(device)["address"]
        lines.append(f"if ! [ {pci(address, 'driver')} -ef /sys/bus/pci/drivers/vfio-pci ]; then "
                     f"echo vfio-pci > {pci(address, 'driver_override')}; "
                     f"echo {address} > {pci(address, 'driver/unbind')}; "
                     f"echo {address} > /sys/bus/pci/drivers/vfio-pci/bind; fi")
    bed.text("; ".join(lines))


class Drive:
    def __init__(self, bed, realtime=False):
        self.bed = bed
        self.seen = iova  # the address that devices have for a page: another one with a guest's translation on top
        self._rest = b""
        self._process = bed.start(f"exec {'chrt -f 50 ' if realtime else ''}{PROGRAM}", stdin=subprocess.PIPE, text=False, errors=None)

    def close(self):
        """Ends the program, which closes all that it has open."""
        if self._process:
            self._process.stdin.close()
            try:
                self._process.wait(150 * patience())
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise Failure("vfio-drive does not end") from None
            finally:
                self._process.stdout.close()
                self._process = None

    def ask(self, *words, timeout=60):
        """Gives one command; returns what the answer says, as a dictionary, or raises Refused."""
        return self.ask_all(words, timeout=timeout)[0]

    def ask_all(self, *commands, timeout=60):
        """Gives commands that are carried out without a pause between them; returns what each answer says."""
        questions = [" ".join(f"{word:#x}" if isinstance(word, int) else word for word in words) for words in commands]
        self._process.stdin.write(";".join(questions).encode() + b"\n")
        self._process.stdin.flush()
        deadline, said = time.monotonic() + timeout * patience(), []
        for question in questions:
            answer = self._answer(question, deadline)
            if not answer.startswith("ok"):
                raise Refused(question, answer)
            pairs = (word.partition("=") for word in answer.split()[1:])
            said.append({name: int(value) if value.isdigit() else value for name, _, value in pairs})
        return said

    def _answer(self, question, deadline):
        output = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([output], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failure(f"vfio-drive: no answer to {question!r}")
            got = os.read(output, 4096)
            if not got:
                raise Failure(f"vfio-drive has ended at {question!r}: {self._rest.decode(errors='replace')}")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")

    def refused(self, error, *words, timeout=60):
        """Gives a command that must fail with that error."""
        try:
            self.ask(*words, timeout=timeout)
        except Refused as refusal:
            if refusal.error == error:
                return
            raise Failure(str(refusal)) from None
        raise Failure(f"vfio-drive: {words} should have failed")

    # -- what most scenarios do --

    def open(self, device, space, way):
        """Opens a device through its group or its character device, and gives it an address space of that name."""
        address = self.bed.device(device)["address"]
        if way == "group":
            self.ask("group", device, address, space)
        else:
            self.ask("cdev", device, address)
            self.ask("attach", device, space)

    def map(self, space, page, count=1):
        self.ask("map", space, iova(page), page, count)

    def unmap(self, space, page, count=1):
        """Unmaps pages, and has them filled in the moment in which they may be used again."""
        self.ask("unmap", space, iova(page), count, page)

    def unmap_and_watch(self, space, page, device):
        """Unmaps a page, has the device write to it at once, and returns how many bytes of it that has changed."""
        return self.ask_all(("unmap", space, iova(page), 1, page), self.watching(page, device))[1]["bytes"]

    def watching(self, page, device, ms=300):
        return "watch", device, self.seen(page), page, ms

    def unmap_both(self, space, one, other):
        """Unmaps two pages in two threads at once."""
        self.ask("unmap-both", space, iova(one), iova(other), 1, one, other)

    def start(self, device, page):
        """Starts a controller, with its queues in the page and the next one."""
        self.ask("start", device, page, self.seen(page))

    def identify(self, device, page, wait=20):
        """Whether the controller carries out a command that writes the page."""
        try:
            return self.ask("identify", device, self.seen(page), int(wait * 1000 * patience()),
                            timeout=wait + 30)["status"] == 0
        except Refused as refusal:
            if refusal.error != "ETIMEDOUT":
                raise
            return False

    def busy(self, device, page):
        self.ask("busy", device, self.seen(page))

    def damage(self, page, count=1):
        """How many bytes of unmapped pages have been changed since they were unmapped."""
        return self.ask("differ", page, count, UNMAPPED)["bytes"]


@contextlib.contextmanager
def driving(bed, realtime=False):
    """A program for the length of a `with` block; a real-time one gives the CPU away only when it waits."""
    drive = Drive(bed, realtime)
    try:
        yield drive
    finally:
        drive.close()
