# SPDX-License-Identifier: GPL-2.0-or-later
"""The proof that no page is handed back while a device can reach it, by tests/vm/module/ats-test in a machine.

Each try is a row of a table, which tests/vm/run prints at its end: a page is mapped for several devices, which cache
its translation; some are wedged; the page is taken back in one of the flavours, given to somebody else, and the
wedged devices write to it through their stale translations, all the time (the column `writes` counts these) and when
told to. On the stock kernel the page must be damaged, or the proof proves nothing.
"""

import contextlib
import os
import threading

from . import calm
from .agent import Agent
from .bed import stream_id
from .drive import driving, to_vfio
from .guest import address, bind, driver, pci
from .scenario import check, other, wait_for

PROOF = "/sys/kernel/debug/ats-test/proof"
# How often a wedged device writes, and how often at most on a kernel with checkers. With the usual interval eight of
# them keep two emulated CPUs busy that have KASAN, for half a minute, with events that the SMMU's thread reads, or the
# emulator itself, so that the CPUs get nowhere: RCU then complains.
HAMMER_US, SLOW_HAMMER_US = 50, 5000
PASID_FLAVOURS = ("pasid", "sva")
MODES = {"until-reset": 1, "forever": 2, "again": 3, "slow": 4, "reset-fails": 5}
COLUMNS = ("kernel", "CPUs", "SMMU waits", "broken", "flavour", "context", "devices", "wedged", "writes", "fenced",
           "window", "flush", "damaged")
rows, guard = [], threading.Lock()
FULL = "SAFETY_FULL" in os.environ  # what tests/vm/safety --full sets


def interval_for(bed, hammer_us=HAMMER_US):
    """How often wedged devices are to write, in µs, where so often is wanted."""
    return max(hammer_us, SLOW_HAMMER_US if calm.makes_slow(bed) else 0)


def ready(bed, hammer_us=HAMMER_US):
    """Loads the driver, once for each start of the machine. Wedged devices will write so often, if it bears it."""
    if bed.run(f"test -e {PROOF}", check=False).returncode:
        bed.load_module("ats-test")
        bed.text(f"echo {interval_for(bed, hammer_us)} > /sys/module/ats_test/parameters/hammer_us")


def adopt(bed, device):
    """Gives a test function the driver that does not know its IDs."""
    ready(bed)
    if driver(bed, address(bed, device)) != "ats-test":
        bed.text(f"echo ats-test > {pci(address(bed, device), 'driver_override')}")
        check(bind(bed, address(bed, device), "ats-test"), f"{device} cannot be bound")


def test_functions(bed):
    return [each for each in bed.state["devices"] if each["kind"] == "ats-test"]


def in_one_domain(bed):
    """The test functions that share the first IOMMU group."""
    return [each for each in test_functions(bed) if each["slot"].startswith("port1down")]


def alone(bed):
    """The test functions with a group of their own, which is what PASIDs need."""
    return [each for each in test_functions(bed) if "down" not in each["slot"]]


@contextlib.contextmanager
def virtual_functions(bed, count=3):
    """The test function with SR-IOV, and so many of its virtual functions, all with the driver."""
    ready(bed)
    physical = next(each for each in bed.state["devices"] if each["kind"] == "ats-test-pf")
    switch = pci(physical["address"], "sriov_numvfs")
    bed.text(f"echo {count} > {switch}")
    yield physical, [bed.device(f"{physical['id']}-vf{number}") for number in range(count)]
    bed.text(f"echo 0 > {switch}")


