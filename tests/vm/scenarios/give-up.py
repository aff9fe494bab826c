# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that cannot be recovered: they stay fenced, and the end of the device ends the fence."""

import json

from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-net:2"}


def listed(bed):
    return {each["device"]: each for each in json.loads(bed.text("smmu-rasctl list --json"))["devices"]}


def ping(bed, net):
    return bed.run(f"ping -c 2 -i 0.2 -W 1 10.0.{net}.2", check=False).returncode == 0


def test_wedged_for_good(bed):
    """A card that no reset helps is isolated after the policy's attempts, and stays fenced"""
    start = mark(bed)
    bed.wedge("virtio-net0", "forever")
    ping(bed, 3)
    wait_for("smmu-rasd to give up", lambda: "isolated" in bed.text("smmu-rasctl list"), 90)
    check("0000:01:00.0" in listed(bed), "the card is not fenced any more")
    check(bed.stream("virtio-net0").get("eats") == 0, "the SMMU lets its translated requests through")
    check(dmesg(bed, r"01:00\.0: fenced", start), "the kernel never fenced it")


def test_others_go_on(bed):
    """Meanwhile another card of the same kind works"""
    check(ping(bed, 4), "no answer over the other card")


def test_unplug_ends_the_fence(bed):
    """Unplugging the fenced card ends the fence"""
    bed.unplug("virtio-net0")
    wait_for("the fence to end", lambda: "0000:01:00.0" not in listed(bed), 20)
    check(not dmesg(bed, "WARNING|BUG:|Call trace"), str(dmesg(bed, "WARNING|BUG:|Call trace")))
