# SPDX-License-Identifier: GPL-2.0-or-later
"""The reset methods that need a device, or a port, of a certain kind: what each cures, and what a failed one leaves.

resets.py has the others, with real drivers. All devices here are test functions with the module ats-test.
"""

from testbed import proof, resets
from testbed.guest import (WITHOUT_DAEMON, address, bind, driver, fenced, not_active, pci, port_of, unbind, unfenced,
                           wait_fenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "ats-test-af,ats-test-quirk,cxl/ats-test", "append": WITHOUT_DAEMON}
AF, QUIRK, CXL = "ats-test-af0", "ats-test-quirk0", "ats-test0"
METHODS = {AF: "af_flr", QUIRK: "device_specific", CXL: "cxl_bus"}
# CXL Extensions DVSEC for Ports, Control: bit 0 is Unmask SBR
CXL_CONTROL = "18c.w"


def resets_seen(bed, device):
    with bed.qmp() as qmp:
        return qmp.command("qom-get", path=bed.device(device)["qom"], property="ats-resets")


def ready(bed):
    """All devices have the driver, also those whose IDs it does not know, and their method. Returns a mark."""
    for device, method in METHODS.items():
        proof.adopt(bed, device)
        check(write(bed, method, pci(address(bed, device), "reset_method")), f"{device} has no {method}")
    return mark(bed)


def works(bed, device):
    """It answers invalidations, and does DMA."""
    wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
    proof.works(bed, device)


def provoke(bed, device, start):
    """Wedges a device and has it found out by a flush."""
    proof.attempt(bed, "strict", [bed.device(device)], [bed.device(device)])
    wait_fenced(bed, device, start)


def reset(bed, device):
    return write(bed, 1, pci(address(bed, device), "reset"), timeout=300)


def test_methods(bed):
    """The methods are there, and each is the only one that its device will be reset with"""
    # A CXL port that masks Secondary Bus Reset has no method `bus` to offer.
    offered = {AF: "af_flr bus", QUIRK: "device_specific flr bus", CXL: "flr cxl_bus"}
    found = {device: bed.text(f"cat {pci(address(bed, device), 'reset_method')}") for device in METHODS}
    check(found == offered, str(found))
    ready(bed)
    found = {device: bed.text(f"cat {pci(address(bed, device), 'reset_method')}") for device in METHODS}
    check(found == METHODS, str(found))


def test_cured_in_place(bed):
    """A wedged device that nobody has flushed is cured by a reset in place, and no fence is announced"""
    for device in METHODS:
        start = ready(bed)
        bed.wedge(device, "until-reset")
        check(reset(bed, device), f"the reset of {device} failed")
        check(bed.hardware(device) == "off", f"{device} was not reset")
        check(sorted(fenced(bed, start)) == sorted(unfenced(bed, start)), "a fence is left")
        check(not_active(bed) == {}, f"not active: {not_active(bed)}")
        works(bed, device)


def test_cured_after_fence(bed):
    """A device that is fenced is not bound before a reset, and works after it"""
    for device in METHODS:
        start = ready(bed)
        provoke(bed, device, start)
        check(unbind(bed, address(bed, device)), "unbinding failed")
        check(not bind(bed, address(bed, device), "ats-test"), f"{device} was bound")
        check(bed.hardware(device) == "until-reset", f"{device} was reset by something else")
        check(reset(bed, device), f"the reset of {device} failed")
        check(bind(bed, address(bed, device), "ats-test"), f"{device} cannot be bound")
        works(bed, device)
        check(unfenced(bed, start) == [address(bed, device)] and not_active(bed) == {}, "the fence has not ended")


def test_module_gone(bed):
    """A module that is removed, a reset by hand, and the module again: wedged devices work, and no daemon is there"""
    start = ready(bed)
    for device in METHODS:
        provoke(bed, device, start)
    check(bed.run("systemctl is-active smmu-rasd", check=False).stdout.strip() != "active", "there is a daemon")
    bed.text("rmmod ats_test")
    check(set(not_active(bed).values()) == {"fenced"} and len(not_active(bed)) == len(METHODS), str(not_active(bed)))
    for device in METHODS:
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
        check(reset(bed, device), f"the reset of {device} failed")
    bed.text("insmod /run/ats-test.ko")
    for device in METHODS:
        check(driver(bed, address(bed, device)) == "ats-test", f"{device} was not bound")
        works(bed, device)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")


def test_method_that_does_not_apply(bed):
    """A method that turns out not to apply changes nothing: a CXL port that masks the reset of its bus"""
    start = ready(bed)
    port = port_of(bed, address(bed, CXL))
    bed.text(f"setpci -s {port} {CXL_CONTROL}=1:1")
    check(write(bed, "bus", pci(address(bed, CXL), "reset_method")), "the method cannot be chosen")
    bed.text(f"setpci -s {port} {CXL_CONTROL}=0:1")
    provoke(bed, CXL, start)
    check(unbind(bed, address(bed, CXL)), "unbinding failed")
    before = resets_seen(bed, CXL)
    check(not reset(bed, CXL) and resets_seen(bed, CXL) == before, "the device was reset")
    check(not dmesg(bed, "reset while fenced", start), "the IOMMU believes in a reset")
    check(not_active(bed) == {address(bed, CXL): "fenced"}, f"{not_active(bed)}")
    check(not bind(bed, address(bed, CXL), "ats-test") and bed.stream(CXL)["eats"] == 0, "the fence has ended")
    check(write(bed, METHODS[CXL], pci(address(bed, CXL), "reset_method")), "the method cannot be chosen")
    check(reset(bed, CXL) and resets_seen(bed, CXL) > before, "the device was not reset")
    check(bed.text(f"setpci -s {port} {CXL_CONTROL}") == "0000", "the port does not mask resets as before")
    check(bind(bed, address(bed, CXL), "ats-test"), "binding failed")
    works(bed, CXL)


def test_failed_resets(bed):
    """A reset from which a device does not come back makes a fence, also where the method says that all is well"""
    start = ready(bed)
    # The quirk does not look at what became of its FLR.
    resets.fail(bed, {device: "ats-test" for device in METHODS}, start, succeeding={QUIRK})
    # And not because it was attached again, and did not answer then.
    reasons = dmesg(bed, ": fenced: a reset failed", start)
    check(len(reasons) == len(METHODS), f"not all are known to have failed: {dmesg(bed, ': fenced: ', start)}")
    check(not dmesg(bed, "unfenced|reset while fenced", start), "a failed reset counts as one")


def test_success_after_failure(bed):
    """The same method, when it succeeds, sanitizes; the device is found anew, since it has lost its configuration"""
    if len(not_active(bed)) != len(METHODS):
        test_failed_resets(bed)
    for device in METHODS:
        bed.release(device)
        resets.sanitize(bed, device)
    check(write(bed, 1, "/sys/bus/pci/rescan"), "no rescan")
    ready(bed)
    for device in METHODS:
        works(bed, device)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
