# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices in the hands of VFIO users: an unmap does not return before the device is fenced, and opening it unfences it."""

import contextlib

from testbed.drive import driving, to_vfio
from testbed.guest import fenced, pci, unfenced, wait_fenced, write
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme:4"}
ALL = ["nvme0", "nvme1", "nvme2", "nvme3"]

# Pages of vfio-drive's memory: two for the queues of each device, one for it to write; and pages to unmap.
QUEUES = {device: 4 * number for number, device in enumerate(ALL)}
OWN = {device: page + 2 for device, page in QUEUES.items()}
VICTIM, OTHER = 100, 200
MAPPED = 256

# device-fence, as the family iommu-ras has it
FENCE = """
import socket, struct, sys
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)  # NETLINK_GENERIC
def ask(kind, flags, command, *attributes):
    body = struct.pack("=BBH", command, 1, 0)
    for number, text in attributes:
        data = text.encode() + b"\\0"
        body += struct.pack("=HH", 4 + len(data), number) + data + b"\\0" * (-len(data) % 4)
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    return netlink.recv(65536)
answer, at = ask(16, 1, 3, (2, "iommu-ras")), 20  # CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME
while struct.unpack_from("=H", answer, at + 2)[0] != 1:  # CTRL_ATTR_FAMILY_ID
    at += struct.unpack_from("=H", answer, at)[0] + 3 & ~3
family = struct.unpack_from("=H", answer, at + 4)[0]
sys.exit(struct.unpack_from("=i", ask(family, 5, 2, (4, "pci"), (5, sys.argv[1])), 16)[0] != 0)
"""


@contextlib.contextmanager
def user(bed, realtime=False):
    """A program that uses devices, which vfio-pci drives and nobody else recovers."""
    to_vfio(bed, *ALL[:len(bed.state["devices"])])
    with driving(bed, realtime) as drive:
        yield drive


def space(drive, way, name):
    """An address space with all of the program's memory, but for pages to unmap one by one."""
    drive.ask("container" if way == "group" else "ioas", name)


def fill_space(drive, name):
    """A container takes mappings only once it has a device."""
    drive.map(name, 0, VICTIM)
    drive.map(name, VICTIM)
    drive.map(name, OTHER)


def ready(drive, name, way, *devices):
    space(drive, way, name)
    for device in devices:
        drive.open(device, name, way)
    fill_space(drive, name)
    for device in devices:
        drive.start(device, QUEUES[device])


def addresses(bed, devices):
    return sorted(bed.device(device)["address"] for device in devices)


def check_untouched(bed, drive, device, page):
    """The device holds a translation of the page, which was unmapped; the page is as it was filled then."""
    check(drive.damage(page) == 0, f"{drive.damage(page)} bytes of the page were overwritten by the device itself")
    check(bed.stream(device)["eats"] == 0, "STE.EATS is set")
    check(bed.stale(device) > 0, "there is no stale translation, so this test shows nothing")
    overwritten, blocked = bed.scribble(device)
    check(overwritten == 0 and blocked > 0, f"{overwritten} pages overwritten, {blocked} writes blocked")
    check(drive.damage(page) == 0, f"{drive.damage(page)} bytes of the page were overwritten")


def test_healthy(bed):
    """Through a container and through iommufd, a healthy device does DMA, and an unmap takes a page from it"""
    start = mark(bed)
    for way in ("group", "cdev"):
        with user(bed) as drive:
            ready(drive, "space", way, "nvme0")
            check(drive.identify("nvme0", VICTIM), "no completion")
            check(bed.stream("nvme0")["eats"] == 1, "the device does without ATS")
            drive.busy("nvme0", VICTIM)
            drive.unmap("space", VICTIM)
            check(drive.ask("idle", "nvme0")["failed"] == 0, "commands failed")
            check(drive.damage(VICTIM) == 0, "the device has written to a page that was unmapped")
            check(bed.stale("nvme0") == 0, "stale translations")
    check(not fenced(bed, start), str(fenced(bed, start)))


