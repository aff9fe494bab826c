# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated machine does not do what kernels would be blamed for."""

from testbed.guest import WITHOUT_DAEMON, pci, unbind
from testbed.scenario import check

CPUS = 6  # more than most machines have that run this: a CPU is to be stopped anywhere, by its host
SECONDS = 15
BED = {"kernel": "patched", "devices": "nvme:2", "smp": CPUS, "append": WITHOUT_DAEMON}

# Reads a register whose value is always the same (NVMe: VS), on a CPU of its own.
READ = """
import ctypes, mmap, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
registers = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)
version = ctypes.c_uint32.from_buffer(registers, 8)
right, reads, wrong, end = version.value, 0, set(), time.monotonic() + int(sys.argv[3])
while time.monotonic() < end:
    for _ in range(500):
        found = version.value
        if found != right:
            wrong.add(hex(found))
    reads += 500
print(hex(right), reads, *sorted(wrong))
"""
# Switches a device's Memory Space and Bus Master Enable off and on.
MOVE = """
import os, sys, time
os.sched_setaffinity(0, {0})
config, moves, end = os.open(sys.argv[1], os.O_RDWR), 0, time.monotonic() + int(sys.argv[2])
while time.monotonic() < end:
    os.pwrite(config, bytes([0, 0]), 4)
    os.pwrite(config, bytes([6, 0]), 4)
    moves += 1
print(moves)
"""


def test_registers_stay_where_they_are(bed):
    """CPUs that read a register get it, and no other, while the BARs of another device come and go"""
    moved, read = (bed.device(name)["address"] for name in ("nvme0", "nvme1"))
    for address in (moved, read):
        check(unbind(bed, address), "unbinding failed")
        bed.text(f"setpci -s {address} COMMAND=6:6")
    bed.run("cat > /run/read.py", stdin=READ)
    bed.run("cat > /run/move.py", stdin=MOVE)
    mover = bed.start(f"python3 /run/move.py {pci(moved, 'config')} {SECONDS}")
    readers = [bed.start(f"python3 /run/read.py {pci(read, 'resource0')} {cpu} {SECONDS}") for cpu in range(1, CPUS)]
    moves = mover.communicate(timeout=120)[0].strip()
    said = [each.communicate(timeout=120)[0].strip() for each in readers]
    check(moves.isdigit() and int(moves) > 0, f"the mover: {moves}")
    for each in said:
        words = each.split()
        # 0x10400: NVM Express 1.4, what QEMU's controller says it is
        check(len(words) == 2 and words[0] == "0x10400" and int(words[1]) > 0, f"one of {len(said)} readers: {each}")
