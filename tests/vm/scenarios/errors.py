# SPDX-License-Identifier: GPL-2.0-or-later
"""PCIe errors: what recovery from them does to a fence, with AER alone and with Downstream Port Containment."""

import contextlib

from testbed.guest import (VERIFY, WITHOUT_DAEMON, address, disk, fenced, not_active, pci, port_of, provoke, readers,
                           unfenced, wait_fenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme,dpc/nvme", "append": WITHOUT_DAEMON}
AER, DPC = "nvme0", "nvme1"  # the port of the latter has DPC
FATAL, NONFATAL = "DLP", "COMP_TIME"
RECOVERED = r"device recovery successful"


def works(bed, device):
    wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
    bed.text(f"{VERIFY} read {disk(bed, device)} 2 1")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")


def fenced_then_error(bed, device):
    start = mark(bed)
    with readers(bed, device, threads=2):
        bed.wedge(device, "until-reset")
        wait_fenced(bed, device, start)
        bed.error(device, FATAL)
        wait_for("the recovery", lambda: dmesg(bed, RECOVERED, start))
        check(unfenced(bed, start) == [address(bed, device)], "the fence has not ended")
    works(bed, device)
    check(fenced(bed, start) == [address(bed, device)], f"fenced: {fenced(bed, start)}")
    lines = dmesg(bed, "smmuv3|fence", start)
    check(len(lines) <= 4, f"a fence is to be a handful of lines: {lines}")


def test_fatal_error_ends_a_fence(bed):
    """Recovery from a fatal error resets a fenced disk, its driver gets it back, and no reader sees an error"""
    fenced_then_error(bed, AER)


def test_containment_ends_a_fence(bed):
    """So does recovery where the port has contained the error by itself"""
    check("DPC" in bed.text("dmesg | grep -i 'dpc: enabled' || true").upper(), "the port has no DPC")
    fenced_then_error(bed, DPC)


def test_cured_before_it_is_a_fence(bed):
    """A wedged disk that nobody has flushed yet is cured by the recovery, and no fence is announced"""
    for device in (AER, DPC):
        bed.text(f"{VERIFY} fill {disk(bed, device)}; udevadm settle")
        start = mark(bed)
        bed.wedge(device, "until-reset")
        bed.error(device, FATAL)
        wait_for(f"the recovery of {device}", lambda: dmesg(bed, RECOVERED, start))
        works(bed, device)
        check(bed.hardware(device) == "off", f"{device} is still wedged")
        # Its driver may unmap something when it hears of the error, and that is a flush before the reset.
        check(len(fenced(bed, start)) == len(unfenced(bed, start)), "a fence is left")
        check(not fenced(bed, start), f"a fence was announced: {dmesg(bed, 'fence', start)}")


def test_error_under_io(bed):
    """Errors of healthy disks under I/O leave nothing fenced, although a contained one answers no invalidation"""
    start = mark(bed)
    with readers(bed, AER, DPC, threads=2):
        for device in (AER, DPC):
            before = len(dmesg(bed, RECOVERED, start))
            bed.error(device, FATAL)
            wait_for(f"the recovery of {device}", lambda: len(dmesg(bed, RECOVERED, start)) > before)
            wait_for(f"{device} to be active", lambda: not_active(bed) == {})
    works(bed, AER)
    works(bed, DPC)


@contextlib.contextmanager
def without_services(bed, port, *services):
    """Has nobody in the machine care for what the port reports."""
    drivers = "/sys/bus/pci_express/drivers"
    names = {service: bed.text(f"cd {drivers}/{service}; echo {port}:*") for service in services}
    for service, name in names.items():
        check(write(bed, name, f"{drivers}/{service}/unbind"), f"{service} cannot be unbound from {name}")
    yield
    # Nothing of what has happened is news; a link that was down would be a card that was pulled out. Only the bits that
    # are set are written: QEMU keeps them all for who clears others as well.
    bed.text(f"setpci -s {port} CAP_EXP+1a.w=$(setpci -s {port} CAP_EXP+1a.w)")
    for service, name in names.items():
        check(write(bed, name, f"{drivers}/{service}/bind"), f"{service} cannot be bound to {name}")


def test_told_while_contained(bed):
    """A disk whose driver was told of the fence when nothing could be read from it works after its reset"""
    bed.text(f"{VERIFY} fill {disk(bed, DPC)}; udevadm settle")
    start = mark(bed)
    device = address(bed, DPC)
    port = port_of(bed, device)
    with without_services(bed, port, "pciehp", "dpc"):
        # Contain at a fatal error, and interrupt nobody.
        bed.text(f"setpci -s {port} ECAP_DPC+6.w=1:3")
        bed.error(DPC, FATAL)
        check(bed.text(f"setpci -s {device} VENDOR_ID") == "ffff", "the port does not contain")
        bed.text(f"smmu-rasctl fence --yes --no-wait {device}")
        wait_for("its driver to be told", lambda: dmesg(bed, "frozen state error detected", start))
        bed.text(f"setpci -s {port} ECAP_DPC+8.w=1")
        check(write(bed, 1, pci(device, "reset")), "the reset failed")
        works(bed, DPC)
    check(fenced(bed, start) == unfenced(bed, start) == [device], "there is to be one fence")


def test_recovery_without_a_reset(bed):
    """An error that takes no reset to recover from lifts nothing"""
    start = mark(bed)
    bed.text(f"{VERIFY} fill {disk(bed, AER)}")
    provoke(bed, AER)
    wait_fenced(bed, AER, start)
    bed.error(AER, NONFATAL)
    wait_for("the recovery", lambda: dmesg(bed, RECOVERED, start))
    check(not unfenced(bed, start) and not_active(bed) == {address(bed, AER): "fenced"}, "the fence has ended")
    check(bed.stream(AER)["eats"] == 0, "STE.EATS is set")
    check(write(bed, 1, pci(address(bed, AER), "reset")), "the reset failed")
    works(bed, AER)


def test_failed_recovery(bed):
    """A disk that does not come back from the reset of the recovery stays fenced, and works again when it is cured"""
    bed.text(f"{VERIFY} fill {disk(bed, AER)}; udevadm settle")
    start = mark(bed)
    for device in (AER, DPC):
        bed.wedge(device, "reset-fails")
        bed.error(device, FATAL)
    # A minute each, at the same time.
    wait_for("both recoveries to fail", lambda: len(dmesg(bed, "device recovery failed", start)) == 2, 120)
    check(sorted(fenced(bed, start)) == [address(bed, AER), address(bed, DPC)], f"fenced: {fenced(bed, start)}")
    check(not unfenced(bed, start) and bed.stream(AER)["eats"] == 0 and bed.stream(DPC)["eats"] == 0, "a fence ended")
    # Where a link does not come up after a containment, the hot-plug driver takes the card for pulled out.
    wait_for("the other to be taken away", lambda: not_active(bed) == {address(bed, AER): "fenced"})
    # It has been reset long ago, so what it needs is not to be read from it any more.
    bed.release(AER)
    check(write(bed, 1, pci(address(bed, AER), "reset")), "the reset failed")
    works(bed, AER)
