# SPDX-License-Identifier: GPL-2.0-or-later
"""VFIO users on the stock kernel, for contrast: an unmap and a guest's invalidation succeed, and memory is overwritten."""

from testbed.scenario import check, other, wait_for

vfio, nested = other("vfio"), other("nested")
BED = {"kernel": "stock", "devices": vfio.BED["devices"]}


def check_damaged(bed, drive, device, page):
    """The device goes on writing to a page that is not its own any more."""
    check(bed.stream(device)["eats"] == 1, "something has cleared STE.EATS")
    check(bed.stale(device) > 0, "there is no stale translation, so this test shows nothing")
    wait_for("the damage that the device does by itself", lambda: drive.damage(page) > 0)
    overwritten, blocked = bed.scribble(device)
    check(overwritten > 0 and blocked == 0, f"{overwritten} pages overwritten, {blocked} writes blocked")
    check(drive.damage(page) == 4096, "the page was not overwritten")


def unmap_while_wedged(bed, way):
    with vfio.user(bed) as drive:
        vfio.ready(drive, "space", way, "nvme0")
        check(drive.identify("nvme0", vfio.VICTIM), "no completion")
        drive.busy("nvme0", vfio.VICTIM)
        bed.wedge("nvme0", "until-reset")
        drive.unmap("space", vfio.VICTIM)  # which succeeds
        check_damaged(bed, drive, "nvme0", vfio.VICTIM)


def test_container(bed):
    """Container: the unmap of a page that a wedged device still writes to is a success"""
    unmap_while_wedged(bed, "group")


def test_iommufd(bed):
    """iommufd: the same"""
    unmap_while_wedged(bed, "cdev")


def test_guest_invalidates(bed):
    """Whatever the guest is told of its ATC invalidation, its page is overwritten"""
    with nested.guest(bed) as this:
        this.drive.busy("nvme1", nested.VICTIM)
        bed.wedge("nvme1", "until-reset")
        this.unmap(nested.VICTIM)
        # Linux may see the error of the queue in time or run into its own timeout. It fences nothing in either case.
        this.invalidate(nested.tlbi(nested.VICTIM), nested.atc_inv("nvme1", nested.VICTIM))
        this.drive.ask("fill", nested.VICTIM, 1, 0x5a)
        check_damaged(bed, this.drive, "nvme1", nested.VICTIM)
