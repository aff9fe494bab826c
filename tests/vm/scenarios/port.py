# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that answers no configuration request, and an SMMU that gives up late: only the port above can stop it."""

from testbed import proof
from testbed.guest import WITHOUT_DAEMON, not_active, pci, port_of, unfenced, wait_fenced, write
from testbed.scenario import check, dmesg, mark

DEVICE, WAITS = "ats-test0", 20000  # ms
BED = {"kernel": "patched", "devices": "ats-test", "append": WITHOUT_DAEMON, "atc_timeout": WAITS}


def bus_master(bed, address):
    return int(bed.text(f"setpci -s {address} COMMAND"), 16) & 4 != 0


def test_stopped(bed):
    """The port is stopped before the flush returns, and stays so while there is a fence: nothing is reached"""
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
    check(not bus_master(bed, port), "the port was not stopped")
    wait_fenced(bed, DEVICE, start)
    check(dmesg(bed, f"{device['address']}: fenced: the IOMMU did not say", start), "not the reason that was meant")
    check(not_active(bed) == {device["address"]: "fenced"}, f"not active: {not_active(bed)}")
    check(bed.stale(DEVICE) == 1 and bed.scribble(DEVICE)[0] == 0, "it reaches memory")


def test_goes_on(bed):
    """After a reset the port forwards again, and the device works"""
    device = bed.device(DEVICE)
    if not_active(bed) == {}:
        test_stopped(bed)
    start = mark(bed)
    bed.mute(DEVICE, False)
    check(write(bed, 1, pci(device["address"], "reset")), "the reset failed")
    check(unfenced(bed, start) == [device["address"]] and not_active(bed) == {}, f"not active: {not_active(bed)}")
    check(bus_master(bed, port_of(bed, device["address"])), "the port is still stopped")
    result = proof.attempt(bed, "strict", [], [device])
    check(result["healthy"] == 1, f"{result}")
