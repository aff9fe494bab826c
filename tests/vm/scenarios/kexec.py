# SPDX-License-Identifier: GPL-2.0-or-later
"""Another kernel by kexec, with a wedged device: its ATC survives, and neither kernel lets it reach memory by that."""

import subprocess
from pathlib import Path

from testbed.guest import (VERIFY, WITHOUT_DAEMON, bind, disk, driver, fenced, not_active, pci, wait_fenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

# MSIs as SPIs, of a GICv2: a GICv3 goes on using the old kernel's tables of LPIs, and without EFI the new kernel does not
# know where they are. No MSIs at all is worse: QEMU's NVMe drives keep INTx asserted under I/O of several readers, on
# healthy drives and stock Linux too (200,000 interrupts for 2,300 reads), and a slow CPU does nothing else then.
BED = {"kernel": "patched", "devices": "nvme:2,virtio-blk", "append": WITHOUT_DAEMON, "gic": 2}
FENCED, UNNOTICED = ("nvme0", "virtio-blk0"), ("nvme1",)
DRIVERS = {"nvme0": "nvme", "nvme1": "nvme", "virtio-blk0": "virtio-pci"}

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


def block(bed, device):
    """The disk of either kind of device."""
    if DRIVERS[device] == "nvme":
        return disk(bed, device)
    return "/dev/" + wait_for("the disk", lambda: bed.text(
        f"ls {pci(address(bed, device), 'virtio*/block')} 2>/dev/null || true"))


def test_wedged_before_another_kernel(bed):
    """With two disks fenced under I/O and one wedged unnoticed, another kernel starts, and nothing is overwritten meanwhile"""
    for device in FENCED + UNNOTICED:
        bed.text(f"{VERIFY} fill {block(bed, device)} && {VERIFY} read {block(bed, device)} 2 1")
    start = mark(bed)
    for device in FENCED:
        # On each CPU some, whose requests wait for a reset: a CPU that has requests cannot be taken offline, as kexec does.
        for cpu in (0, 1):
            bed.text(f"taskset -c {cpu} {VERIFY} read {block(bed, device)} 4 300 >/dev/null 2>&1 </dev/null &")
        bed.wedge(device, "until-reset")
    for device in FENCED:
        wait_fenced(bed, device, start)
        wait_for("the driver to switch the device off",
                 lambda name=address(bed, device): bed.text(f"cat {pci(name, 'enable')}") == "0")
        check(bed.stale(device) > 0, f"{device} has no stale translation, so this test shows nothing")
    for device in UNNOTICED:
        bed.wedge(device, "until-reset")
    with Path(bed.state["image"]).open("rb") as image:
        subprocess.run(bed.ssh_command(["cat > /run/Image"]), stdin=image, check=True)
    bed.text("cat > /run/kexec.py", stdin=KEXEC)
    overwritten = 0

    def scribble():
        nonlocal overwritten
        overwritten += sum(bed.scribble(device)[0] for device in FENCED)

    bed.restarting("python3 /run/kexec.py", scribble)
    check(overwritten == 0, f"{overwritten} pages were overwritten")
    for device in FENCED + UNNOTICED:
        check(bed.hardware(device) == "until-reset", f"something has reset {device}")


def test_fenced_anew(bed):
    """The new kernel finds each of them out when it first attaches them, and binds no driver to it"""
    for device in FENCED + UNNOTICED:
        check(address(bed, device) in fenced(bed), f"{device} was not fenced: {fenced(bed)}")
        check(driver(bed, address(bed, device)) == "", f"{device} has a driver")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
        overwritten, _ = bed.scribble(device)
        check(overwritten == 0, f"{overwritten} pages overwritten")
    check(not_active(bed) == {address(bed, device): "fenced" for device in FENCED + UNNOTICED}, f"{not_active(bed)}")
    said = dmesg(bed, "smmuv3.*(error|timeout)|(?<!k)fence")
    check(len(said) <= 12, str(said))


def test_reset_and_bind(bed):
    """A reset and a bind get them back, with what was written to them before"""
    for device in FENCED + UNNOTICED:
        check(write(bed, 1, pci(address(bed, device), "reset")), "the reset failed")
        check(bind(bed, address(bed, device), DRIVERS[device]), "binding failed")
        check(bed.stream(device)["eats"] == 1, "STE.EATS is not set")
        bed.text(f"{VERIFY} read {block(bed, device)} 2 1")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
