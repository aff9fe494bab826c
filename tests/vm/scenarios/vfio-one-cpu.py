# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of things: when an unmap or a guest's invalidation returns, the device is fenced already, not soon.

The user of VFIO is a real-time thread on the only CPU. Nothing that the kernel leaves to a worker is done before this
thread waits for something, and it does not: it has the device write to the page that was just taken from it.
"""

from testbed.scenario import check, mark, other
from testbed.guest import wait_fenced

vfio, nested = other("vfio"), other("nested")
BED = {"kernel": "patched", "devices": "nvme:3", "smp": 1}


def unmap_while_wedged(bed, way):
    start = mark(bed)
    with vfio.user(bed, realtime=True) as drive:
        vfio.ready(drive, "space", way, "nvme0")
        check(drive.identify("nvme0", vfio.VICTIM), "no completion")
        bed.wedge("nvme0", "until-reset")
        changed = drive.unmap_and_watch("space", vfio.VICTIM, "nvme0")
        check(changed == 0, f"the device has written {changed} bytes after the unmap")
        wait_fenced(bed, "nvme0", start)


def test_container(bed):
    """VFIO_IOMMU_UNMAP_DMA"""
    unmap_while_wedged(bed, "group")


def test_iommufd(bed):
    """IOMMU_IOAS_UNMAP"""
    unmap_while_wedged(bed, "cdev")


def test_guest_invalidates(bed):
    """IOMMU_HWPT_INVALIDATE"""
    start = mark(bed)
    with nested.guest(bed, realtime=True) as this:
        bed.wedge("nvme1", "until-reset")
        this.unmap(nested.VICTIM)
        command = nested.atc_inv("nvme1", nested.VICTIM)
        answers = this.drive.ask_all(("invalidate", "smmu", *nested.tlbi(nested.VICTIM), *command),
                                     ("fill", nested.VICTIM, 1, 0x5a), this.drive.watching(nested.VICTIM, "nvme1"))
        check(answers[0] == {"error": "ETIMEDOUT", "handled": 1}, str(answers[0]))
        check(answers[2]["bytes"] == 0, f"the device has written {answers[2]['bytes']} bytes after the invalidation")
        wait_fenced(bed, "nvme1", start)
