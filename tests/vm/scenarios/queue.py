# SPDX-License-Identifier: GPL-2.0-or-later
"""One device makes the command queue stand still for ten seconds; what others have in the queue is not given up."""

import re
from collections import Counter

from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme:2", "smp": 2, "atc_timeout": 10000}
VERIFY = "/usr/local/lib/testbed/verify-io"
WEDGED, HEALTHY = "0000:01:00.0", "0000:02:00.0"
CPUS = 2

SMMU = 0x09050000  # in QEMU's virt machine
CMDQ_BASE, CMDQ_PROD, CMDQ_CONS = 0x90, 0x98, 0x9c
CFGI_STE, TLBI_NH_ASID, TLBI_NH_VA, SYNC = 0x03, 0x11, 0x12, 0x46


def words(qmp, address, count):
    """32-bit words of the guest's physical memory and registers."""
    if not count:
        return []
    text = qmp.command("human-monitor-command", **{"command-line": f"xp /{count}wx {address:#x}"})
    return [int(word, 16) for line in text.splitlines() for word in line.partition(":")[2].split()]


def waiting(qmp, before=0):
    """Where CONS is, and the commands that the SMMU has not consumed, or so many that it has: (CONS, [(opcode, ASID or
    0)])."""
    # One at a time, as registers of 32 bits are to be read.
    low, high, prod, cons = (words(qmp, SMMU + at, 1)[0] for at in (CMDQ_BASE, CMDQ_BASE + 4, CMDQ_PROD, CMDQ_CONS))
    size = 1 << (low & 0x1f)
    base = (high << 32 | low) & 0x000fffffffffffe0
    cons &= 2 * size - 1
    start, count = ((cons - before) % size, before) if before else (cons % size, (prod - cons) % (2 * size))
    first = min(count, size - start)
    raw = words(qmp, base + 16 * start, 4 * first) + words(qmp, base, 4 * (count - first))
    return cons, [(raw[i] & 0xff, raw[i + 1] >> 16 if raw[i] & 0xff in (TLBI_NH_ASID, TLBI_NH_VA) else 0)
                  for i in range(0, len(raw), 4)]


def flushes(commands):
    """How often each ASID was flushed: its TLBIs up to a CMD_SYNC are one flush."""
    found, asids = Counter(), set()
    for opcode, asid in commands:
        if opcode == SYNC:
            found.update(asids)
            asids = set()
        elif asid:
            asids.add(asid)
    return found


def standstill(qmp):
    """Waits until the queue has stood still for long and moves again: (CONS, [the commands waiting, at all times], the
    ASID of the device that is waited for)."""
    stands, seen, blamed = None, [], 0

    def moves_again():
        nonlocal stands, seen, blamed
        cons, commands = waiting(qmp)
        if commands and cons == stands:
            seen.append(commands)
            if len(seen) == 1:
                # Whoever invalidates the ATC has flushed the TLB just before.
                blamed = next((asid for _, asid in reversed(waiting(qmp, 8)[1]) if asid), 0)
            return False
        if len(seen) >= 10:
            return True
        stands, seen = cons, []
        return False

    wait_for("the queue to stand still, and to move again", moves_again, 180, interval=0.05)
    return stands, seen, blamed


def test_nobody_gives_up(bed):
    """A flush of a disk in another domain does not return before the SMMU has got to it, and the disk goes on then"""
    bed.text("systemctl stop smmu-rasd")
    for disk in "nvme0n1", "nvme1n1":
        bed.text(f"{VERIFY} fill /dev/{disk}")
    start = mark(bed)
    # The reset comes from within, as a slow host must not make the driver's own timeout of 30 s come first.
    reset = (f"until dmesg | grep -q '{WEDGED}: fenced'; do sleep 0.1; done; "
             f"echo 1 > /sys/bus/pci/devices/{WEDGED}/reset; sleep 1; pkill -TERM verify-io")
    with bed.start(f"{VERIFY} read /dev/nvme0n1 1 100") as wedged, \
            bed.start(f"{VERIFY} read /dev/nvme1n1 1 100") as healthy, bed.start(reset):
        bed.wedge("nvme0", "until-reset")
        with bed.qmp() as qmp:
            stands, seen, blamed = standstill(qmp)
        said = [readers.communicate(timeout=120)[0] for readers in (wedged, healthy)]
    check(healthy.returncode == 0 and wedged.returncode == 0, f"the readers failed: {said}")
    # The flush of the wedged disk itself does return: the kernel has stopped the disk.
    done = [flushes(command for command in commands if command[1] != blamed) for commands in seen]
    check(any(done), f"nobody waits behind the wedged disk, so this shows nothing: {seen[-1]}")
    # Who waits keeps his CPU to himself, so more flushes than CPUs are flushes that have returned.
    check(max(max(each.values(), default=0) for each in done) <= CPUS,
          f"flushes have returned while the queue stood still for {blamed}: {done[-1]} of {seen[-1]}")
    check(not dmesg(bed, f"{HEALTHY}: fenced", start), "the disk that is not to blame was fenced")
    check(dmesg(bed, f"{WEDGED}: fenced: the IOMMU did not say", start), "no fence, or for another reason")
    check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set after the reset")
    lines = dmesg(bed, "smmuv3|fence", start)
    check(len([line for line in lines if re.search("CMD_SYNC timeout", line)]) == 1,
          f"others than the one whose device it is have given up: {lines}")
    # Printed by one who has waited for a second, which is when others used to give up.
    check(dmesg(bed, f"CMDQ held up at {stands:#010x}", start), f"no word about {stands:#010x}: {lines}")
    check(len(lines) <= 8, f"that is to be a handful of lines, not {len(lines)}: {lines}")
