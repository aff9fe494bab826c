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
    """A device whose worker hangs in a reset and is immortal."""
    steps = ["unbind", {"step": "reset", "timeout": timeout}, "reattach", "bind"]
    b.policy([{"match": {"address": DEV}, "steps": steps}], backoff=QUICK, attempts=3)
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kernel.wait(lambda: b.state()["worker"], "the worker in the record")
    return device, hold, Undying(b.state()["worker"])


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
    device, hold, worker = stuck_in_reset(b, "100ms")
    b.wait_record(STUCK, DEV)
    b.kernel.wait(worker.is_killed, "a worker that would be dead")
    b.kernel.wait(lambda: b.state()["state"] == "stuck", "the record")
    equal(b.state()["worker"], worker.pid, "the worker in the record")
    b.kernel.fence(RELATED)
    b.kernel.fence(OTHER)
    recovered(b, other)
    # It may not be touched while nobody knows what the worker still does.
    b.kernel.wait(lambda: (b.state(RELATED) or {}).get("state") == "queued", "the related one in the queue")
    equal(b.steps(RELATED), [], "what was done to the related one")
    b.kernel.release(hold)
    worker.let_go()
    recovered(b, device)
    recovered(b, related)
    equal(len(b.kernel.records(STUCK, DEV)), 1, "how often it was said")


@test
def stop_does_not_wait_for_a_stuck_worker(b):
    device, hold, worker = stuck_in_reset(b, "100ms")
    b.wait_record(STUCK, DEV)
    b.kernel.wait(worker.is_killed, "a worker that would be dead")
    b.kernel.wait(lambda: b.state()["state"] == "stuck", "the record")
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
    os.mkdir(f"{b.root}/workers")
    b.file("hook", f"#!/bin/sh\ntest -e {b.root}/quick || {{ : > {b.root}/workers/$PPID; sleep 1000; }}\n", 0o755)
    b.policy(rate_limit=False, hooks={"after": [{"exec": [f"{b.root}/hook"], "timeout": "1s"}]})
    devices = [b.kernel.add(f"0000:{i + 16:02x}:00.0") for i in range(HOOKS)]
    other = b.kernel.add(OTHER)
    b.start()
    for device in devices:
        b.kernel.fence(device.name)
    b.kernel.wait(lambda: len(os.listdir(f"{b.root}/workers")) == HOOKS, "all hooks", 60)
    hung = [Undying(int(pid), stopped=True) for pid in os.listdir(f"{b.root}/workers")]
    b.file("quick", "")
    # This one's hook waits for one of those.
    b.kernel.fence(OTHER)
    recovered(b, other)
    b.kernel.wait(
        lambda: sum("cannot be killed; the device does not" in r["MESSAGE"] for r in b.kernel.journal) == HOOKS,
        "all of them to be given up", 60,
    )
    # Neither it nor those whose hooks hang is held back any longer.
    b.kernel.fence(OTHER)
    b.kernel.fence(devices[0].name)
    recovered(b, other, 2)
    recovered(b, devices[0], 2)
    for worker in hung:
        worker.let_go()
