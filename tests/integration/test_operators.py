# SPDX-License-Identifier: GPL-2.0-or-later
"""What the operator does to a device while the daemon looks after it."""

import signal

import fakekernel
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.machine import add_disk, mend_by_hand
from lib.messages import FENCED_ID, ISOLATED, POLICY_LOADED, PROTECTED, RECOVERED, UNFENCED_ID


@test
def the_driver_that_the_operator_bound_stays(b):
    b.policy(attempts=1, protect=False)
    device = b.kernel.add(DEV)
    device.reset_result = 25
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    n = len(b.steps())
    mend_by_hand(b, device, "vfio-pci")
    b.wait_state("idle")
    equal(device.driver, "vfio-pci", "driver")
    equal(device.read("driver_override"), "vfio-pci", "driver_override")
    equal(b.steps()[n:], [], "steps")


@test
def mended_by_hand_while_an_attempt_runs(b):
    b.policy(attempts=1, protect=False)
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    mend_by_hand(b, device, "vfio-pci")
    b.kernel.release(hold)
    b.wait_record(RECOVERED)
    equal(device.driver, "vfio-pci", "driver")
    equal(device.read("driver_override"), "vfio-pci", "driver_override")


@test
def unfenced_in_the_queue_only_gets_its_driver(b):
    b.policy(attempts=3, backoff=QUICK)
    device = b.kernel.add("0000:01:00.0")
    other = b.kernel.add("0000:01:00.1")
    device.reset_result = 25
    b.start()
    first = b.kernel.hold(f"{device.name}/reset")
    second = b.kernel.hold(f"{other.name}/reset")
    b.kernel.fence(device.name)
    check(first.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kernel.fence(other.name)
    b.wait_record(FENCED_ID, other.name)
    b.kernel.release(first)
    check(second.arrived.wait(fakekernel.PATIENCE), "a reset of the other one")
    b.wait_state("queued", device.name)
    n = len(b.steps(device.name))
    with b.kernel.lock:
        b.kernel._sanitize(device)
        b.kernel._attach(device)
    b.wait_record(UNFENCED_ID, device.name)
    b.kernel.release(second)
    recovered(b, device)
    equal(b.steps(device.name)[n:], ["bind"], "steps")


@test
def a_later_rule_that_chooses_reset_methods(b):
    b.policy(attempts=1)
    device = b.kernel.add(DEV, methods="flr pm bus")
    device.write("reset_method", "pm flr")
    device.reset_result = 25
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    b.policy(attempts=1, reset_methods=["bus"])
    b.daemon.send_signal(signal.SIGHUP)
    b.wait_record(POLICY_LOADED, None, 2)
    device.reset_result = 0
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(device.read("reset_method"), "pm flr", "reset_method")


@test
def reload_after_a_protected_second_attempt(b):
    b.policy(attempts=3, backoff=QUICK)
    device = b.kernel.add(DEV)
    add_disk(b, device, "vda", "254:0")
    device.reset_result = 25
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    # Somebody binds it again, and mounts it.
    device.bind("virtio-pci")
    b.file("proc/self/mountinfo", "30 1 254:0 / /srv rw - ext4 /dev/vda rw\n")
    b.kernel.release(hold)
    b.wait_record(PROTECTED)
    device.reset_result = 0
    b.file("proc/self/mountinfo", "")
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, device)
