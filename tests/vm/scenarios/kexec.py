# SPDX-License-Identifier: GPL-2.0-or-later
"""Another kernel by kexec, with a wedged device: its ATC survives, and neither kernel lets it reach memory by that."""

import subprocess
from pathlib import Path

from testbed.guest import (VERIFY, WITHOUT_DAEMON, bind, disk, driver, fenced, not_active, pci, provoke,
                           wait_fenced, write)
from testbed.scenario import check, dmesg, mark

# No LPIs: the GIC goes on using the old kernel's tables for them, and without EFI the new one does not know where.
BED = {"kernel": "patched", "devices": "nvme:2", "append": (*WITHOUT_DAEMON, "irqchip.gicv3_nolpi=1")}
# With LPIs off the disks use INTx. QEMU's keep theirs asserted under I/O of several readers, on healthy disks and on stock
# Linux too: 200,000 interrupts for 2,300 reads, "nobody cared" after that. It has nothing to do with fences.
EXPECTED = ("Call trace",)
FENCED, UNNOTICED = "nvme0", "nvme1"

# What kexec-tools would do, in two system calls: kexec_file_load() without an initramfs, and reboot().
KEXEC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
line = open("/proc/cmdline").read().strip().encode() + b"\\0"
def call(*arguments):
    if libc.syscall(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
call(294, os.open("/run/Image", os.O_RDONLY), -1, ctypes.c_ulong(len(line)), line, ctypes.c_ulong(4))
os.sync()
call(142, 0xfee1dead, 672274793, 0x45584543, None)
"""


def address(bed, device):
    return bed.device(device)["address"]


def test_wedged_before_another_kernel(bed):
    """With one disk fenced and one wedged unnoticed, another kernel starts, and nothing is overwritten meanwhile"""
    for device in (FENCED, UNNOTICED):
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 2 1")
    start = mark(bed)
    provoke(bed, FENCED)
    wait_fenced(bed, FENCED, start)
    check(bed.stale(FENCED) > 0, "there is no stale translation, so this test shows nothing")
    bed.wedge(UNNOTICED, "until-reset")
    with Path(bed.state["image"]).open("rb") as image:
        subprocess.run(bed.ssh_command(["cat > /run/Image"]), stdin=image, check=True)
    bed.text("cat > /run/kexec.py", stdin=KEXEC)
    overwritten = 0

    def scribble():
        nonlocal overwritten
        overwritten += sum(bed.scribble(device)[0] for device in (FENCED,))

    bed.restarting("python3 /run/kexec.py", scribble)
    check(overwritten == 0, f"{overwritten} pages were overwritten")
    check(bed.hardware(FENCED) == "until-reset" and bed.hardware(UNNOTICED) == "until-reset", "something has reset them")


def test_fenced_anew(bed):
    """The new kernel finds both of them out when it first attaches them, and binds no driver to them"""
    for device in (FENCED, UNNOTICED):
        check(address(bed, device) in fenced(bed), f"{device} was not fenced: {fenced(bed)}")
        check(driver(bed, address(bed, device)) == "", f"{device} has a driver")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
        overwritten, _ = bed.scribble(device)
        check(overwritten == 0, f"{overwritten} pages overwritten")
    check(not_active(bed) == {address(bed, device): "fenced" for device in (FENCED, UNNOTICED)}, f"{not_active(bed)}")
    said = dmesg(bed, "smmuv3.*(error|timeout)|(?<!k)fence")
    check(len(said) <= 8, str(said))


def test_reset_and_bind(bed):
    """A reset and a bind get them back, with what was written to them before"""
    for device in (FENCED, UNNOTICED):
        check(write(bed, 1, pci(address(bed, device), "reset")), "the reset failed")
        check(bind(bed, address(bed, device), "nvme"), "binding failed")
        check(bed.stream(device)["eats"] == 1, "STE.EATS is not set")
        bed.text(f"{VERIFY} read {disk(bed, device)} 2 1")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