def spread(devices, count):
    """So many of them, from all parts of the list."""
    return [devices[index * len(devices) // count] for index in range(count)]


def number(mode):
    """A mode as the device's register MODE takes it."""
    name, _, argument = mode.partition(":")
    return MODES[name] | int(argument or 0) << 8


def attempt(bed, flavour, wedged, devices, mode="until-reset"):
    """One try with the domain of the first device, as the driver reports it: {what: number or word}.

    Who is attached to a PASID has to be named. Otherwise all in the domain take part.
    """
    named = {"wedge": wedged, "also": devices if flavour in PASID_FLAVOURS else []}
    line = (f"flavour={flavour} first={devices[0]['address']} mode={number(mode)} "
            + " ".join(f"{word}={','.join(each['address'] for each in them)}" for word, them in named.items()))
    said = bed.text(f"echo {line} > {PROOF} && cat {PROOF}", timeout=200)
    pairs = (word.partition("=") for word in said.split())
    return {name: int(value) if value.isdigit() else value for name, _, value in pairs}


def works(bed, device):
    """A test function answers invalidations, and does DMA."""
    result = attempt(bed, "strict", [], [bed.device(device)])
    check(result["healthy"] == 1 and result["damaged"] == 0, f"{device}: {result}")


def record(bed, result, mode):
    """Adds a row to the table."""
    state = bed.state
    arguments = " ".join(state["command"])
    waits = int(arguments.partition("atc-timeout-ms=")[2].split()[0])
    kernel = state["kernel"] if "/" not in state["kernel"] else "given"
    window, flush, damage = (result[name] for name in ("window_us", "flush_us", "damaged"))
    with guard:
        rows.append((kernel, state["smp"], f"{waits} ms", mode if result["wedged"] else "-", result["flavour"],
                     result["context"], result["devices"], result["wedged"],
                     result.get("hammered", "-") if result["wedged"] else "-", result["cut_off"],
                     f"{window / 1000:.1f} ms" if result["cut_off"] else "-",
                     f"{flush / 1000:.1f} ms" if flush else "-", f"{damage} bytes" if damage else "no"))


def table():
    """All rows, sorted, as lines of text."""
    lines = [tuple(map(str, row)) for row in [COLUMNS, *sorted(rows, key=lambda row: row[:2])]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in lines]


def fenced_now(bed):
    """The devices that are not active, as the kernel itself says over netlink."""
    with Agent(bed) as agent:
        return set(agent.ask("fences"))


def cure(bed, wedged, mode):
    """Resets devices in place, all at once. A slow one has to be fast again before that: a reset leaves it slow. On the
    stock kernel the reset of one waits for each other that is wedged."""
    if bed.state["kernel"] == "stock" or mode.startswith("slow"):
        for each in wedged:
            bed.release(each["id"])
    resets = " ".join(f"(echo 1 > {pci(each['address'], 'reset')}) & jobs=\"$jobs $!\";" for each in wedged)
    bed.text(f"{resets} for job in $jobs; do wait $job || exit 1; done" if wedged else "true")
    for each in wedged:
        bed.release(each["id"])


def judge(bed, result, wedged, devices, mode, answers=False):
    """No damage, and exactly the wedged of the devices are fenced, say the driver, the hardware and the kernel."""
    fences = 0 if answers else len(wedged)
    want = {"reused": 1, "damaged": 0, "written": 0, "violations": 0, "late": 0, "cut_off": fences,
            "healthy": result["devices"] - len(wedged)}
    check({name: result[name] for name in want} == want,
          f"{result['flavour']}, {len(wedged)} wedged: {result}\nis to be {want}")
    check(result["wedged"] == len(wedged) and (not fences or mode != "until-reset" or result["stale"] == len(wedged)),
          f"there are stale translations missing, so this shows nothing: {result}")
    names = {each["address"] for each in wedged} if fences else set()
    wait_for("the kernel's list", lambda: fenced_now(bed) == names, 10)
    found = bed.streams()
    eats = {each["address"]: found[stream_id(each["address"])]["eats"] for each in devices}
    check({name for name, on in eats.items() if not on} == names, f"STE.EATS: {eats}; fenced: {names}")


def untouched(bed, flavour, wedged, devices, mode="until-reset", answers=False):
    """The page is untouched, exactly the wedged devices are fenced, and before the flush returns

    With `answers` the device is slow, and does answer in time: nothing is to be fenced.
    """
    ready(bed)
    result = attempt(bed, flavour, wedged, devices, mode)
    record(bed, result, mode)
    judge(bed, result, wedged, devices, mode, answers)
    cure(bed, wedged, mode)
    check(not fenced_now(bed), f"not active after their reset: {fenced_now(bed)}")


def untouched_unheard(bed, flavour, wedged, devices, mode="until-reset"):
    """The page is untouched although the SMMU has not said yet who does not answer: any of them may be fenced for it"""
    ready(bed)
    result = attempt(bed, flavour, wedged, devices, mode)
    record(bed, result, mode)
    facts = [result[name] for name in ("reused", "damaged", "written", "violations", "late")]
    check(facts == [1, 0, 0, 0, 0], f"{flavour}, {len(wedged)} wedged: {result}")
    check(mode != "until-reset" or result["cut_off"] == len(wedged), f"not all of the wedged are cut off: {result}")
    fenced = fenced_now(bed)
    cure(bed, [each for each in devices if each["address"] in fenced] or wedged, mode)
    for each in wedged:
        bed.release(each["id"])
    check(not fenced_now(bed), f"not active after their reset: {fenced_now(bed)}")


def damaged(bed, flavour, wedged, devices, mode="until-reset"):
    """The same try on the stock kernel does the damage, and the flush returns while each device reaches the page"""
    ready(bed)
    result = attempt(bed, flavour, wedged, devices, mode)
    record(bed, result, mode)
    check(result["reused"] == 1 and result["damaged"] > 0 and result["violations"] == len(wedged)
          and result["cut_off"] == 0, f"{flavour}, {len(wedged)} wedged: {result}")
    cure(bed, wedged, mode)


def healthy(bed, flavour, devices):
    """A try with no device wedged, on any kernel: no damage."""
    ready(bed)
    result = attempt(bed, flavour, [], devices)
    record(bed, result, "-")
    check(result["reused"] == 1 and not result["damaged"] and not result["violations"] and not result["stale"]
          and result["healthy"] == result["devices"], str(result))


def by_sriov(bed, what):
    """what(bed, flavour, wedged, devices) for a virtual function, for the physical one, and for some of both.

    With PASIDs they share a domain, else each has its own. A reset of the physical function is one of all of them, so
    it comes last, and they are made anew.
    """
    for flavour in ("strict", *PASID_FLAVOURS):
        with virtual_functions(bed) as (physical, virtual):
            what(bed, flavour, virtual[1:2], [virtual[1], physical, virtual[0], virtual[2]])
            what(bed, flavour, [physical], [physical, *virtual])
        if flavour in PASID_FLAVOURS:
            with virtual_functions(bed) as (physical, virtual):
                what(bed, flavour, [virtual[0], virtual[2]], [physical, *virtual])
                what(bed, flavour, [virtual[1], physical], [physical, *virtual])


def lazy(bed, devices):
    """Gives the group of the devices a flush queue, for good."""
    group = pci(devices[0]["address"], "iommu_group/type")
    bed.text(f"grep -q DMA-FQ {group} || echo DMA-FQ > {group}")


def by_vfio(bed, way):
    """A try with a disk in the hands of a VFIO user, who fills the page when its unmap has returned. Returns the bytes
    that the disk, which is at it all the time, has changed after that, or changes when it is told to."""
    vfio = other("vfio")
    to_vfio(bed, "nvme0")
    with driving(bed) as drive:
        vfio.ready(drive, "space", way, "nvme0")
        check(drive.identify("nvme0", vfio.VICTIM), "no completion")
        drive.busy("nvme0", vfio.VICTIM)
        bed.wedge("nvme0", "until-reset")
        drive.unmap("space", vfio.VICTIM)
        check(bed.stale("nvme0") > 0, "there is no stale translation, so this shows nothing")
        bed.scribble("nvme0")
        wait_for("damage", lambda: drive.damage(vfio.VICTIM) > 0 or bed.stream("nvme0")["eats"] == 0)
        missed, cut_off = bed.window("nvme0")
        result = {"flavour": "vfio", "context": {"group": "container", "cdev": "iommufd"}[way], "devices": 1,
                  "wedged": 1, "cut_off": int(cut_off > 0), "window_us": (cut_off - missed) // 1000, "flush_us": 0,
                  "damaged": drive.damage(vfio.VICTIM)}
        record(bed, result, "until-reset")
        bed.release("nvme0")
    return result["damaged"]


def flavour_tests(flavours, what, counts):
    """Tests for a scenario file: one for each flavour, with what(bed, flavour, wedged, devices) for each count."""
    if FULL:
        counts = range(1, 9)

    def test_of(flavour):
        def test(bed):
            devices = alone(bed) if flavour in PASID_FLAVOURS else in_one_domain(bed)
            if flavour == "lazy":
                lazy(bed, devices)
            for count in sorted({min(count, len(devices)) for count in counts}):
                what(bed, flavour, spread(devices, count), devices)
        test.__doc__ = f"{flavour}: {what.__doc__.splitlines()[0]}"
        return test
    return {f"test_{flavour.replace('-', '_')}": test_of(flavour) for flavour in flavours}
