# SPDX-License-Identifier: GPL-2.0-or-later
"""Related devices take turns, all others run in parallel."""

import os

import fakekernel
from lib.bench import DEFAULT_STEPS, check, equal, recovered, test
from lib.messages import BEGUN, FENCED_ID


@test
def functions_of_one_device_take_turns(b):
    devices = [b.kernel.add(f"0000:01:00.{i}") for i in range(3)]
    other = b.kernel.add("0000:02:00.0")
    b.start()
    hold = b.kernel.hold("0000:01:00.*/reset")
    for device in devices:
        b.kernel.fence(device.name)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kernel.fence(other.name)
    recovered(b, other)
    equal(len([w for w in b.kernel.writes if w[0].startswith("0000:01")]), 2, "writes")
    b.kernel.release(hold)
    for device in devices:
        recovered(b, device)
    names = [w[0] for w in b.kernel.writes if w[0].startswith("0000:01")]
    equal(names, sorted(names, key=lambda n: names.index(n)), "order of writes")


@test
def members_of_a_group_and_of_a_pf_take_turns(b):
    first = b.kernel.add("0000:01:00.0", group=77)
    second = b.kernel.add("0000:02:00.0", group=77)
    vf = b.kernel.add("0000:01:10.0")
    os.symlink("../0000:01:00.0", f"{vf.path}/physfn")
    b.start()
    hold = b.kernel.hold("0000:01:00.0/reset")
    b.kernel.fence(first.name)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kernel.fence(second.name)
    b.kernel.fence(vf.name)
    b.wait_record(FENCED_ID, second.name)
    b.wait_record(FENCED_ID, vf.name)
    b.kernel.release(hold)
    for device in (first, second, vf):
        recovered(b, device)
    order = [w[0] for w in b.kernel.writes]
    equal(order[: len(DEFAULT_STEPS)], [first.name] * len(DEFAULT_STEPS), "the first is done first")


@test
def many_devices_in_parallel(b):
    devices = [b.kernel.add(f"0000:{i:02x}:00.0") for i in range(64)]
    b.start()
    hold = b.kernel.hold("*/reset")
    for device in devices:
        b.kernel.fence(device.name)
    # All of them are in their resets at the same time.
    b.kernel.wait(lambda: len(hold.waiting) == 64, "64 resets at once")
    b.kernel.release(hold)
    for device in devices:
        recovered(b, device)


@test
def max_parallel(b):
    b.file("etc/policy.json", '{"max_parallel": 2}')
    devices = [b.kernel.add(f"0000:{i:02x}:00.0") for i in range(5)]
    b.start()
    hold = b.kernel.hold("*/reset")
    for device in devices:
        b.kernel.fence(device.name)
    for device in devices:
        b.wait_record(FENCED_ID, device.name)
    b.kernel.wait(lambda: len(hold.waiting) == 2, "2 resets")
    equal(len(b.kernel.records(BEGUN)), 2, "recoveries")
    b.kernel.release(hold)
    for device in devices:
        recovered(b, device)
