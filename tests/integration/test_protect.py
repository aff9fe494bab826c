# SPDX-License-Identifier: GPL-2.0-or-later
"""The blast radius: what is in use is not taken away."""

import os
import signal
import subprocess

from lib.bench import BINARIES, DEV, check, equal, recovered, test
from lib.machine import add_disk
from lib.messages import PROTECTED


@test
def a_mounted_filesystem_is_protected(b):
    device = b.kernel.add(DEV)
    add_disk(b, device, "vda", "254:0")
    # A filesystem on device-mapper on the disk.
    os.makedirs(f"{b.kernel.sys}/devices/virtual/block/dm-0/holders")
    b.file("sys/devices/virtual/block/dm-0/dev", "253:0\n")
    os.symlink("../../devices/virtual/block/dm-0", f"{b.kernel.sys}/class/block/dm-0")
    os.symlink("../../../../../../virtual/block/dm-0", f"{device.path}/virtio0/block/vda/holders/dm-0")
    b.file("proc/self/mountinfo", "30 1 253:0 / /srv rw - ext4 /dev/mapper/x rw\n")
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(PROTECTED)
    check("/srv" in record["MESSAGE"] and "dm-0" in record["MESSAGE"], record["MESSAGE"])
    equal(device.driver, "virtio-pci", "driver")
    equal(b.steps(), [], "steps")
    # Unmounted and told to try again.
    b.file("proc/self/mountinfo", "")
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, device)


@test
def a_terminal_is_not_driven_by_names(b):
    device = b.kernel.add(DEV)
    add_disk(b, device, "vda", "254:0\n")
    with open(f"{b.root}/proc/self/mountinfo", "wb") as f:
        f.write(b"90 30 254:0 / /media/\x1b]0;x\x07\xff rw - ext4 /dev/vda rw\n")
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(PROTECTED)
    check(r"/media/\x1b]0;x\x07\xff" in record["MESSAGE"], record["MESSAGE"])
    b.kernel.wait(lambda: b.state() and b.state()["state"] == "isolated", "the record on disk")
    check(r"\x1b]0;x" in b.ctl("show", DEV).stdout, "the mount point")
    for args in (["\x1b[2J"], ["show", "\x1b[2J"], ["policy", "check", "/\x1b[2J"]):
        done = subprocess.run([f"{BINARIES}/smmu-rasctl", *args], env=b.env, capture_output=True)
        check(b"\x1b" not in done.stderr and rb"\x1b[2J" in done.stderr, done.stderr)


@test
def swap_and_the_default_route_are_protected(b):
    disk = b.kernel.add(DEV)
    add_disk(b, disk, "vda", "254:0")
    card = b.kernel.add("0000:02:00.0")
    os.makedirs(f"{card.path}/virtio1/net/eth0/upper_bond0")
    os.symlink(f"../../devices/pci0000:00/{card.name}/virtio1/net/eth0", f"{b.kernel.sys}/class/net/eth0")
    b.file("proc/swaps", "Filename Type Size Used Priority\n/dev/vda partition 1 0 -2\n")
    b.file(
        "proc/self/net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "bond0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    )
    b.start()
    b.kernel.fence(disk.name)
    b.kernel.fence(card.name)
    check("swap" in b.wait_record(PROTECTED, disk.name)["MESSAGE"], "swap")
    check("bond0" in b.wait_record(PROTECTED, card.name)["MESSAGE"], "default route")
    equal(b.kernel.writes, [], "writes")
