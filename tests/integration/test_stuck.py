# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers and hooks that hang in the kernel, and do not die when they are killed (lib/undying.py)."""

import os
import signal

import fakekernel
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.messages import RECOVERED, STUCK
from lib.undying import Undying

OTHER = "0000:02:00.0"
RELATED = "0000:01:00.1"


def stuck_in_reset(b, timeout):
    """A device whose worker hangs in a reset and is immortal.

    Its next reset has as much time, and needs some of it on a busy machine."""
    steps = ["unbind", {"step": "reset", "timeout": timeout}, "reattach", "bind"]
    b.policy([{"match": {"address": DEV}, "steps": steps}], backoff=QUICK, attempts=3)
    device = b.kernel.add(DEV)
    b.start()
    before = b.kernel.hold(f"{DEV}/unbind")
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(before.arrived.wait(fakekernel.PATIENCE), "an unbind")
    # Long before the reset has taken too long, and it is killed.
    worker = Undying(b.state()["worker"])
    b.kernel.release(before)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    return device, hold, worker


def goes_on(b, device, worker):
    """The next daemon leaves the device to the old worker, until that one has ended."""
    n = len(b.steps())
    b.start()
    b.kernel.wait(
        lambda: any(f"worker {worker.pid} of an earlier daemon is still" in r["MESSAGE"] for r in b.kernel.journal),
        "a word about the old worker",
    )
    other = b.kernel.add(OTHER)
    b.kernel.fence(OTHER)
    recovered(b, other)
    equal(b.steps()[n:], [], "what was done to the device meanwhile")
    worker.let_go()
    recovered(b, device)


@test
def a_worker_that_cannot_be_killed_is_in_nobodys_way(b):
    other, related = b.kernel.add(OTHER), b.kernel.add(RELATED)
    device, hold, worker = stuck_in_reset(b, "3s")
    b.wait_record(STUCK, DEV)
    b.kernel.wait(worker.is_killed, "a worker that would be dead")
    b.wait_state("stuck")
    equal(b.state()["worker"], worker.pid, "the worker in the record")
    b.kernel.fence(RELATED)
    b.kernel.fence(OTHER)
    recovered(b, other)
    # It may not be touched while nobody knows what the worker still does.
    b.wait_state("queued", RELATED)
    equal(b.steps(RELATED), [], "what was done to the related one")
    b.kernel.release(hold)
    worker.let_go()
    recovered(b, device)
    recovered(b, related)
    equal(len(b.kernel.records(STUCK, DEV)), 1, "how often it was said")


@test
def stop_does_not_wait_for_a_stuck_worker(b):
    device, hold, worker = stuck_in_reset(b, "3s")
    b.wait_record(STUCK, DEV)
    b.kernel.wait(worker.is_killed, "a worker that would be dead")
    b.wait_state("stuck")
    b.daemon.send_signal(signal.SIGTERM)
    equal(b.daemon.wait(fakekernel.PATIENCE), 0, "exit status")
    equal(b.state()["state"], "stuck", "the record")
    b.kernel.release(hold)
    goes_on(b, device, worker)


@test
def stop_in_mid_recovery_with_a_worker_that_survives_it(b):
    device, hold, worker = stuck_in_reset(b, "300s")
    b.daemon.send_signal(signal.SIGTERM)
    # It was given its time to end, and is left to the next daemon.
    equal(b.daemon.wait(fakekernel.PATIENCE), 0, "exit status")
    b.kernel.wait(worker.is_killed, "a worker that would be dead")
    equal(b.state()["state"], "running", "the record")
    b.kernel.release(hold)
    goes_on(b, device, worker)
    equal(b.wait_record(RECOVERED, DEV)["SMMU_RAS_ATTEMPT"], "2", "attempt")


# As many as run at a time (RUNNING_MAX in daemon/hooks.c).
HOOKS = 32


@test
def hooks_that_cannot_be_killed_keep_nobody_waiting(b):
    b.hurry()
    os.mkdir(f"{b.root}/workers")
    b.file("hook", f"#!/bin/sh\ntest -e {b.root}/quick || {{ : > {b.root}/workers/$PPID; sleep 1000; }}\n", 0o755)
    b.policy(rate_limit=False, hooks={"after": [{"exec": [f"{b.root}/hook"], "timeout": "5s"}]})
    devices = [b.kernel.add(f"0000:{i + 16:02x}:00.0") for i in range(HOOKS)]
    other = b.kernel.add(OTHER)
    b.start()
    for device in devices:
        b.kernel.fence(device.name)
    hung = {}
    # Each as soon as it is there, before it has taken too long and is killed.
    while len(hung) < HOOKS:
        b.kernel.wait(lambda: set(os.listdir(f"{b.root}/workers")) - set(hung), "the next hook")
        for pid in set(os.listdir(f"{b.root}/workers")) - set(hung):
            hung[pid] = Undying(int(pid), stopped=True)
    b.file("quick", "")
    # This one's hook waits for one of those.
    b.kernel.fence(OTHER)
    recovered(b, other)
    b.kernel.wait(
        lambda: sum("cannot be killed; the device does not" in r["MESSAGE"] for r in b.kernel.journal) == HOOKS,
        "all of them to be given up",
    )
    # Neither it nor those whose hooks hang is held back any longer.
    b.kernel.fence(OTHER)
    b.kernel.fence(devices[0].name)
    recovered(b, other, 2)
    recovered(b, devices[0], 2)
    for worker in hung.values():
        worker.let_go()
