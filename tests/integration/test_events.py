# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says, what gets lost of it, and what comes too late."""

import os

import fakekernel
from fakekernel import ACTIVE, FENCED
from lib.bench import DEFAULT_STEPS, DEV, check, equal, recovered, test
from lib.machine import dump_with
from lib.messages import BEGUN, EVENTS_LOST, ISOLATED, UNFENCED_ID


@test
def a_gap_in_the_events_leads_to_a_dump(b):
    first = b.kernel.add(DEV)
    second = b.kernel.add("0000:02:00.0")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, first)
    b.kernel.drop_events = True
    b.kernel.fence(second.name)
    b.kernel.drop_events = False
    dumps = b.kernel.dumps
    b.kernel.fence(DEV)
    recovered(b, second)
    recovered(b, first, 2)
    equal(b.kernel.dumps, dumps + 1, "dumps")
    b.wait_record(EVENTS_LOST)


@test
def an_odd_driver_name_spoils_nothing(b):
    devices = [b.kernel.add(f"0000:0{i}:00.0") for i in (1, 2, 3)]
    for device in devices:
        b.kernel.fence(device.name)
    long_name = fakekernel.attr_str(9, "x" * 64)
    dump_with(b, lambda device, attrs: attrs + (long_name if device is devices[0] else b""))
    b.start()
    for device in devices:
        recovered(b, device)


@test
def a_dump_that_cannot_be_read_proves_nothing(b):
    b.policy(attempts=1)
    devices = [b.kernel.add(f"0000:0{i}:00.0") for i in (1, 2, 3)]
    for device in devices:
        device.reset_result = 25
    b.start()
    for device in devices:
        b.kernel.fence(device.name)
        b.wait_record(ISOLATED, device.name)
    netlink = b.kernel._netlink
    bad_name = fakekernel.attr_str(5, "../x")
    dump_with(b, lambda device, attrs: attrs + (bad_name if device is devices[0] else b""))
    other = b.kernel.add("0000:09:00.0", driver="nvme")
    dumps = b.kernel.dumps
    b.kernel.seq += 5
    b.kernel.fence(other.name)
    b.kernel.wait(lambda: b.kernel.dumps == dumps + 1, "a dump")
    # The end of that dump was behind the bad message, so another one follows; and it is believed.
    b.kernel.wait(lambda: b.kernel.dumps == dumps + 2, "a second dump")
    equal([b.state(d.name)["state"] for d in devices], ["isolated"] * 3, "states on disk")
    equal([d.driver for d in devices], [None] * 3, "drivers")
    equal(b.kernel.records(UNFENCED_ID, devices[0].name), [], "records of unfencing")
    recovered(b, other)
    b.kernel._netlink = netlink
    b.kernel.wait(lambda: b.kernel.dumps == dumps + 3, "a dump that is good")


@test
def a_removal_that_a_dump_has_overtaken(b):
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.seq = 10
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    with b.kernel.lock:
        old = fakekernel.genl(fakekernel.FAMILY, 0, 0, fakekernel.NTF_REMOVED, device.attrs(5))
        b.kernel._send_group(fakekernel.GROUP, old)
    # The gap that it looks like has been read, and with it the removal.
    b.wait_record(EVENTS_LOST)
    b.kernel.release(hold)
    recovered(b, device)
    equal(b.steps(), DEFAULT_STEPS, "steps")


@test
def a_device_that_is_well_again_is_left_alone(b):
    device = b.kernel.add(DEV)
    b.start()
    with b.kernel.lock:
        device.state, device.fence_id = FENCED, 7
        b.kernel._event(fakekernel.NTF_FENCED, device)
        # The daemon hears of the fence only when it is over.
        device.state, device.event_seq = ACTIVE, 2
    recovered(b, device)
    equal([s for s in b.steps() if s in ("unbind", "reset")], [], "steps")


@test
def dumps_start_no_further_attempts(b):
    b.policy([{"match": {"address": DEV}, "attempts": 1}])
    device = b.kernel.add(DEV, driver="rare")
    other = b.kernel.add("0000:02:00.0")
    b.start()
    hold = b.kernel.hold(f"{DEV}/bind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a bind")
    os.rmdir(f"{b.kernel.sys}/bus/pci/drivers/rare")
    b.kernel.release(hold)
    b.wait_record(ISOLATED)
    for i in range(1, 4):
        b.kernel.seq += 3
        b.kernel.fence(other.name)
        recovered(b, other, i)
    equal(len(b.kernel.records(BEGUN, DEV)), 1, "attempts")


@test
def resume_from_suspend_leads_to_a_dump(b):
    first = b.kernel.add(DEV)
    second = b.kernel.add("0000:02:00.0")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, first)
    # Nothing is told of it, and no gap shows it.
    b.kernel.drop_events = True
    seq = b.kernel.seq
    b.kernel.fence(second.name)
    b.kernel.drop_events = False
    b.kernel.seq = seq
    dumps = b.kernel.dumps
    with b.kernel.lock:
        b.kernel.clock_jumps()
    recovered(b, second)
    equal(b.kernel.dumps, dumps + 1, "dumps")
