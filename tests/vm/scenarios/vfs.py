# SPDX-License-Identifier: GPL-2.0-or-later
"""SR-IOV: fences of virtual functions and of the physical one, and the end of the VFs while they are fenced."""

from testbed.guest import (WITHOUT_DAEMON, address, bind, driver, fenced, not_active, pci, unbind, unfenced,
                           wait_fenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "igb", "append": WITHOUT_DAEMON}
PF, VF, OTHER = "igb0", "igb0-vf0", "igb0-vf1"
MANY = 2


def sriov(bed, count):
    check(write(bed, count, pci(address(bed, PF), "sriov_numvfs")), f"no {count} virtual functions")


def all_vfs(bed):
    """As many virtual functions as the tests want, all with a driver and ATS."""
    sriov(bed, MANY)
    for device in (VF, OTHER):
        wait_for(f"the driver of {device}", lambda: driver(bed, address(bed, device)) == "igbvf")
        wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)


def wedge(bed, device):
    """Wedges a network function and has it found out: when its interface goes down its driver unmaps its buffers."""
    start = mark(bed)
    # udev gives an interface its name some time after the driver has made it.
    name = bed.text(f"udevadm settle --timeout=120 && ls {pci(address(bed, device), 'net')}", timeout=130)
    bed.text(f"ip link set {name} up")
    bed.wedge(device, "until-reset")
    bed.text(f"ip link set {name} down")
    wait_fenced(bed, device, start)
    return start


def test_virtual_function(bed):
    """A wedged VF is fenced alone, and unbind, reset and bind bring it back"""
    all_vfs(bed)
    start = wedge(bed, VF)
    check(not_active(bed) == {address(bed, VF): "fenced"}, f"not active: {not_active(bed)}")
    check(bed.stream(PF)["eats"] == 1 and bed.stream(OTHER)["eats"] == 1, "STE.EATS of another function is clear")
    check(unbind(bed, address(bed, VF)), "unbinding failed")
    check(not bind(bed, address(bed, VF), "igbvf"), "it was bound")
    check(write(bed, 1, pci(address(bed, VF), "reset")), "the reset failed")
    check(bind(bed, address(bed, VF), "igbvf"), "it cannot be bound")
    check(bed.stream(VF)["eats"] == 1 and not_active(bed) == {}, "it is not active")
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 5, str(dmesg(bed, "smmuv3|fence", start)))


def test_physical_function(bed):
    """A fence of the PF leaves its VFs alone; a reset of the PF in place is one"""
    start = wedge(bed, PF)
    check(not_active(bed) == {address(bed, PF): "fenced"}, f"not active: {not_active(bed)}")
    check(bed.stream(VF)["eats"] == 1 and bed.stream(OTHER)["eats"] == 1, "STE.EATS of a VF is clear")
    check(write(bed, 1, pci(address(bed, PF), "reset")), "the reset failed")
    check(unfenced(bed, start) == [address(bed, PF)] and not_active(bed) == {}, f"not active: {not_active(bed)}")


def test_disabled_while_fenced(bed):
    """When SR-IOV is disabled the fence of a VF ends with the VF, and a new one is healthy"""
    sriov(bed, 0)
    all_vfs(bed)
    wedge(bed, OTHER)
    sriov(bed, 0)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
    all_vfs(bed)
    check(bed.hardware(OTHER) == "off", "the VF is still wedged, which only a reset ends")


def test_driver_of_the_pf_leaves(bed):
    """When the PF's driver goes while PF and VF are fenced, the VF's fence ends and that of the PF stays"""
    start = wedge(bed, VF)
    wedge(bed, PF)
    check(unbind(bed, address(bed, PF)), "unbinding failed")
    check(sorted(fenced(bed, start)) == sorted([address(bed, PF), address(bed, VF)]), f"fenced: {fenced(bed, start)}")
    check(not_active(bed) == {address(bed, PF): "fenced"}, f"not active: {not_active(bed)}")
    check(write(bed, 1, pci(address(bed, PF), "reset")), "the reset failed")
    check(bind(bed, address(bed, PF), "igb"), "it cannot be bound")
    check(bed.stream(PF)["eats"] == 1 and not_active(bed) == {}, f"not active: {not_active(bed)}")
