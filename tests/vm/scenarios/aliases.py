# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices with more than one requester ID: those whose IDs are theirs alone are fenced as a whole, others refused."""

from testbed import proof
from testbed.bed import stream_id
from testbed.guest import (WITHOUT_DAEMON, address, bind, fenced, not_active, pci, unbind, unfenced,
                           wait_fenced, write)
from testbed.scenario import check, dmesg, mark

# With one CPU, and interrupts off, nobody but the flush itself can have blocked anything when it returns.
BED = {"kernel": "patched", "devices": "ats-test-ghost,ats-test-alias*2", "smp": 1, "append": WITHOUT_DAEMON}
# One device with two requester IDs, of which it uses that of no function; two functions of which one has both IDs.
GHOST, FIRST, SECOND = "ats-test-ghost0", "ats-test-alias0", "ats-test-alias1"


def eats(bed):
    """STE.EATS of both streams of the device, as the SMMU goes by it now."""
    found, first = bed.streams(), stream_id(address(bed, GHOST))
    return [found.get(stream, {}).get("eats") for stream in (first, first + 1)]


def ready(bed, device):
    """The device has the driver. Returns a mark."""
    proof.adopt(bed, device)
    return mark(bed)


def provoke(bed, start, device=GHOST):
    """Wedges a device and has it found out by a flush, which does no damage."""
    result = proof.attempt(bed, "irqs-off", [bed.device(device)], [bed.device(device)])
    check(result["stale"] == 1 and result["damaged"] == 0 == result["violations"] == result["late"], str(result))
    wait_fenced(bed, device, start)


def test_two_streams(bed):
    """A healthy device with two streams is sent invalidations for both, answers them, and is left alone"""
    start = ready(bed, GHOST)
    first = stream_id(address(bed, GHOST))
    before = bed.streams()
    proof.works(bed, GHOST)
    after = bed.streams()
    for stream in (first, first + 1):
        check(after[stream]["inv"] > before.get(stream, {"inv": 0})["inv"], f"no invalidation for stream {stream:#x}")
        check(after[stream]["timeouts"] == 0, f"stream {stream:#x} is said not to have answered")
    check(eats(bed) == [1, 1] and not fenced(bed, start), f"STE.EATS: {eats(bed)}; {fenced(bed, start)}")


def test_both_streams_are_blocked(bed):
    """A wedged device with two streams is fenced once, with both; a reset and a bind bring both back"""
    start = ready(bed, GHOST)
    provoke(bed, start)
    check(eats(bed) == [0, 0], f"STE.EATS: {eats(bed)}")
    check(fenced(bed, start) == [address(bed, GHOST)], f"fenced: {fenced(bed, start)}")
    check(unbind(bed, address(bed, GHOST)) and not bind(bed, address(bed, GHOST), "ats-test"), "it was bound")
    check(eats(bed) == [0, 0], f"STE.EATS: {eats(bed)}")
    check(write(bed, 1, pci(address(bed, GHOST), "reset")), "the reset failed")
    check(bind(bed, address(bed, GHOST), "ats-test"), "it cannot be bound")
    check(eats(bed) == [1, 1], f"STE.EATS: {eats(bed)}")
    proof.works(bed, GHOST)
    check(unfenced(bed, start) == [address(bed, GHOST)] and not_active(bed) == {}, "the fence has not ended")


def test_stream_of_another_function(bed):
    """A function that uses the requester ID of another one has no IOMMU, so no half of the other can be fenced"""
    check(dmesg(bed, f"{address(bed, SECOND)}: Aliasing StreamID {stream_id(address(bed, FIRST)):#x} .from "
                     f"{address(bed, FIRST)}. unsupported"), "it was not refused")
    check(bed.run(f"test -e {pci(address(bed, SECOND), 'iommu_group')}", check=False).returncode, "it has an IOMMU")
    # A driver can be bound, and then has a device whose own requests are all aborted, and which uses no ATS.
    ready(bed, FIRST)
    ready(bed, SECOND)
    _, seen = bed.hardware_status()
    check(seen[FIRST]["enabled"] and not seen[SECOND]["enabled"], f"ATS: {seen}")
    check(bed.stream(SECOND)["eats"] == 0 and bed.stream(SECOND)["config"] == "abort", f"{bed.stream(SECOND)}")


def test_owner_of_the_stream(bed):
    """The function whose requester ID the other one uses is fenced and cured like any"""
    start = ready(bed, FIRST)
    provoke(bed, start, FIRST)
    check(bed.stream(FIRST)["eats"] == 0 and fenced(bed, start) == [address(bed, FIRST)], f"{fenced(bed, start)}")
    check(write(bed, 1, pci(address(bed, FIRST), "reset")), "the reset failed")
    proof.works(bed, FIRST)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
