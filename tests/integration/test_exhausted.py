# SPDX-License-Identifier: GPL-2.0-or-later
"""When all attempts have failed: the last resort of the policy, and what the operator is told."""

import json
import os

import fakekernel
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.messages import BEGUN, ISOLATED, RECOVERED


def script(b, text):
    b.file("last-resort", "#!/bin/sh\n" + text, 0o755)
    return {"exec": [f"{b.root}/last-resort"]}


def dead_disk(b, **policy):
    b.policy(attempts=2, backoff=QUICK, steps=["reset"], **policy)
    device = b.kernel.add(DEV, driver="nvme")
    device.has("nvme/nvme0", "nvme", {"state": "live"})
    device.has("nvme/nvme0/nvme0n1", "block")
    device.reset_result = 25
    return device


@test
def the_last_resort_is_tried_once(b):
    device = dead_disk(b, on_exhausted=script(b, f"echo tried >> {b.root}/tried; exit 3"))
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    with open(f"{b.root}/tried") as f:
        equal(f.read(), "tried\n", "the last resort")
    equal(b.steps().count("reset"), 2, "resets")
    equal([r["SMMU_RAS_ATTEMPT"] for r in b.kernel.records(BEGUN)], ["1", "2"], "attempts")
    b.wait_state("isolated")
    check(b.state()["last_resort"], "it is in the record")
    # Nor by the next daemon.
    b.kill()
    b.start()
    with open(f"{b.root}/tried") as f:
        equal(f.read(), "tried\n", "the last resort")
    # A new fence is a new story.
    device.reset_result = 0
    b.kernel.fence(DEV)
    recovered(b, device)


@test
def a_device_that_the_last_resort_cures_is_recovered(b):
    wait = f"touch {b.root}/cure; while [ -e {b.root}/cure ]; do sleep 0.05; done"
    device = dead_disk(b, on_exhausted=script(b, wait))
    b.start()
    b.kernel.fence(DEV)
    b.kernel.wait(lambda: os.path.exists(f"{b.root}/cure"), "the last resort")
    with b.kernel.lock:
        b.kernel._sanitize(device)
        b.kernel._attach(device)
    os.unlink(f"{b.root}/cure")
    recovered(b, device)
    equal(b.kernel.records(ISOLATED), [], "isolations")


@test
def killed_in_the_preparations_of_the_last_resort(b):
    """It is no attempt of its own, and so leaves as many as there were."""
    dead_disk(b, on_exhausted=script(b, f"echo tried >> {b.root}/tried; exit 3"))
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    b.wait_state("isolated")
    b.kill()
    n = len(b.steps())
    b.file(f"run/devices/pci@{DEV}.json", json.dumps(dict(b.state(), state="running", begun=False, left=0)))
    b.start()
    b.wait_record(ISOLATED, count=2)
    equal(b.steps()[n:].count("reset"), 0, "resets")
    equal(b.state()["attempts"], 2, "attempts")
    with open(f"{b.root}/tried") as f:
        equal(f.read(), "tried\ntried\n", "the last resort")


@test
def killed_before_the_last_resort(b):
    dead_disk(b, on_exhausted=script(b, f"echo tried >> {b.root}/tried; exit 3"))
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    with b.kernel.lock:
        # The second attempt is the one that is killed.
        b.kernel.release(hold)
        hold = b.kernel.hold(f"{DEV}/reset")
    check(hold.arrived.wait(fakekernel.PATIENCE), "a second reset")
    b.kill()
    b.kernel.wait(lambda: not hold.waiting, "the end of the worker")
    b.kernel.release(hold)
    b.start()
    b.wait_record(ISOLATED)
    with open(f"{b.root}/tried") as f:
        equal(f.read(), "tried\n", "the last resort")
    equal(b.kernel.records(RECOVERED), [], "recoveries")


@test
def who_waits_for_an_isolated_disk_is_told(b):
    dead_disk(b)
    b.start()
    b.kernel.fence(DEV)
    message = b.wait_record(ISOLATED)["MESSAGE"]
    check("whoever uses its disk may wait until it is reset, or nvme is unbound" in message, message)
    b.kernel.wait(lambda: "may wait" in b.state()["note"], "the note in the record")