def unmap_while_wedged(bed, way):
    start = mark(bed)
    with user(bed) as drive:
        ready(drive, "space", way, "nvme0")
        check(drive.identify("nvme0", VICTIM), "no completion")
        # It writes to the page all the time, until it is stopped.
        drive.busy("nvme0", VICTIM)
        bed.wedge("nvme0", "until-reset")
        drive.unmap("space", VICTIM)
        check_untouched(bed, drive, "nvme0", VICTIM)
        wait_fenced(bed, "nvme0", start)
        check(not unfenced(bed, start), "the fence has ended")
        timeouts = bed.stream("nvme0")["timeouts"]
        drive.unmap("space", OTHER)
        check(bed.stream("nvme0")["timeouts"] == timeouts, "it still gets ATC invalidations")
    # The end of the program has closed the device, and VFIO has reset it.
    check(unfenced(bed, start) == addresses(bed, ["nvme0"]), "closing the device has not lifted the fence")
    with user(bed) as drive:
        ready(drive, "space", way, "nvme0")
        check(drive.identify("nvme0", OWN["nvme0"]), "the device cannot be used again")
        check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set")
        drive.unmap("space", VICTIM)
    lines = dmesg(bed, "smmuv3|fence", start)
    check(len(lines) <= 3, f"a fence is to be a handful of lines, not {len(lines)}: {lines}")


def test_container(bed):
    """Container and group: an unmap returns when the wedged device is fenced; close and open bring it back"""
    unmap_while_wedged(bed, "group")


def test_iommufd(bed):
    """iommufd and character device: the same"""
    unmap_while_wedged(bed, "cdev")


def test_reset_while_open(bed):
    """A reset, of the function or of its bus, lifts the fence of an open device, which has its address space back"""
    with user(bed) as drive:
        ready(drive, "space", "cdev", "nvme0")
        drive.ask("ioas", "another")
        for kind in ("reset", "hot-reset"):
            start = mark(bed)
            check(drive.identify("nvme0", VICTIM), "no completion")
            bed.wedge("nvme0", "until-reset")
            drive.unmap("space", VICTIM)
            wait_fenced(bed, "nvme0", start)
            drive.refused("EBUSY", "attach", "nvme0", "another")
            drive.ask(kind, "nvme0")
            check(unfenced(bed, start) == addresses(bed, ["nvme0"]), f"the {kind} has not lifted the fence")
            drive.start("nvme0", QUEUES["nvme0"])
            check(drive.identify("nvme0", OWN["nvme0"]), "the device cannot be used again")
            drive.map("space", VICTIM)


def test_close_while_wedged(bed):
    """A wedged device that is closed before anybody noticed is cured by the reset at that, with no fence"""
    start = mark(bed)
    for way in ("group", "cdev"):
        with user(bed) as drive:
            ready(drive, "space", way, "nvme0")
            drive.busy("nvme0", VICTIM)
            wait_for("DMA", lambda drive=drive: drive.ask("progress", "nvme0")["done"] > 5)
            bed.wedge("nvme0", "until-reset")
        check(bed.hardware("nvme0") == "off", "the device was not reset")
        with user(bed) as drive:
            ready(drive, "space", way, "nvme0")
            check(drive.identify("nvme0", OWN["nvme0"]), "the device cannot be used again")
            drive.unmap("space", VICTIM)
            check(bed.stale("nvme0") == 0, "stale translations")
    check(not fenced(bed, start), str(fenced(bed, start)))


def test_two_users(bed):
    """Two users of two devices: the wedged one is fenced, and the other user notices nothing"""
    start = mark(bed)
    with user(bed) as one, user(bed) as two:
        ready(one, "space", "cdev", "nvme0")
        ready(two, "space", "group", "nvme1")
        two.busy("nvme1", OWN["nvme1"])
        check(one.identify("nvme0", VICTIM), "no completion")
        bed.wedge("nvme0", "until-reset")
        one.unmap("space", VICTIM)
        check_untouched(bed, one, "nvme0", VICTIM)
        two.unmap("space", VICTIM)
        before = two.ask("progress", "nvme1")["done"]
        wait_for("DMA of the other user", lambda: two.ask("progress", "nvme1")["done"] > before + 10)
        check(two.ask("idle", "nvme1")["failed"] == 0, "commands of the other user failed")
        wait_fenced(bed, "nvme0", start)
    check(fenced(bed, start) == addresses(bed, ["nvme0"]), str(fenced(bed, start)))


