# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of a guest with an SMMUv3 of its own: its ATC invalidations go through iommufd, and the host fences for it."""

import contextlib

from testbed.drive import driving, iova, to_vfio
from testbed.guest import fenced, unfenced, wait_fenced
from testbed.scenario import check, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme:3"}
ALL = ["nvme0", "nvme1", "nvme2"]

# Pages of the program's memory, which is the guest's memory
QUEUES = {device: 4 * number for number, device in enumerate(ALL)}
OWN = {device: page + 2 for device, page in QUEUES.items()}
VICTIM, OTHER = 100, 200
CD, L1, L2, L3 = 240, 241, 242, 243

# What the guest calls its streams
SID = {device: 8 * number + 8 for number, device in enumerate(ALL)}


def virtual(page):
    """The address that the guest has given the page: its stage 1 translates it to iova(page), which stage 2 does."""
    return 0xc0000000 + page * 4096


def tlbi(page):
    return 0x12 | 1 << 48, virtual(page)  # CMD_TLBI_NH_VA, ASID 1


def atc_inv(device, page=None):
    return 0x40 | SID[device] << 32, 52 if page is None else virtual(page)


def cfgi_cd(device):
    return 0x05 | SID[device] << 32, 1


def vste(eats=1):
    return 5 << 1 | 1 | iova(CD), eats << 28  # stage 1


class Guest:
    def __init__(self, drive):
        self.drive = drive
        drive.seen = virtual
        drive.ask("ioas", "memory")
        for page, count in ((0, VICTIM), (VICTIM, 1), (OTHER, 1), (CD, 4)):
            drive.map("memory", page, count)
        # T0SZ 25, EPD1, V, IPS 44, AA64, R, A, ASID 1
        drive.ask("poke", CD, 0, 25 | 1 << 30 | 1 << 31 | 4 << 32 | 1 << 41 | 1 << 45 | 1 << 46 | 1 << 48)
        drive.ask("poke", CD, 8, iova(L1))
        drive.ask("poke", L1, 8 * 3, iova(L2) | 3)
        drive.ask("poke", L2, 0, iova(L3) | 3)
        for page in (*QUEUES.values(), *OWN.values(), *(page + 1 for page in QUEUES.values()), VICTIM, OTHER):
            self.map(page)

    def map(self, page):
        self.drive.ask("poke", L3, 8 * page, iova(page) | 0x743)

    def unmap(self, page):
        self.drive.ask("poke", L3, 8 * page, 0)

    def add(self, device, eats=1):
        ask = self.drive.ask
        ask("cdev", device, self.drive.bed.device(device)["address"])
        if device == ALL[0]:
            ask("parent", "stage2", device, "memory")
            ask("viommu", "smmu", device, "stage2")
        ask("vdevice", f"{device}-stream", device, "smmu", SID[device])
        ask("nested", f"{device}-ste", device, "smmu", *vste(eats))
        ask("attach", device, f"{device}-ste")
        self.drive.start(device, QUEUES[device])

    def invalidate(self, *commands):
        """Returns the error's name, or 0, and how many of the commands the kernel says it has handled."""
        answer = self.drive.ask("invalidate", "smmu", *(word for command in commands for word in command))
        return answer["error"], answer["handled"]

    def expect(self, result, *commands):
        got = self.invalidate(*commands)
        check(got == result, f"the error and the count are {got}, not {result}")


@contextlib.contextmanager
def guest(bed, realtime=False):
    """A guest with all of the devices, each of which has used the page VICTIM."""
    to_vfio(bed, *ALL)
    with driving(bed, realtime) as drive:
        made = Guest(drive)
        for device in ALL:
            made.add(device)
            check(drive.identify(device, VICTIM), f"{device}: no completion")
            check(bed.stream(device)["eats"] == 1, f"{device} does without ATS")
        yield made


