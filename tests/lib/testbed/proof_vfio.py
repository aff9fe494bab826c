# SPDX-License-Identifier: GPL-2.0-or-later
"""The proof for the unmaps of a VFIO user, through a container and through iommufd: the rows `vfio` of the table.

The devices are those of the other flavours, all in one domain, but in the hands of a program
(tests/vm/guest/vfio-drive). It maps a page of its own memory, has the devices cache it, wedges some, unmaps the page,
and fills it when the unmap has returned: from then on whatever changes the page is a device. Before that it has each
device look whether it could.
"""

import contextlib

from . import proof
from .drive import driving, iova, to_vfio
from .guest import pci
from .scenario import check, wait_for

TRANSLATE, WRITE, WRITE_STALE = 1, 3, 4  # commands of the test device
PATTERN = 0xa5
VICTIM, OTHER = 100, 200  # pages of the program
WAYS = {"group": "container", "cdev": "iommufd"}


@contextlib.contextmanager
def lent(bed, devices):
    """Gives devices to vfio-pci, and afterwards back to the driver that they had."""
    to_vfio(bed, *(each["id"] for each in devices))
    yield
    bed.text("; ".join(f"echo > {pci(each['address'], 'driver_override')}; "
                       f"echo {each['address']} > {pci(each['address'], 'driver/unbind')}; "
                       f"echo {each['address']} > /sys/bus/pci/drivers_probe" for each in devices))


def set_up(drive, way, devices):
    """Opens the devices, all in one address space."""
    drive.ask("container" if way == "group" else "ioas", "space")
    for each in devices:
        drive.open(each["id"], "space", way)
        drive.ask("registers", each["id"])
    for page in (VICTIM, OTHER):
        drive.map("space", page)


def attempt(bed, drive, way, wedged, devices):
    """One try; what came of it, by the names that proof.attempt() has."""
    names, broken = [each["id"] for each in devices], [each["id"] for each in wedged]
    hammer_us = proof.interval_for(bed)

    def order(name, command, page=VICTIM):
        return "order", name, command, iova(page), PATTERN

    for said in drive.ask_all(*(order(name, command) for name in names for command in (TRANSLATE, WRITE))):
        check(said["status"] == 0, f"the device does not reach the page before the test: {said}")
    check(drive.ask("differ", VICTIM, 1, PATTERN)["bytes"] == 0, "the devices did not write to the page")
    before = errors(bed)
    # The rest without a pause: where the program is a real-time thread on the only CPU, nobody else runs in between.
    said = drive.ask_all(
        *(("wedge", name, proof.MODES["until-reset"], PATTERN, hammer_us) if name in broken else
          ("wedge", name, 0, PATTERN, 0) for name in names),
        ("unmap", "space", iova(VICTIM), 1, VICTIM),
        *(order(name, WRITE_STALE) for name in broken),
        ("differ", VICTIM, 1, 0x5a),
        *(("record", name) for name in names), timeout=120)
    unmapped, said = said[len(names)], said[len(names) + 1:]
    written, differ, records = said[:len(broken)], said[len(broken)], dict(zip(names, said[len(broken) + 1:]))
    # By itself it writes every `hammer_us`, so what it does not write until here it does not write.
    damage = max(differ["bytes"], drive.damage(VICTIM))
    ends = [records[name]["cut_off"] for name in broken if records[name]["cut_off"]]
    result = {"flavour": "vfio", "context": WAYS[way], "devices": len(devices), "wedged": len(wedged), "reused": 1,
              "damaged": damage, "written": sum(each["result"] for each in written),
              "violations": sum(each["violations"] for each in records.values()),
              "stale": sum(records[name]["stale"] for name in broken), "cut_off": len(ends),
              "late": sum(end > unmapped["returned"] for end in ends),
              "window_us": max((records[name]["cut_off"] - records[name]["missed"] for name in broken
                                if records[name]["cut_off"]), default=0) // 1000,
              "flush_us": (unmapped["returned"] - unmapped["called"]) // 1000,
              "errors": errors(bed) - before, "healthy": 0}
    for name in names:
        if name not in broken:
            drive.ask("fill", OTHER, 1, 0)
            drive.ask(*order(name, WRITE, OTHER))
            result["healthy"] += drive.ask("differ", OTHER, 1, PATTERN)["bytes"] == 0
    proof.record(bed, result, "until-reset")
    return result


def errors(bed):
    with bed.qmp() as qmp:
        return qmp.command("qom-get", path="/machine/smmuv3", property="cmdq-errors")


def cure(bed, drive, wedged):
    """Resets the wedged devices, which their user may do. On the stock kernel a wedged one would hold that up."""
    if bed.state["kernel"] == "stock":
        for each in wedged:
            bed.release(each["id"])
    for each in wedged:
        drive.ask("reset", each["id"])
    drive.map("space", VICTIM)


def untouched(bed, drive, way, wedged, devices):
    """The page is untouched, and exactly the wedged devices are fenced before it returns, with one timeout each"""
    result = attempt(bed, drive, way, wedged, devices)
    proof.judge(bed, result, wedged, devices, "until-reset")
    check(result["errors"] == 1 + len(wedged), f"one timeout, and one for each wedged device: {result}")
    cure(bed, drive, wedged)
    wait_for("the end of the fences", lambda: not proof.fenced_now(bed), 10)


def damaged(bed, drive, way, wedged, devices):
    """The same on the stock kernel does the damage, and the unmap returns while each device reaches the page"""
    result = attempt(bed, drive, way, wedged, devices)
    check(result["damaged"] > 0 and result["violations"] == len(wedged) and result["cut_off"] == 0, str(result))
    cure(bed, drive, wedged)


def tests(what, counts, realtime=False):
    """Tests for a scenario file: one for each way, with what(bed, drive, way, wedged, devices) for each count."""
    if proof.FULL:
        counts = range(1, 9)

    def test_of(way):
        def test(bed):
            devices = proof.in_one_domain(bed)
            with lent(bed, devices), driving(bed, realtime) as drive:
                set_up(drive, way, devices)
                for count in counts:
                    what(bed, drive, way, proof.spread(devices, count), devices)
        test.__doc__ = f"unmap by a VFIO user ({WAYS[way]}): {what.__doc__.splitlines()[0]}"
        return test
    return {f"test_vfio_{WAYS[way]}": test_of(way) for way in WAYS}
