# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that wedge while drivers come and go, resets run and domains change: whatever meets whatever, in good order.

TESTBED_ROUNDS is how many rounds (default 4), TESTBED_SEED the first one's seed: a round is its seed's, alone.
"""

import os
import random

from testbed.guest import VERIFY, WITHOUT_DAEMON, address, bind, disk, driver, group, not_active, pci, unbind, write
from testbed.scenario import check, wait_for
from workshop.ui import Failure

# Short timeouts: a driver that meets a fenced disk is to give up soon.
BED = {"kernel": "patched", "devices": "nvme:2,nvme+nvme,fixed/nvme",
       "append": (*WITHOUT_DAEMON, "nvme_core.io_timeout=3", "nvme_core.admin_timeout=3")}
DISKS = ("nvme0", "nvme1", "nvme2", "nvme3", "nvme4")  # the third and the fourth share a domain
ROUNDS = int(os.environ.get("TESTBED_ROUNDS") or 4)
SEED = int(os.environ.get("TESTBED_SEED") or 1)

# What goes on in the guest until the round ends; $a is the device's address, $g the folder of its group. No rescan of
# the bus: where Linux assigns the bus numbers it does so anew, and resets that run meanwhile find nobody for a minute.
LOOPS = {
    "io": "dd if=/dev/$(ls /sys/bus/pci/devices/$a/nvme/nvme*/ | grep -x 'nvme[0-9]*n1') of=/dev/null bs=32k count=64 "
          "iflag=direct",
    "bind": "echo $a > /sys/bus/pci/drivers/nvme/unbind; echo $a > /sys/bus/pci/drivers/nvme/bind",
    "reset": "echo 1 > /sys/bus/pci/devices/$a/reset",
    "bus": "echo 1 > $(dirname $(readlink -f /sys/bus/pci/devices/$a))/reset_subordinate",
    "type": "echo $a > /sys/bus/pci/drivers/nvme/unbind; for t in identity DMA DMA-FQ; do echo $t > $g/type; done; "
            "echo $a > /sys/bus/pci/drivers/nvme/bind",
    "lazy": "echo DMA-FQ > $g/type; sleep 0.1",
}


def start_loops(bed, chance):
    """Two things with each device, at random; returns what was started."""
    bed.text("rm -f /run/stop")
    chosen = [(device, loop) for device in DISKS for loop in chance.sample(sorted(LOOPS), 2)]
    for device, loop in chosen:
        bed.text(f"a={address(bed, device)} g={group(bed, address(bed, device))} "
                 f"sh -c 'while [ ! -e /run/stop ]; do {LOOPS[loop]}; done' </dev/null >/dev/null 2>&1 &")
    return chosen


def mend(bed):
    """Brings every device back, by what an administrator would do: driver off, reset, the usual domain, driver on."""
    for device in DISKS:
        if driver(bed, address(bed, device)):
            check(unbind(bed, address(bed, device)), f"{device} cannot be unbound")
    for device in DISKS:
        check(write(bed, 1, pci(address(bed, device), "reset")), f"{device} cannot be reset")
    for device in DISKS:
        folder = group(bed, address(bed, device))
        check(write(bed, "DMA", f"{folder}/type"), f"{device} cannot have its usual domain")
        check(bed.text(f"cat {folder}/type") == "DMA", f"{device} has another domain")
    for device in DISKS:
        check(bind(bed, address(bed, device), "nvme"), f"{device} cannot be bound")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
    for device in DISKS:
        check(bed.hardware(device) == "off" and bed.stream(device)["eats"] == 1, f"{device} has no ATS")
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 1 1")


def ended(bed):
    """Whether all loops have ended. One that reads waits for as long as its disk is fenced, and not all have a loop that
    resets it."""
    if bed.run("pgrep -f 'while . ! -e /run/sto[p]'", check=False).returncode:
        return True
    for address_, state in not_active(bed).items():
        if state == "fenced":
            write(bed, 1, pci(address_, "reset"))
    return False


def one_round(bed, seed):
    chance = random.Random(seed)
    chosen = start_loops(bed, chance)
    for _ in range(chance.randint(1, 4)):
        bed.run(f"sleep {chance.uniform(0, 0.5):.3f}")
        bed.wedge(chance.choice(DISKS), "until-reset")
    bed.run(f"sleep {chance.uniform(0.5, 1.5):.3f}; touch /run/stop")
    # Whoever is wedged now and has been found out reaches nothing.
    for address_, state in not_active(bed).items():
        overwritten, _ = bed.scribble(address_)
        check(overwritten == 0, f"{address_} is {state} and has overwritten {overwritten} pages")
    wait_for(f"the end of {chosen}", lambda: ended(bed), 120, interval=2)
    wait_for("the devices to be there", lambda: all(bed.run(f"test -e {pci(address(bed, device), 'iommu_group')}",
                                                            check=False).returncode == 0 for device in DISKS))
    mend(bed)


def test_rounds(bed):
    """After each round every device can be brought back, and none that was fenced has overwritten a page"""
    for seed in range(SEED, SEED + ROUNDS):
        try:
            one_round(bed, seed)
        except Failure as failure:
            raise Failure(f"TESTBED_SEED={seed} TESTBED_ROUNDS=1: {failure}") from None
