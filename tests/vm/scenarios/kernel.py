# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel on its own, with no smmu-rasd: fences hold, and an administrator with a shell gets a device back."""

from testbed.guest import VERIFY, pci, port_of, write
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme,virtio-net"}
DISK, CARD = "0000:01:00.0", "0000:02:00.0"


def wedge_card(bed):
    """Wedges the network card and has it found out. Returns a mark in the kernel's log before that."""
    start = mark(bed)
    bed.wedge("virtio-net0", "until-reset")
    bed.run("ping -c 2 -i 0.2 -W 1 10.0.3.2", check=False)
    wait_for("the fence", lambda: dmesg(bed, rf"{CARD}: fenced: it does not", start))
    return start


def wait_for_network(bed):
    wait_for("the network", lambda: bed.run("ping -c 1 -W 1 10.0.3.2", check=False).returncode == 0)


def test_fence_protects_memory(bed):
    """A fenced disk that writes through its stale translations reaches no page, and the readers wait unharmed"""
    bed.text("systemctl stop smmu-rasd")
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    start = mark(bed)
    with bed.start(f"{VERIFY} read /dev/nvme0n1 2 100") as readers:
        bed.wedge("nvme0", "until-reset")
        wait_for("the fence", lambda: dmesg(bed, rf"{DISK}: fenced: it does not", start))
        check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
        check(bed.stale("nvme0") > 0, "there is no stale translation, so this test shows nothing")
        overwritten, blocked = bed.scribble("nvme0")
        # The driver was told, and has switched bus mastering off: then no write gets as far as the SMMU.
        master = "BusMaster+" in bed.text(f"lspci -vv -s {DISK}")
        check(overwritten == 0 and (blocked > 0 or not master),
              f"{overwritten} pages overwritten, {blocked} writes blocked")
        timeouts = bed.stream("nvme0")["timeouts"]
        bed.text("dd if=/dev/urandom of=/tmp/noise bs=64k count=16 status=none; sync")
        check(bed.stream("nvme0")["timeouts"] == timeouts, "it still gets ATC invalidations")
        check(write(bed, 1, pci(DISK, "reset")), "the reset in place failed")
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=30)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set after the reset")
    lines = dmesg(bed, "smmuv3|fence", start)
    check(len(lines) <= 4, f"a fence is to be a handful of lines, not {len(lines)}: {lines}")


def test_bind_is_refused(bed):
    """No driver can be bound to a fenced card, and the kernel says why"""
    start = wedge_card(bed)
    check(write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/unbind"), "unbinding failed")
    check(not write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/bind"), "it was bound")
    check(dmesg(bed, rf"{CARD}: fenced: no driver can be bound", start), "no word about why")
    check(bed.stream("virtio-net0")["eats"] == 0, "STE.EATS is set")


def test_reset_and_bind(bed):
    """A reset and a bind get it back, with no other help"""
    check(write(bed, 1, pci(CARD, "reset")), "the reset failed")
    check(bed.stream("virtio-net0")["eats"] == 0, "the reset alone has lifted the fence")
    check(write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/bind"), "binding failed")
    wait_for_network(bed)
    check(bed.stream("virtio-net0")["eats"] == 1, "STE.EATS is not set")


def test_bus_reset(bed):
    """A reset of the whole bus below the port counts as well"""
    start = wedge_card(bed)
    port = port_of(bed, CARD)
    check(write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/unbind"), "unbinding failed")
    check(write(bed, 1, pci(port, "reset_subordinate")), "the reset failed")
    check(dmesg(bed, rf"{CARD}: reset while fenced", start), "the IOMMU does not know of the reset")
    check(write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/bind"), "binding failed")
    wait_for_network(bed)


def test_failed_reset_stays_fenced(bed):
    """A reset from which the card does not come back lifts nothing"""
    wedge_card(bed)
    check(write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/unbind"), "unbinding failed")
    bed.wedge("virtio-net0", "reset-fails")
    start = mark(bed)
    check(not bed.run(f"echo flr > {pci(CARD, 'reset_method')}; echo 1 > {pci(CARD, 'reset')}", check=False,
                      timeout=180).returncode == 0, "the reset is said to have succeeded")
    check(not dmesg(bed, rf"{CARD}: (unfenced|reset while fenced)", start), "the kernel believes in the reset")
    check(not write(bed, CARD, "/sys/bus/pci/drivers/virtio-pci/bind"), "it was bound")
    check(bed.stream("virtio-net0")["eats"] == 0, "STE.EATS is set")


def test_kernel_is_calm(bed):
    """Through all of that the kernel has logged no warning"""
    check(not dmesg(bed, "WARNING|BUG:|Call trace"), str(dmesg(bed, "WARNING|BUG:|Call trace")))