def several_in_one_domain(bed, drive, wedged, unmap):
    """Wedges some of the devices of one domain, calls unmap(); exactly they are fenced, and are then reset."""
    healthy = [device for device in ALL if device not in wedged]
    start = mark(bed)
    for device in ALL:
        check(drive.identify(device, VICTIM) and drive.identify(device, OTHER), f"{device}: no completion")
    for device in healthy:
        drive.busy(device, OWN[device])
    for device in wedged:
        drive.busy(device, VICTIM)
        bed.wedge(device, "until-reset")
    with bed.qmp() as qmp:
        before = qmp.command("qom-get", path="/machine/smmuv3", property="cmdq-errors")
    unmap()
    with bed.qmp() as qmp:
        errors = qmp.command("qom-get", path="/machine/smmuv3", property="cmdq-errors") - before
    for device in wedged:
        check_untouched(bed, drive, device, VICTIM)
        wait_fenced(bed, device, start)
    check(sorted(fenced(bed, start)) == addresses(bed, wedged), f"wedged: {wedged}, fenced: {fenced(bed, start)}")
    for device in healthy:
        done = drive.ask("progress", device)["done"]
        wait_for(f"DMA of {device}", lambda device=device, done=done: drive.ask("progress", device)["done"] > done + 5)
        check(drive.ask("idle", device)["failed"] == 0, f"commands of {device} failed")
        check(bed.stream(device)["eats"] == 1 and bed.stale(device) == 0, f"{device} has suffered")
    for device in wedged:
        drive.ask("reset", device)
        drive.start(device, QUEUES[device])
    check(sorted(unfenced(bed, start)) == addresses(bed, wedged), f"unfenced: {unfenced(bed, start)}")
    for page in (VICTIM, OTHER):
        drive.map("space", page)
    return errors


def test_one_domain(bed):
    """Four devices in one domain, one, two and all of them wedged: they are fenced, one timeout each, the others go on"""
    with user(bed) as drive:
        ready(drive, "space", "cdev", *ALL)
        for wedged in (["nvme2"], ["nvme0", "nvme3"], ALL):
            def unmap():
                drive.unmap("space", VICTIM)
                drive.unmap("space", OTHER)
            errors = several_in_one_domain(bed, drive, wedged, unmap)
            check(errors == 1 + len(wedged), f"{errors} timeouts for {len(wedged)} wedged devices")


def test_two_threads(bed):
    """Two threads unmap from the domain at once: neither returns before both wedged devices are fenced"""
    with user(bed) as drive:
        ready(drive, "space", "cdev", *ALL)
        several_in_one_domain(bed, drive, ["nvme1", "nvme2"], lambda: drive.unmap_both("space", VICTIM, OTHER))
        several_in_one_domain(bed, drive, ["nvme3"], lambda: drive.unmap_both("space", OTHER, VICTIM))


def test_open_while_fenced(bed):
    """A fenced device can be opened in neither way, and the kernel says why, until somebody has reset it"""
    to_vfio(bed, "nvme0")
    address = bed.device("nvme0")["address"]
    bed.run(f"python3 - {address}", stdin=FENCE)  # while nobody has it open
    check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
    for way in ("group", "cdev"):
        start = mark(bed)
        with user(bed) as drive:
            space(drive, way, "space")
            drive.refused("EBUSY", way, "nvme0", address, *(["space"] if way == "group" else []))
            check(dmesg(bed, rf"{address}: fenced: no domain can be attached before the device was reset", start),
                  "no word about why")
            check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
    check(write(bed, 1, pci(address, "reset")), "the reset failed")
    for way in ("group", "cdev"):
        with user(bed) as drive:
            ready(drive, "space", way, "nvme0")
            check(drive.identify("nvme0", OWN["nvme0"]), "the device cannot be used again")
            check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set")


def test_reset_fails(bed):
    """A device that does not come back from VFIO's reset stays fenced, and gets no address space"""
    start = mark(bed)
    with user(bed) as drive:
        ready(drive, "space", "cdev", "nvme0")
        check(drive.identify("nvme0", VICTIM), "no completion")
        bed.wedge("nvme0", "reset-fails")
        drive.unmap("space", VICTIM)
        check_untouched(bed, drive, "nvme0", VICTIM)
        wait_fenced(bed, "nvme0", start)
        # The kernel waits a minute for each way to reset it.
        write(bed, "flr", pci(bed.device("nvme0")["address"], "reset_method"))
        drive.refused("ENOTTY", "reset", "nvme0", timeout=180)
        check(not unfenced(bed, start), "the fence has ended")
        check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
        bed.release("nvme0")
    # It is back on the bus, so that closing it is a reset that works.
    check(unfenced(bed, start) == addresses(bed, ["nvme0"]), "closing the device has not lifted the fence")
