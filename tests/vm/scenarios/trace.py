# SPDX-License-Identifier: GPL-2.0-or-later
"""The tracepoint iommu:iommu_fence: perf, trace-cmd and everything else that reads tracefs can record fences."""

import re

from testbed.scenario import check, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-net"}
TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/iommu/iommu_fence"
DEV = "0000:01:00.0"


def test_format(bed):
    """The tracepoint's fields are device, id, state and reason, as perf and trace-cmd learn them"""
    bed.run(f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}", check=False)
    text = bed.text(f"cat {EVENT}/format")
    fields = re.findall(r"field:(.*?);", text)
    for field in ("__data_loc char[] device", "u64 id", "unsigned int state", "unsigned int reason"):
        check(field in fields, f"{field} is not among {fields}")


def test_a_fence_and_its_end_are_recorded(bed):
    """Each transition of a recovery is one line: fenced, sanitized, active, all of the same fence"""
    mark(bed)
    bed.text(f"echo > {TRACING}/trace; echo 1 > {EVENT}/enable; echo 1 > {TRACING}/tracing_on")
    bed.wedge("virtio-net0", "until-reset")
    bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)
    pattern = rf"iommu_fence: IOMMU: device={DEV} fence=(\d+) state=(\S+) reason=(\S+)"

    def lines():
        return re.findall(pattern, bed.text(f"cat {TRACING}/trace"))

    wait_for("the end of the fence in the trace", lambda: any(state == "active" for _, state, _ in lines()), 90)
    check([state for _, state, _ in lines()] == ["fenced", "sanitized", "active"], f"recorded: {lines()}")
    check(len({number for number, _, _ in lines()}) == 1, f"several fences: {lines()}")
    check(lines()[0][2] == "atc-timeout", f"the reason: {lines()}")


def test_a_filter_finds_one_device(bed):
    """A filter of the tracepoint picks one device, and the others are not recorded"""
    bed.text(f"echo > {TRACING}/trace; echo 'device == \"0000:ff:00.0\"' > {EVENT}/filter")
    bed.text(f"smmu-rasctl fence --yes --no-wait {DEV}")
    wait_for("the drill to end", lambda: bed.text(f"cat /sys/bus/pci/devices/{DEV}/uevent") and
             bed.run("smmu-rasctl status", check=False).returncode == 0, 60)
    check("iommu_fence" not in bed.text(f"grep -v ^# {TRACING}/trace || :"), "another device was recorded")
    bed.text(f"echo 0 > {EVENT}/filter; echo 0 > {EVENT}/enable")
