# SPDX-License-Identifier: GPL-2.0-or-later
"""More events than anybody can read: bounded memory, no state lost, and recoveries have their turns."""

import itertools
import signal
import time

import fakekernel
from fakekernel import ACTIVE, FENCED
from lib.bench import DEV, check, equal, recovered, stop, test
from lib.messages import EVENTS_LOST, RECOVERED

DEVICES = 500
# A fence is one event, and its end two. So many do not fit into what the socket holds, and leave half of the devices fenced.
EVENTS = 7 * DEVICES
ROOM = 512 * 1024


class Flood:
    def __init__(self, b):
        self.b = b
        b.kernel.room = ROOM
        b.hurry()
        b.policy([{"match": {"address": DEV}, "rate_limit": False}, {"match": {}, "action": "ignore"}])
        self.device = b.kernel.add(DEV)
        self.devices = [b.kernel.add(f"0000:{16 + i // 8:02x}:{i % 8:02x}.0") for i in range(DEVICES)]
        self.turns = itertools.cycle(self.devices)

    def pour(self, events):
        """Devices are fenced, or reset and attached, one after the other."""
        kernel = self.b.kernel
        end = kernel.seq + events
        while kernel.seq < end:
            with kernel.lock:
                each = next(self.turns)
                if each.state == ACTIVE:
                    kernel._fence(each, "atc-timeout")
                else:
                    kernel._sanitize(each)
                    kernel._attach(each)

    def live(self):
        """As many as in overflow(), of which none is lost."""
        for _ in range(0, EVENTS, DEVICES):
            self.pour(DEVICES)
            self.b.kernel.wait(self.b.kernel.all_is_read, "events to be read")
        equal(self.b.kernel.overruns, 0, "how often it was said that the socket is full")
        self.agrees()

    def overflow(self):
        """Pours while the daemon does not read at all, so that most of it is lost."""
        kernel = self.b.kernel
        stop(self.b.daemon.pid)
        self.pour(EVENTS)
        equal(kernel.overruns, 1, "how often it was said that the socket is full")
        self.b.daemon.send_signal(signal.SIGCONT)

    def wrong(self):
        """A device that the daemon has other than the kernel."""
        for each in self.devices:
            record = self.b.state(each.name)
            fenced = bool(record) and record["state"] == "ignored" and record["fence_id"] == each.fence_id
            if fenced != (each.state == FENCED):
                return each.name, each.state, each.fence_id, record
        return None

    def agrees(self):
        try:
            self.b.kernel.wait(lambda: self.wrong() is None, "records that agree with the kernel")
        except AssertionError as e:
            raise AssertionError(f"{self.wrong()}: {e}") from e


def memory(b):
    """Memory of the daemon that is its own, in kB."""
    with open(f"/proc/{b.daemon.pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Private_Dirty:"))


@test
def what_a_full_socket_loses_is_asked_for(b):
    flood = Flood(b)
    b.start()
    flood.live()
    before, dumps = memory(b), b.kernel.dumps
    flood.overflow()
    # Nothing more comes that would show a gap.
    flood.agrees()
    message = b.wait_record(EVENTS_LOST)["MESSAGE"]
    check("the socket was full" in message, message)
    equal(b.kernel.dumps, dumps + 1, "dumps")
    grown = memory(b) - before
    check(grown < 1024, f"{grown} kB more than before")


@test
def what_is_lost_after_the_dump_was_asked_for_is_not_forgotten(b):
    """The kernel says that the socket is full before the rest is read, and drops what comes before all of it is."""
    flood = Flood(b)
    b.start()
    netlink = b.kernel._netlink

    def after_the_dump(connection, data):
        netlink(connection, data)
        dump = int.from_bytes(data[6:8], "little") & fakekernel.NLM_F_DUMP == fakekernel.NLM_F_DUMP
        if dump and flood.device.fence_id == 0:
            b.kernel._fence(flood.device, "atc-timeout")

    flood.overflow()
    with b.kernel.lock:
        b.kernel._netlink = after_the_dump
    recovered(b, flood.device)
    flood.agrees()


@test
def a_recovery_has_its_turn_in_a_flood(b):
    flood = Flood(b)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    flood.overflow()
    b.kernel.release(hold)
    recovered(b, flood.device)
    flood.agrees()


@test
def a_storm_keeps_neither_the_watchdog_nor_workers_waiting(b):
    """Events come as fast as they are read, for as long as it takes; what is read is progress, and nobody kills for it."""
    b.env["WATCHDOG_USEC"] = "300000"
    flood = Flood(b)
    b.start()
    b.notify.setblocking(False)
    words = 0
    b.kernel.fence(DEV)
    end = time.monotonic() + fakekernel.PATIENCE
    while words < 5 or not b.kernel.records(RECOVERED, DEV):
        check(time.monotonic() < end, f"{words} words to the watchdog, {len(b.kernel.records(RECOVERED, DEV))} recoveries")
        flood.pour(DEVICES)
        try:
            words += b"WATCHDOG=1" in b.notify.recv(4096)
        except BlockingIOError:
            pass
    flood.agrees()
