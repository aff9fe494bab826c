# SPDX-License-Identifier: GPL-2.0-or-later
"""Things that happen to the machine under test."""

import os
import shutil
import struct

import fakekernel
from lib.bench import DEV, QUICK, alive, check, equal
from lib.messages import ISOLATED


def replace(b, old, driver="newdrv"):
    """Another card in the slot of @old."""
    with b.kernel.lock:
        b.kernel.remove(old.name)
        shutil.rmtree(old.path)
        new = b.kernel.add(old.name, driver=driver)
        new.write("revision", "0x02")
        return new


def give_up(b, name=DEV, driver="virtio-pci", **policy):
    """A device that is isolated, since none of its resets helps."""
    b.policy(**{"attempts": 1, "backoff": QUICK, **policy})
    device = b.kernel.add(name, driver=driver)
    device.reset_result = 25
    b.start()
    b.kernel.fence(name)
    b.wait_record(ISOLATED, name)
    b.wait_state("isolated", name)
    return device


def killed_in(b, step):
    """The daemon is killed in a step of a recovery, and its worker with it. Returns the device and what holds it."""
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/{step}")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(), step)
    worker = b.state()["worker"]
    b.kill()
    b.kernel.wait(lambda: not alive(worker), "the end of the worker")
    return device, hold


def untouched(new):
    equal(new.driver, "newdrv", "driver")
    equal(new.read("driver_override"), "(null)", "driver_override")


def mend_by_hand(b, device, driver):
    with b.kernel.lock:
        b.kernel._sanitize(device)
        device.write("driver_override", driver)
        device.bind(driver)
        b.kernel._attach(device)


def add_disk(b, device, name, number):
    path = f"{device.path}/virtio0/block/{name}"
    os.makedirs(f"{path}/holders")
    with open(f"{path}/dev", "w") as f:
        f.write(number + "\n")
    os.symlink(f"../../devices/pci0000:00/{device.name}/virtio0/block/{name}", f"{b.kernel.sys}/class/block/{name}")


def dump_with(b, change):
    """The next dumps, in one datagram as the kernel packs it, with the attributes that @change makes."""
    netlink = b.kernel._netlink

    def changed(connection, data):
        kind, flags, seq = struct.unpack_from("=HHI", data, 4)
        if kind != fakekernel.FAMILY or flags & fakekernel.NLM_F_DUMP != fakekernel.NLM_F_DUMP:
            netlink(connection, data)
            return
        b.kernel.dumps += 1
        answer = b""
        for device in b.kernel.devices.values():
            attrs = change(device, device.attrs(device.event_seq))
            answer += fakekernel.genl(fakekernel.FAMILY, fakekernel.NLM_F_MULTI, seq, fakekernel.CMD_GET, attrs)
        answer += fakekernel.message(
            fakekernel.NLMSG_DONE, fakekernel.NLM_F_MULTI, seq, struct.pack("=i", 0)
        )
        b.kernel._send(connection[0], answer)

    b.kernel._netlink = changed