def check_goes_on(drive, device):
    done = drive.ask("progress", device)["done"]
    wait_for(f"DMA of {device}", lambda: drive.ask("progress", device)["done"] > done + 5)
    check(drive.ask("idle", device)["failed"] == 0, f"commands of {device} failed")


def check_untouched(bed, drive, device):
    """The page is the guest's own again. What the device does with its old translation does not reach it."""
    drive.ask("fill", VICTIM, 1, 0x5a)
    check(bed.stale(device) > 0, "there is no stale translation, so this test shows nothing")
    overwritten, blocked = bed.scribble(device)
    check(overwritten == 0 and blocked > 0, f"{overwritten} pages overwritten, {blocked} writes blocked")
    check(drive.damage(VICTIM) == 0, f"{drive.damage(VICTIM)} bytes of the page were overwritten")


def addresses(bed, *devices):
    return [bed.device(device)["address"] for device in devices]


def test_healthy(bed):
    """The guest's invalidations reach the ATCs of its devices, and nothing is fenced"""
    start = mark(bed)
    with guest(bed) as this:
        this.drive.busy("nvme0", VICTIM)
        this.unmap(VICTIM)
        this.expect((0, 4), tlbi(VICTIM), *(atc_inv(device, VICTIM) for device in ALL))
        this.drive.ask("fill", VICTIM, 1, 0x5a)
        check_goes_on(this.drive, "nvme0")
        check(this.drive.damage(VICTIM) == 0, "the device has written to a page that the guest has unmapped")
        check([bed.stale(device) for device in ALL] == [0, 0, 0], "stale translations")
        this.expect(("EIO", 1), atc_inv("nvme0"), (0x46, 0), atc_inv("nvme1"))  # no CMD_SYNC of the guest's
    check(not fenced(bed, start), str(fenced(bed, start)))


def test_guest_invalidates(bed):
    """One of three devices is wedged: the guest's batch fails at its command, the host fences it, the others go on"""
    start = mark(bed)
    with guest(bed) as this:
        for device in ("nvme0", "nvme2"):
            this.drive.busy(device, OWN[device])
        this.drive.busy("nvme1", VICTIM)
        bed.wedge("nvme1", "until-reset")
        this.unmap(VICTIM)
        with bed.qmp() as qmp:
            before = qmp.command("qom-get", path="/machine/smmuv3", property="cmdq-errors")
        this.expect(("ETIMEDOUT", 3), tlbi(VICTIM), atc_inv("nvme0", VICTIM), tlbi(VICTIM),
                    atc_inv("nvme1", VICTIM), atc_inv("nvme2", VICTIM), tlbi(OTHER))
        check(bed.stream("nvme1")["eats"] == 0, "STE.EATS is set")
        with bed.qmp() as qmp:
            errors = qmp.command("qom-get", path="/machine/smmuv3", property="cmdq-errors") - before
        check(errors == 2, f"{errors} timeouts for one wedged device")
        check_untouched(bed, this.drive, "nvme1")
        wait_fenced(bed, "nvme1", start)
        check(bed.stale("nvme2") == 0, "the device behind the wedged one has not been told")

        # From now on
        timeouts = bed.stream("nvme1")["timeouts"]
        this.expect(("ETIMEDOUT", 1), tlbi(VICTIM), atc_inv("nvme1"))
        this.expect(("ETIMEDOUT", 2), atc_inv("nvme2"), tlbi(VICTIM), atc_inv("nvme1"), atc_inv("nvme0"))
        this.expect((0, 2), cfgi_cd("nvme1"), atc_inv("nvme0"))
        check(bed.stream("nvme1")["timeouts"] == timeouts, "it still gets ATC invalidations")
        # The guest writes its STE anew, with EATS in it
        this.drive.ask("nested", "new-ste", "nvme1", "smmu", *vste())
        this.drive.refused("EBUSY", "attach", "nvme1", "new-ste")
        check(bed.stream("nvme1")["eats"] == 0, "the guest has set STE.EATS")
        for device in ("nvme0", "nvme2"):
            check_goes_on(this.drive, device)
        check(fenced(bed, start) == addresses(bed, "nvme1"), str(fenced(bed, start)))

        # The guest resets the device, and has its own translation back
        this.drive.ask("reset", "nvme1")
        check(unfenced(bed, start) == addresses(bed, "nvme1"), "the reset has not lifted the fence")
        check(bed.stream("nvme1")["eats"] == 1, "STE.EATS is not set")
        this.drive.start("nvme1", QUEUES["nvme1"])
        check(this.drive.identify("nvme1", OWN["nvme1"]), "the device cannot be used again")
        this.expect((0, 2), tlbi(OTHER), atc_inv("nvme1"))


