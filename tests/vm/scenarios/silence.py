# SPDX-License-Identifier: GPL-2.0-or-later
"""An SMMU that takes longer to give up on a device than Linux waits for it: no verdict is no positive answer."""

from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme", "atc_timeout": 3000}
VERIFY = "/usr/local/lib/testbed/verify-io"


def test_fenced_without_a_verdict(bed):
    """The disk cannot reach a page although nobody knows whether it is wedged"""
    bed.text("systemctl stop smmu-rasd")
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    start = mark(bed)
    with bed.start(f"{VERIFY} read /dev/nvme0n1 2 100") as readers:
        bed.wedge("nvme0", "until-reset")
        wait_for("the flush to give up", lambda: "CMD_SYNC timeout" in bed.console()
                 or dmesg(bed, "CMD_SYNC timeout", start), 60)
        overwritten, _ = bed.scribble("nvme0")
        wait_for("the fence", lambda: dmesg(bed, "0000:01:00.0: fenced: the IOMMU did not say", start), 60)
        check(bed.stale("nvme0") > 0, "there is no stale translation, so this test shows nothing")
        later, blocked = bed.scribble("nvme0")
        check(overwritten == 0 and later == 0, f"{overwritten} and then {later} pages overwritten")
        bed.text("echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset")
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=30)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set after the reset")


def test_slow_is_not_wedged(bed):
    """A disk that answers late, but in time, is left alone"""
    start = mark(bed)
    bed.wedge("nvme0", "slow:200")
    bed.text(f"{VERIFY} read /dev/nvme0n1 1 3")
    bed.release("nvme0")
    check(not dmesg(bed, "fenced", start), "it was fenced")
