# SPDX-License-Identifier: GPL-2.0-or-later
"""The way from a fence to a device that works again, and the other ends of it."""

import os
import shutil
import signal

import fakekernel
from fakekernel import FENCED, SANITIZED
from lib.bench import DEFAULT_STEPS, DEV, QUICK, check, equal, recovered, test
from lib.messages import (
    ATTEMPT_FAILED,
    BEGUN,
    FENCED_ID,
    ISOLATED,
    RECOVERED,
    SANITIZED_ID,
    STEP_DONE,
    STUCK,
    UNFENCED_ID,
)


@test
def default_steps(b):
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(b.steps(), DEFAULT_STEPS, "steps")
    record = b.wait_record(RECOVERED)
    for field, value in (("DEVICE", DEV), ("FENCE_ID", "1"), ("REASON", "atc-timeout")):
        equal(record[f"SMMU_RAS_{field}"], value, field)
    equal(record["SMMU_RAS_ATTEMPT"], "1", "attempt")
    check(int(record["SMMU_RAS_DURATION_USEC"]) > 0, "a duration")
    equal(
        [r["SMMU_RAS_STEP"] for r in b.kernel.records(STEP_DONE)],
        DEFAULT_STEPS + ["verify"],
        "records of steps",
    )
    # The story is told in its order, though the kernel and the worker tell it on two sockets.
    told = [(r["MESSAGE_ID"], r.get("SMMU_RAS_STEP")) for r in b.kernel.journal if "SMMU_RAS_DEVICE" in r]
    ids = [i for i, step in told if i in (SANITIZED_ID, UNFENCED_ID) or step in ("reset", "reattach")]
    equal(ids, [SANITIZED_ID, STEP_DONE, UNFENCED_ID, STEP_DONE], "the order of the records")


@test
def vendor_policy_resets_nvme_in_place(b):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../config/policy.json")
    shutil.copy(source, f"{b.root}/lib/policy.json")
    os.chmod(f"{b.root}/lib/policy.json", 0o644)
    disk = b.kernel.add(DEV, driver="nvme")
    card = b.kernel.add("0000:02:00.0", driver="virtio-pci")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, disk)
    equal(b.steps(), ["reset"], "steps of the disk")
    b.kernel.fence(card.name)
    recovered(b, card)
    equal(b.steps(card.name), DEFAULT_STEPS, "steps of the card")


@test
def fenced_before_the_start(b):
    device = b.kernel.add(DEV)
    b.kernel.fence(DEV)
    b.start()
    recovered(b, device)


@test
def sanitized_before_the_start(b):
    device = b.kernel.add(DEV, driver=None)
    b.kernel.fence(DEV)
    device.state = SANITIZED
    b.start()
    recovered(b, device)


@test
def a_reset_that_fails_is_tried_again(b):
    b.policy(attempts=3, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.failures = 1
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ATTEMPT_FAILED)
    check("did not come back from its reset" in record["MESSAGE"], record["MESSAGE"])
    check("(tried: flr bus)" in record["MESSAGE"], record["MESSAGE"])
    recovered(b, device)


@test
def isolated_when_exhausted(b):
    b.policy(attempts=2, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.reset_result = 25
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED)
    check("2 attempts" in record["MESSAGE"], record["MESSAGE"])
    cure = (
        "nothing more is tried. Tried: attempts 1 to 2: unbind done, reset failed. When the cause is cured: "
        f"smmu-rasctl recover {DEV}; or step by step, by hand, as root: echo 1 > /sys/bus/pci/devices/{DEV}/reset && "
        f"echo {DEV} > /sys/bus/pci/drivers/virtio-pci/bind"
    )
    check(cure in record["MESSAGE"], record["MESSAGE"])
    equal(device.state, FENCED, "state")
    equal(b.steps().count("reset"), 2, "resets")
    equal(len(b.kernel.records(BEGUN)), 2, "attempts")
    # It stays isolated, whoever is started again.
    b.wait_state("isolated")
    b.kill()
    b.start()
    equal(b.state()["state"], "isolated", "state on disk")
    equal(b.steps().count("reset"), 2, "resets")
    equal(len(b.kernel.records(ISOLATED)), 1, "records of isolation")
    # The operator mends it by hand: what we took away is given back.
    device.reset_result = 0
    with b.kernel.lock:
        b.kernel._sanitize(device)
        b.kernel._attach(device)
    recovered(b, device)