def test_two_of_a_long_array(bed):
    """Two wedged devices in an array of several batches: the count is the first one's place"""
    start = mark(bed)
    with guest(bed) as this:
        for device in ("nvme0", "nvme2"):
            bed.wedge(device, "until-reset")
        array = [tlbi(OTHER)] * 70 + [atc_inv("nvme1"), atc_inv("nvme2"), atc_inv("nvme0")] + [tlbi(OTHER)] * 30
        this.expect(("ETIMEDOUT", 71), *array)
        for device in ("nvme0", "nvme2"):
            wait_fenced(bed, device, start)
        # What a hypervisor does that goes on after the command that failed
        this.expect(("ETIMEDOUT", 0), *array[72:])
        this.expect((0, 30), *array[73:])
        check(sorted(fenced(bed, start)) == addresses(bed, "nvme0", "nvme2"), str(fenced(bed, start)))


def test_host_unmaps(bed):
    """The host takes a page of the guest from a wedged device: the unmap returns when the device is fenced"""
    start = mark(bed)
    with guest(bed) as this:
        this.drive.busy("nvme1", OWN["nvme1"])
        this.drive.busy("nvme0", VICTIM)
        bed.wedge("nvme0", "until-reset")
        this.drive.unmap("memory", VICTIM)
        check(this.drive.damage(VICTIM) == 0, "the page was overwritten by the device itself")
        check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
        check_untouched(bed, this.drive, "nvme0")
        wait_fenced(bed, "nvme0", start)
        check_goes_on(this.drive, "nvme1")
        check(fenced(bed, start) == addresses(bed, "nvme0"), str(fenced(bed, start)))
    check(unfenced(bed, start) == addresses(bed, "nvme0"), "closing the device has not lifted the fence")


def test_events(bed):
    """The guest is told of faults of its stage 1, and nothing of what a fenced device tries"""
    to_vfio(bed, *ALL)
    start = mark(bed)
    with driving(bed) as drive:
        this = Guest(drive)
        this.add("nvme0", eats=0)
        this.add("nvme1")
        drive.ask("veventq", "events", "smmu")
        check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set without the guest")
        drive.identify("nvme0", VICTIM)
        check(drive.ask("events", "events")["count"] == 0, "events without a fault")
        this.unmap(VICTIM)
        this.expect((0, 1), tlbi(VICTIM))
        drive.identify("nvme0", VICTIM)
        event = wait_for("an event", lambda: [got for got in [drive.ask("events", "events", SID["nvme0"])]
                                              if got["count"]])[0]
        check(event["type"] == 0x10 and event["sid"] == SID["nvme0"], str(event))  # F_TRANSLATION
        # One command of nvme0 made dozens of them. A slow machine may have some yet to tell.
        wait_for("the last of them", lambda: drive.ask("events", "events")["count"] == 0)
        drive.busy("nvme1", OWN["nvme1"])
        bed.wedge("nvme1", "until-reset")
        this.expect(("ETIMEDOUT", 0), atc_inv("nvme1"))
        bed.scribble("nvme1")
        wait_fenced(bed, "nvme1", start)
        said = drive.ask("events", "events", SID["nvme1"])
        check(said["count"] == 0, f"events of the fenced device: {said}")
