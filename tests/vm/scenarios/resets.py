# SPDX-License-Identifier: GPL-2.0-or-later
"""Each way to reset a device that the test bed has: what a reset cures, and what a failed one leaves.

Of the kernel's methods these are flr, pm and bus, the last with a hot-plug slot and without. reset-methods.py has
af_flr, cxl_bus and device_specific; acpi takes a machine with ACPI, which kernel/check-deb boots.
"""

from testbed import resets
from testbed.guest import VERIFY, WITHOUT_DAEMON, address, disk, fenced, not_active, pci, unfenced, write
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme,igb,nvme,fixed/nvme", "append": WITHOUT_DAEMON}
METHODS = {"nvme0": "flr", "igb0": "pm", "nvme1": "bus", "nvme2": "bus"}
# Without the one for which the kernel tries both the slot and the bus, a minute each.
FAILING = [device for device in METHODS if device != "nvme1"]
DRIVERS = {device: device[:-1] for device in METHODS}


def works(bed, device):
    if device.startswith("nvme"):
        wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 1 1")
    else:
        resets.card_works(bed, device)


def test_methods(bed):
    """The methods are there, and each is the only one that its device will be reset with"""
    for device, method in METHODS.items():
        check(write(bed, method, pci(address(bed, device), "reset_method")), f"{device} has no {method}")
        check(bed.text(f"cat {pci(address(bed, device), 'reset_method')}") == method, f"{device} has others too")


def test_cured_in_place(bed):
    """A wedged device that nobody has flushed is cured by a reset in place, and no fence is announced"""
    for device in METHODS.keys() - {"igb0"}:  # whose driver does not know of resets in place
        start = mark(bed)
        bed.wedge(device, "until-reset")
        check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
        works(bed, device)
        # What its driver unmaps when it prepares is a flush before the reset.
        check(sorted(fenced(bed, start)) == sorted(unfenced(bed, start)), "a fence is left")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")


def test_cured_within_its_own_reset(bed):
    """A first timeout that shows up inside of the reset is that reset's to cure: no fence, and a driver can be bound"""
    for device, name in DRIVERS.items():
        resets.cure_within(bed, device, name)
        works(bed, device)


def test_failed_resets(bed):
    """A reset from which a device does not come back makes a fence, whatever the method"""
    start = mark(bed)
    resets.fail(bed, {device: DRIVERS[device] for device in FAILING}, start)
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 3 * len(FAILING), str(dmesg(bed, "smmuv3|fence", start)))


def test_success_after_failure(bed):
    """The same method, when it succeeds, sanitizes; the device is found anew, since it has lost its configuration"""
    for device in FAILING:
        bed.release(device)
        resets.sanitize(bed, device)
    check(write(bed, 1, "/sys/bus/pci/rescan"), "no rescan")
    for device in FAILING:
        works(bed, device)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
