# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock kernel, for contrast: what the system exists to prevent."""

import re

from testbed.scenario import check, dmesg, wait_for

BED = {"kernel": "stock", "devices": "nvme,virtio-net"}
VERIFY = "/usr/local/lib/testbed/verify-io"
ERRORS = r"CMDQ error.*ATC invalidate timeout"


def test_healthy(bed):
    """Without a fault the disk and the network card work, and the kernel says nothing"""
    bed.text(f"{VERIFY} fill /dev/nvme0n1 && {VERIFY} read /dev/nvme0n1 2 2")
    bed.text("ping -c 2 -i 0.2 -W 5 10.0.3.2")
    check(not dmesg(bed, "CMDQ|CMD_SYNC"), "command queue errors without a fault")


def test_ats_is_on(bed):
    """ATS is enabled on every device under test"""
    for device in bed.state["devices"]:
        check("Enable+" in bed.text(f"lspci -vvs {device['address']} | grep -A2 'Address Translation'"),
              f"ATS is off on {device['id']}")


def test_wedge_goes_unhandled(bed):
    """A wedged disk gives command queue errors without end, and nothing is fenced"""
    bed.wedge("nvme0", "until-reset")
    with bed.start(f"exec {VERIFY} read /dev/nvme0n1 2 60") as readers:
        wait_for("a stream of command queue errors", lambda: len(re.findall(ERRORS, bed.console())) >= 3, 60)
        readers.kill()  # the guest hardly answers now
    check("fenced" not in bed.console(), "the stock kernel claims to fence")
    check(bed.stream("nvme0")["eats"] == 1, "the SMMU does not let its translated requests through any more")


def test_memory_is_overwritten(bed):
    """Told to write through its stale translations, the disk overwrites pages that are not its own any more"""
    check(bed.stale("nvme0") > 0, "there is no stale translation, so this test shows nothing")
    overwritten, _ = bed.scribble("nvme0")
    check(overwritten > 0, "no page was overwritten")
