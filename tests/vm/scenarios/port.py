# SPDX-License-Identifier: GPL-2.0-or-later
"""An SMMU that gives up late: PCI has to stop the device, at the port above it if it answers no configuration request."""

from testbed import proof
from testbed.guest import WITHOUT_DAEMON, fenced, not_active, pci, port_of, unfenced, wait_fenced, write
from testbed.scenario import check, dmesg, mark, wait_for

DEVICE, WAITS = "ats-test0", 20000  # ms
BED = {"kernel": "patched", "devices": "ats-test", "append": WITHOUT_DAEMON, "atc_timeout": WAITS}


def bus_master(bed, address):
    return int(bed.text(f"setpci -s {address} COMMAND"), 16) & 4 != 0


def test_stopped(bed):
    """The port is stopped before the flush returns, until the SMMU blocks the device: nothing is reached"""
    proof.ready(bed)
    device = bed.device(DEVICE)
    port = port_of(bed, device["address"])
    check(bus_master(bed, port), "the port is no bus master")
    start = mark(bed)
    bed.mute(DEVICE)
    result = proof.attempt(bed, "strict", [device], [device])
    want = {"stale": 1, "damaged": 0, "written": 0, "violations": 0, "cut_off": 1, "late": 0}
    check({name: result[name] for name in want} == want, f"{result}\nis to be {want}")
    check(result["flush_us"] < WAITS * 1000, f"the flush has waited for the SMMU, so this shows nothing: {result}")
    check(dmesg(bed, f"{port}: DMA from below is stopped, as {device['address']} does not", start), "not by the port")
    wait_fenced(bed, DEVICE, start)
    check(dmesg(bed, f"{device['address']}: fenced: the IOMMU did not say", start), "not the reason that was meant")
    check(not_active(bed) == {device["address"]: "fenced"}, f"not active: {not_active(bed)}")
    check(bed.stale(DEVICE) == 1 and bed.scribble(DEVICE)[0] == 0, "it reaches memory")
    check(bus_master(bed, port), "the port is stopped, though the SMMU blocks the device")


def test_goes_on(bed):
    """After a reset the device works"""
    device = bed.device(DEVICE)
    if not_active(bed) == {}:
        test_stopped(bed)
    start = mark(bed)
    bed.mute(DEVICE, False)
    check(write(bed, 1, pci(device["address"], "reset")), "the reset failed")
    check(unfenced(bed, start) == [device["address"]] and not_active(bed) == {}, f"not active: {not_active(bed)}")
    proof.works(bed, DEVICE)


def test_driver_cannot_undo_it(bed):
    """A driver that enables bus mastering before the SMMU has said anything gets it when the fence is lifted"""
    proof.ready(bed)
    device, start = bed.device(DEVICE), mark(bed)
    where = device["address"]
    with bed.start(f"echo flavour=strict first={where} wedge={where} > {proof.PROOF}") as attempt:
        wait_for("the device to be stopped", lambda: not bus_master(bed, where))
        check(bus_master(bed, port_of(bed, where)), "the port was stopped, too")
        bed.text(f"echo {where} > /sys/kernel/debug/ats-test/master")
        enabled = bus_master(bed, where)
        check(not fenced(bed, start), "the SMMU has given up already, so this shows nothing")
        check(not enabled, "bus mastering is enabled")
        wait_fenced(bed, DEVICE, start)
        check(attempt.wait(60) == 0, "the attempt failed")
    check(write(bed, 1, pci(where, "reset")), "the reset failed")
    check(unfenced(bed, start) == [where] and bus_master(bed, where), "it is not enabled after the fence")
    proof.works(bed, DEVICE)
