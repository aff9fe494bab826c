# SPDX-License-Identifier: GPL-2.0-or-later
"""One CPU: the flush runs with interrupts off on the only CPU that could take the SMMU's error interrupt."""

from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme", "smp": 1}
VERIFY = "/usr/local/lib/testbed/verify-io"


def test_fence_without_interrupt(bed):
    """The waiter itself sees the failure: a fence, and no CMD_SYNC timeout of a second"""
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    start = mark(bed)
    with bed.start(f"{VERIFY} read /dev/nvme0n1 1 30") as readers:
        bed.wedge("nvme0", "until-reset")
        wait_for("the kernel to fence the disk", lambda: dmesg(bed, r"01:00\.0: fenced", start))
        wait_for("the kernel to unfence it", lambda: dmesg(bed, r"01:00\.0: unfenced", start))
        bed.run("pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=30)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check(not dmesg(bed, "CMD_SYNC timeout", start), "the software timeout was hit")
