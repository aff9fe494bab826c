# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that leave while they are fenced, or are about to be: asked or unasked, their fence leaves with them."""

import random

from testbed.guest import (VERIFY, WITHOUT_DAEMON, disk, fenced, not_active, pci, provoke, readers, wait_fenced)
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme:3", "append": WITHOUT_DAEMON}
STAYS, PULLED, ASKED = "nvme0", "nvme1", "nvme2"
ROUNDS = 6


def gone(bed, device):
    """The device has left, with its group and its fence, and nobody waits for it."""
    address = bed.device(device)["address"]
    wait_for(f"{device} to leave", lambda: bed.run(f"test -e {pci(address)}", check=False).returncode, 60)
    check(address not in not_active(bed), "its fence is still there")
    check(bed.text("for g in /sys/kernel/iommu_groups/*; do ls $g/devices | grep -q . || echo $g; done") == "",
          "its group is still there")


def pull(bed, device):
    bed.pull(device)
    gone(bed, device)
    # pciehp switches the empty slot off, and ignores for a second what happens to it then.
    wait_for("pciehp to be done", lambda: bed.run(
        "cat $(pgrep pciehp | sed 's#.*#/proc/&/stack#') | grep -q pciehp", check=False).returncode == 1)


def push(bed, device):
    """Puts a device back, and it works."""
    bed.push(device)
    name = disk(bed, device, 60)
    wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
    bed.text(f"{VERIFY} fill {name} && {VERIFY} read {name} 1 1")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")


def test_pulled_out_while_fenced(bed):
    """A fenced disk that is pulled out takes its fence along, and is a healthy disk when it is put back"""
    start = mark(bed)
    with readers(bed, STAYS):
        provoke(bed, PULLED)
        wait_fenced(bed, PULLED, start)
        pull(bed, PULLED)
        push(bed, PULLED)
    check(fenced(bed, start) == [bed.device(PULLED)["address"]], f"fenced: {fenced(bed, start)}")
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 4, str(dmesg(bed, "smmuv3|fence", start)))


def test_pulled_out_under_io(bed):
    """A healthy disk that is pulled out under I/O can answer no invalidation: at most one fence, and it leaves"""
    start = mark(bed)
    with readers(bed, STAYS):
        name = disk(bed, PULLED)
        with bed.start(f"exec {VERIFY} read {name} 2 100") as victims:
            wait_for("I/O", lambda: bed.stream(PULLED)["inv"] > 20)
            pull(bed, PULLED)
            bed.run(f"pkill -TERM -f 'read {name} '", check=False)
            victims.communicate(timeout=60)
        push(bed, PULLED)
    check(len(fenced(bed, start)) <= 1, f"fenced: {fenced(bed, start)}")
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 4, str(dmesg(bed, "smmuv3|fence", start)))


def test_unplugged_while_fenced(bed):
    """A fenced disk can be unplugged in good order"""
    start = mark(bed)
    provoke(bed, ASKED)
    wait_fenced(bed, ASKED, start)
    bed.unplug(ASKED, 90)
    gone(bed, ASKED)


def test_pulled_out_while_being_fenced(bed):
    """Pulled out at any moment between the wedge and the end of the fence's worker, it leaves in good order"""
    chance = random.Random(1)
    with readers(bed, STAYS):
        for _ in range(ROUNDS):
            with bed.start(f"exec {VERIFY} read {disk(bed, PULLED)} 2 100") as victims:
                bed.wedge(PULLED, "until-reset")
                # Between nothing and a bit more than an ATC timeout plus what the worker takes.
                bed.run(f"sleep {chance.uniform(0, 0.4):.3f}", check=False)
                pull(bed, PULLED)
                bed.run(f"pkill -TERM -f 'verify-io read {disk_pattern(bed)}'", check=False)
                victims.communicate(timeout=60)
            push(bed, PULLED)


def disk_pattern(bed):
    """The disk that does not stay, for pkill: the pulled one may have come back under any number."""
    return f"/dev/nvme[^{disk(bed, STAYS)[9]}]n1"
