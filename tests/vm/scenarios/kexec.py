# SPDX-License-Identifier: GPL-2.0-or-later
"""Another kernel by kexec, with a wedged device: its ATC survives, and neither kernel lets it reach memory by that."""

import subprocess
from pathlib import Path

from testbed.guest import (VERIFY, WITHOUT_DAEMON, address, bind, disk, driver, fenced, not_active, pci, reads,
                           wait_fenced, wait_told, write)
from testbed.scenario import check, dmesg, mark, wait_for

# MSIs as SPIs, of a GICv2: a GICv3 goes on using the old kernel's tables of LPIs, and without EFI the new kernel does not
# know where they are. No MSIs at all is worse: QEMU's NVMe drives keep INTx asserted under I/O of several readers, on
# healthy drives and stock Linux too (200,000 interrupts for 2,300 reads), and a slow CPU does nothing else then.
BED = {"kernel": "patched", "devices": "nvme:2,virtio-blk:2,virtio-net", "append": WITHOUT_DAEMON, "gic": 2}
FENCED, UNNOTICED, HEALTHY, CARD = ("nvme0", "virtio-blk0"), "nvme1", "virtio-blk1", "virtio-net0"
WEDGED = (*FENCED, UNNOTICED, CARD)
PING = "ping -c 2 -i 0.2 -W 1 10.0.3.2"

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


def under_io(bed, device):
    """Starts readers on each CPU: one that has requests cannot be taken offline, as kexec does."""
    name = disk(bed, device)
    before = reads(bed, name)
    for cpu in (0, 1):
        bed.text(f"taskset -c {cpu} {VERIFY} read {name} 4 300 >/dev/null 2>&1 </dev/null &")
    wait_for("all of them to read", lambda: reads(bed, name) > before + 50)


def test_wedged_before_another_kernel(bed):
    """With disks fenced under I/O and one wedged unnoticed, another kernel starts, and nothing is overwritten meanwhile"""
    for device in (*FENCED, UNNOTICED, HEALTHY):
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 2 1")
    # Before anything waits for a fenced disk: the kernel complains of who has to wait for two minutes.
    with Path(bed.state["image"]).open("rb") as image:
        subprocess.run(bed.ssh_command(["cat > /run/Image"]), stdin=image, check=True)
    bed.text("cat > /run/kexec.py", stdin=KEXEC)
    start = mark(bed)
    for device in FENCED:
        under_io(bed, device)
        bed.wedge(device, "until-reset")
        wait_fenced(bed, device, start)
        wait_told(bed, address(bed, device))
    bed.wedge(CARD, "until-reset")
    bed.run(PING, check=False)
    wait_fenced(bed, CARD, start)
    for device in (*FENCED, CARD):
        check(bed.stale(device) > 0, f"{device} has no stale translation, so this test shows nothing")
    bed.wedge(UNNOTICED, "until-reset")
    under_io(bed, HEALTHY)
    overwritten = 0

    def scribble():
        nonlocal overwritten
        overwritten += sum(bed.scribble(device)[0] for device in (*FENCED, CARD))

    bed.restarting("python3 /run/kexec.py", scribble)
    check(overwritten == 0, f"{overwritten} pages were overwritten")
    for device in WEDGED:
        check(bed.hardware(device) == "until-reset", f"something has reset {device}")


def test_fenced_anew(bed):
    """The new kernel finds each of them out when it first attaches them, and binds no driver to it"""
    for device in WEDGED:
        check(address(bed, device) in fenced(bed), f"{device} was not fenced: {fenced(bed)}")
        check(driver(bed, address(bed, device)) == "", f"{device} has a driver")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
        overwritten, _ = bed.scribble(device)
        check(overwritten == 0, f"{overwritten} pages overwritten")
    check(not_active(bed) == {address(bed, device): "fenced" for device in WEDGED}, f"{not_active(bed)}")
    said = dmesg(bed, "smmuv3.*(error|timeout)|(?<!k)fence")
    check(len(said) <= 16, str(said))


def test_reset_and_bind(bed):
    """A reset and a bind get them back, with what was written to them before"""
    for device in WEDGED:
        check(write(bed, 1, pci(address(bed, device), "reset")), "the reset failed")
        check(bind(bed, address(bed, device), "nvme" if device.startswith("nvme") else "virtio-pci"), "binding failed")
        check(bed.stream(device)["eats"] == 1, "STE.EATS is not set")
        if device == CARD:
            wait_for("the network", lambda: bed.run(PING, check=False).returncode == 0)
        else:
            bed.text(f"{VERIFY} read {disk(bed, device)} 2 1")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
