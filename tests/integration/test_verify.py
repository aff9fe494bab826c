# SPDX-License-Identifier: GPL-2.0-or-later
"""A device is recovered when it functions again, and not only has its driver."""

import os

import fakekernel
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.messages import ATTEMPT_FAILED, ISOLATED, RECOVERED, STEP_DONE, STEP_FAILED

# Only what is going to fail has little time: the other steps may take theirs.
QUICK_VERIFY = {"step": "verify", "timeout": "4s"}


def disk(b):
    device = b.kernel.add(DEV, driver="nvme")
    device.has("nvme/nvme0", "nvme", {"state": "live"})
    device.has("nvme/nvme0/nvme0n1", "block")
    device.has("nvme/nvme0/nvme0n1/nvme0n1p1", "block")
    return device


@test
def a_disk_that_is_back_is_recovered(b):
    device = disk(b)
    b.start()
    hold = b.kernel.hold(f"{DEV}/unbind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "an unbind")
    equal(b.state()["functions"], {"block": 1, "net": 0, "nvme": 1, "virtio": 0}, "what is in the record")
    b.kernel.release(hold)
    recovered(b, device)


@test
def a_disk_that_does_not_come_back_is_no_success(b):
    b.policy(attempts=2, backoff=QUICK, steps=["unbind", "reset", "reattach", "bind", QUICK_VERIFY])
    device = disk(b)
    device.barren = True
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED)
    check("it has 0 disks, and had 1 before" in record["MESSAGE"], record["MESSAGE"])
    equal(len(b.kernel.records(STEP_FAILED)), 2, "failed steps")
    check(not b.kernel.records(RECOVERED), "not recovered")


@test
def the_rest_of_an_attempt_has_as_much_time(b):
    """What is left to do of an attempt that was cut off are the rule's own bind and verify, with their timeouts."""
    slow = [{"step": "bind", "timeout": "2h"}, {"step": "verify", "timeout": "1h"}]
    b.policy(steps=["unbind", "reset", "reattach", *slow])
    device = disk(b)
    device.barren = True
    b.start()
    hold = b.kernel.hold(f"{DEV}/bind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(), "a bind")
    b.kill()
    b.kernel.wait(lambda: not hold.waiting, "the end of the worker")
    b.start()
    b.kernel.wait(lambda: hold.waiting, "another bind")

    def minutes_left():
        return (b.state()["next"] - b.state()["since"]) / 60e6

    check(minutes_left() > 60, f"the bind may take {minutes_left()} minutes")
    b.kernel.release(hold)
    b.wait_step("verify")
    check(30 < minutes_left() <= 61, f"the verify may take {minutes_left()} minutes")


@test
def a_disk_that_takes_its_time_is_waited_for(b):
    device = disk(b)
    device.barren = True
    b.start()
    b.kernel.fence(DEV)
    b.kernel.wait(lambda: any(c[1] == "U" for c in b.kernel.connections.values()), "somebody who waits")
    with b.kernel.lock:
        # From the first moment: a worker that sees it live is done.
        device.offspring[0][2]["state"] = "connecting"
        device.bear()
    b.kernel.wait(lambda: device.driver, "the driver")
    check(not b.kernel.records(RECOVERED), "not yet recovered")
    with b.kernel.lock:
        device.write("nvme/nvme0/state", "live")
        b.kernel.announce()
    recovered(b, device)
    check(not b.kernel.records(ATTEMPT_FAILED), "one attempt was enough")


@test
def a_virtio_device_that_has_failed_is_no_success(b):
    b.policy(attempts=1, steps=["reset", QUICK_VERIFY])
    device = b.kernel.add(DEV)
    device.has("virtio0", "virtio", {"status": "0x0000000f"})
    os.symlink("/sys/bus/virtio/drivers/virtio_net", f"{device.path}/virtio0/driver")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    device.write("virtio0/status", "0x0000008f")
    b.kernel.release(hold)
    record = b.wait_record(ISOLATED)
    check("virtio0 does not work (status 0x0000008f)" in record["MESSAGE"], record["MESSAGE"])


@test
def what_was_not_there_before_is_not_missed(b):
    device = disk(b)
    device.unbind()
    device.barren = True
    device.home = None
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal([r["SMMU_RAS_STEP"] for r in b.kernel.records(STEP_DONE)][-1], "verify", "the last step")