@test
def wedges_again_at_once(b):
    b.policy(attempts=3, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.refences = 2
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(b.wait_record(RECOVERED)["SMMU_RAS_ATTEMPT"], "3", "attempt")
    equal(len(b.kernel.records(FENCED_ID)), 3, "fences")


@test
def actions_of_policy(b):
    b.policy(
        [
            {"match": {"address": "0000:02:*"}, "action": "isolate"},
            {"match": {"driver": ["foo", "ign*"]}, "action": "ignore"},
        ]
    )
    isolated = b.kernel.add("0000:02:00.0")
    ignored = b.kernel.add("0000:03:00.0", driver="ignorant")
    other = b.kernel.add(DEV)
    b.start()
    for device in (isolated, ignored, other):
        b.kernel.fence(device.name)
    recovered(b, other)
    b.wait_record(ISOLATED, isolated.name)
    equal(b.steps(isolated.name) + b.steps(ignored.name), [], "steps")
    # A reload with another policy lets them go on.
    b.policy()
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, isolated)
    recovered(b, ignored)


@test
def reset_methods_are_chosen_and_put_back(b):
    b.policy([{"match": {}, "reset_methods": ["cxl_bus", "bus"]}])
    device = b.kernel.add(DEV, methods="flr pm bus")
    device.write("reset_method", "pm flr")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    equal(device.read("reset_method"), "bus", "reset_method during the reset")
    b.kernel.release(hold)
    recovered(b, device)
    equal(device.read("reset_method"), "pm flr", "reset_method afterwards")


@test
def no_reset_method_of_the_policy_fits(b):
    b.policy([{"match": {}, "reset_methods": ["acpi"], "attempts": 1}])
    device = b.kernel.add(DEV, methods="flr")
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED)
    check('it has "flr"' in record["MESSAGE"], record["MESSAGE"])
    equal(device.read("reset_method"), "flr", "reset_method")


@test
def driver_override_is_kept(b):
    device = b.kernel.add(DEV, driver="vfio-pci")
    b.policy(protect=False)
    device.write("driver_override", "vfio-pci")
    b.start()
    hold = b.kernel.hold(f"{DEV}/bind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a bind")
    b.kernel.release(hold)
    recovered(b, device)
    equal(device.read("driver_override"), "vfio-pci", "driver_override")


@test
def unfenced_without_its_driver_is_no_success(b):
    b.policy(steps=["reset", "reattach"], attempts=1)
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    device.unbind()
    b.kernel.release(hold)
    record = b.wait_record(ISOLATED)
    check("its driver is none, and was virtio-pci before" in record["MESSAGE"], record["MESSAGE"])
    check("not fenced, but has no driver" in record["MESSAGE"], record["MESSAGE"])
    b.wait_state("isolated")
    check("no driver" in b.ctl().stdout and "(virtio-pci)" in b.ctl().stdout, "it is listed")


@test
def a_hanging_step_is_reported_once_and_tried_again(b):
    # Later resets have as little time, and there are so many of them that one is quick enough.
    steps = ["unbind", {"step": "reset", "timeout": "500ms"}, "bind"]
    b.policy([{"match": {"address": DEV}, "steps": steps}], backoff=QUICK, attempts=1000)
    device = b.kernel.add(DEV)
    other = b.kernel.add("0000:02:00.0")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    record = b.wait_record(STUCK, DEV)
    equal(record["SMMU_RAS_STEP"], "reset", "step")
    # Who prints it says "reset failed after 500ms:" before it.
    b.kernel.wait(
        lambda: any(h["note"].startswith("it has not ended;") for h in b.state()["history"]), "the step in its history"
    )
    b.kernel.release(hold)
    b.kernel.fence(other.name)
    recovered(b, other)
    recovered(b, device)
    check(len(b.kernel.records(STUCK, DEV)) <= len(b.kernel.records(BEGUN, DEV)), "told once for each attempt")
