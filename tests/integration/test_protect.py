# SPDX-License-Identifier: GPL-2.0-or-later
"""The blast radius: what is in use is not taken away."""

import os
import signal
import socket
import struct
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
    force = f"although that takes the use away (data may be lost): smmu-rasctl recover --force {DEV};"
    check(force in record["MESSAGE"], record["MESSAGE"])
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
    b.wait_state("isolated")
    check(r"\x1b]0;x" in b.ctl("show", DEV).stdout, "the mount point")
    for args in (["\x1b[2J"], ["show", "\x1b[2J"], ["policy", "check", "/\x1b[2J"]):
        done = subprocess.run([f"{BINARIES}/smmu-rasctl", *args], env=b.env, capture_output=True)
        check(b"\x1b" not in done.stderr and rb"\x1b[2J" in done.stderr, done.stderr)


def add_interface(b, name, index):
    path = f"{b.kernel.sys}/devices/virtual/net/{name}"
    os.makedirs(path)
    b.file(f"sys/devices/virtual/net/{name}/ifindex", f"{index}\n")
    os.symlink(f"../../devices/virtual/net/{name}", f"{b.kernel.sys}/class/net/{name}")


def default_route(interface):
    """RTM_NEWROUTE of rtnetlink(7) with an RTA_OIF, as the kernel answers to a dump; and the end of the dump."""
    body = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("HHI", 8, 4, interface)
    return struct.pack("IHHII", 16 + len(body), 24, 2, 0, 0) + body + struct.pack("IHHIIi", 20, 3, 2, 0, 0, 0)


@test
def swap_and_the_default_route_are_protected(b):
    disk = b.kernel.add(DEV)
    add_disk(b, disk, "vda", "254:0")
    card = b.kernel.add("0000:02:00.0")
    os.makedirs(f"{card.path}/virtio1/net/eth0/upper_bond0")
    os.symlink(f"../../devices/pci0000:00/{card.name}/virtio1/net/eth0", f"{b.kernel.sys}/class/net/eth0")
    b.file("proc/swaps", "Filename Type Size Used Priority\n/dev/vda partition 1 0 -2\n")
    add_interface(b, "bond0", 7)
    with open(f"{b.root}/proc/routes{int(socket.AF_INET)}", "wb") as f:
        f.write(default_route(7))
    b.start()
    b.kernel.fence(disk.name)
    b.kernel.fence(card.name)
    check("swap" in b.wait_record(PROTECTED, disk.name)["MESSAGE"], "swap")
    check("bond0" in b.wait_record(PROTECTED, card.name)["MESSAGE"], "default route")
    equal(b.kernel.writes, [], "writes")


@test
def a_reset_in_place_takes_no_virtual_functions_away(b):
    b.policy(steps=["reset", "verify"])
    device = b.kernel.add(DEV, driver="nvme")
    add_disk(b, device, "nvme0n1", "259:0")
    # What the driver of the PF holds it keeps, but a guest on a VF is told nothing of a reset of the PF.
    b.file("proc/self/mountinfo", "30 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n")
    guest = b.kernel.add("0000:01:00.1", driver="vfio-pci")
    os.symlink(f"../{guest.name}", f"{device.path}/virtfn0")
    with open(f"{guest.path}/enable", "w") as f:
        f.write("1\n")
    b.start()
    b.kernel.fence(DEV)
    message = b.wait_record(PROTECTED)["MESSAGE"]
    check(guest.name in message and "/srv" not in message, message)
    equal(b.steps(), [], "steps")
    with open(f"{guest.path}/enable", "w") as f:
        f.write("0\n")
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, device)
