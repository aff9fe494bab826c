# SPDX-License-Identifier: GPL-2.0-or-later
"""Each way to reset a device that the test bed has: what a reset cures, and what a failed one leaves.

Of the kernel's methods these are flr, pm and bus, the last with a hot-plug slot and without. reset-methods.py has
af_flr, cxl_bus and device_specific; acpi takes a machine with ACPI, which kernel/check-deb boots.
"""

import contextlib

from testbed.guest import (VERIFY, WITHOUT_DAEMON, bind, disk, fenced, not_active, pci, unbind, unfenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme,igb,nvme,fixed/nvme", "append": WITHOUT_DAEMON}
METHODS = {"nvme0": "flr", "igb0": "pm", "nvme1": "bus", "nvme2": "bus"}
# Without the one for which the kernel tries both the slot and the bus, a minute each.
FAILING = [device for device in METHODS if device != "nvme1"]
DRIVERS = {device: device[:-1] for device in METHODS}


def address(bed, device):
    return bed.device(device)["address"]


def works(bed, device):
    wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
    if device.startswith("nvme"):
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 1 1")
    else:
        wait_for("the network", lambda: bed.run(f"ping -c 1 -W 1 {bed.device(device)['net'][:-4]}2", check=False
                                                ).returncode == 0)


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
        check(unbind(bed, address(bed, device)), "unbinding failed")
        start = mark(bed)
        before = bed.stream(device)["timeouts"]
        bed.wedge(device, "until-reset")
        check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
        check(bed.stream(device)["timeouts"] > before, "nothing was sent to it, so this test shows nothing")
        check(not dmesg(bed, "fence", start) and not_active(bed) == {}, f"a fence: {dmesg(bed, 'fence', start)}")
        check(bind(bed, address(bed, device), name), f"{device} cannot be bound")
        works(bed, device)


def test_failed_resets(bed):
    """A reset from which a device does not come back makes a fence, whatever the method"""
    start = mark(bed)
    for device in FAILING:
        check(unbind(bed, address(bed, device)), "unbinding failed")
        bed.wedge(device, "reset-fails")
    with contextlib.ExitStack() as stack:  # a minute each
        resets = [stack.enter_context(bed.start(f"echo 1 > {pci(address(bed, device), 'reset')}")) for device in FAILING]
        said = [each.communicate(timeout=300)[0] for each in resets]
    check(all(each.returncode for each in resets), f"a reset is said to have succeeded: {said}")
    for device in FAILING:
        check(not bind(bed, address(bed, device), DRIVERS[device]), f"{device} was bound")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
    check(not_active(bed) == {address(bed, device): "fenced" for device in FAILING}, f"{not_active(bed)}")
    check(sorted(fenced(bed, start)) == sorted(address(bed, device) for device in FAILING), f"{fenced(bed, start)}")
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 3 * len(FAILING), str(dmesg(bed, "smmuv3|fence", start)))


def test_success_after_failure(bed):
    """The same method, when it succeeds, sanitizes; the device is found anew, since it has lost its configuration"""
    for device in FAILING:
        start = mark(bed)
        bed.release(device)
        check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
        check(not_active(bed)[address(bed, device)] == "sanitized", f"{not_active(bed)}")
        check(dmesg(bed, "reset while fenced", start) and not unfenced(bed, start), "the reset has lifted the fence")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
        check(write(bed, 1, pci(address(bed, device), "remove")), "removing failed")
        check(address(bed, device) not in not_active(bed), "its fence is still there")
    check(write(bed, 1, "/sys/bus/pci/rescan"), "no rescan")
    for device in FAILING:
        works(bed, device)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
