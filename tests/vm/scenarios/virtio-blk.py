# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtio disk with I/O in flight, whose driver waits for ever on a kernel without our series."""

from testbed.scenario import check, dmesg, journal, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-blk"}
VERIFY = "/usr/local/lib/testbed/verify-io"
DISK, NODE = "0000:01:00.0", "/dev/vdb"
RECOVERED = "7b78c766589a45d4973dfc23f43523d0"  # daemon/messages.h


def test_in_place(bed):
    """Wedged under I/O it is reset in place, and no reader sees an error"""
    start = mark(bed)
    bed.text(f"{VERIFY} fill {NODE}")
    with bed.start(f"{VERIFY} read {NODE} 4 100") as readers:
        bed.wedge("virtio-blk0", "until-reset")
        wait_for("the recovery", lambda: [e for e in journal(bed, DISK, start) if e.get("MESSAGE_ID") == RECOVERED], 60)
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=30)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check("unbind" not in [e.get("SMMU_RAS_STEP") for e in journal(bed, DISK, start)], "it was unbound")


def test_unbind_with_io_in_flight(bed):
    """Unbinding the driver while it is fenced under I/O ends, its I/O fails, and a reset and a bind get it back"""
    bed.text("systemctl stop smmu-rasd")
    start = mark(bed)
    with bed.start(f"{VERIFY} read {NODE} 2 100") as readers:
        bed.wedge("virtio-blk0", "until-reset")
        wait_for("the fence", lambda: dmesg(bed, f"{DISK}: fenced", start))
        bed.text(f"echo {DISK} > /sys/bus/pci/drivers/virtio-pci/unbind", timeout=20)
        bed.run("pkill -TERM verify-io", check=False)
        readers.communicate(timeout=30)
    check(readers.returncode != 0, "the readers saw no error, so there was nothing in flight")
    bed.text(f"echo 1 > /sys/bus/pci/devices/{DISK}/reset; echo {DISK} > /sys/bus/pci/drivers/virtio-pci/bind")
    wait_for("the disk", lambda: bed.run(f"dd if={NODE} of=/dev/null bs=4k count=8 iflag=direct",
                                         check=False).returncode == 0)
    check(not dmesg(bed, "WARNING|BUG:|Call trace"), str(dmesg(bed, "WARNING|BUG:|Call trace")))
