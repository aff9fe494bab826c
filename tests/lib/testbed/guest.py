# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenarios without smmu-rasd do inside a machine: sysfs, the kernel's words about fences, readers that verify."""

import contextlib
import json
import re

from .scenario import check, dmesg, wait_for

VERIFY = "/usr/local/lib/testbed/verify-io"
WITHOUT_DAEMON = ("systemd.mask=smmu-rasd.service",)  # for BED's `append`


def address(bed, device):
    return bed.device(device)["address"]


def pci(device, attribute=""):
    return f"/sys/bus/pci/devices/{device}/{attribute}"


def write(bed, value, path, timeout=120):
    """Whether a write to sysfs succeeds."""
    return bed.run(f"echo {value} > {path}", check=False, timeout=timeout).returncode == 0


def driver(bed, where):
    return bed.text(f"readlink {pci(where, 'driver')} || true").rpartition("/")[2]


def bind(bed, where, name):
    return write(bed, where, f"/sys/bus/pci/drivers/{name}/bind")


def unbind(bed, where):
    return write(bed, where, pci(where, "driver/unbind"))


def port_of(bed, where):
    """The port that a device is behind."""
    return bed.text(f"basename $(dirname $(readlink -f {pci(where)}))")


def group(bed, where):
    """The folder of a device's IOMMU group."""
    return bed.text(f"readlink -f {pci(where, 'iommu_group')}")


def disk(bed, device, timeout=30):
    """The block device of an NVMe controller, which are numbered in the order in which they were ready, or a virtio disk."""
    where = address(bed, device)
    return "/dev/" + wait_for(f"the disk of {device}", lambda: bed.text(
        f"ls {pci(where, 'nvme')}/nvme*/ {pci(where, 'virtio*/block')} 2>/dev/null | "
        "grep -xE 'nvme[0-9]*n1|vd[a-z]+' || true"), timeout)


def reads(bed, name):
    """How many reads a block device has completed."""
    return int(bed.text(f"cat /sys/class/block/{name.removeprefix('/dev/')}/stat").split()[0])


def wait_told(bed, where):
    """Waits until a driver has been told of the fence, and not only keeps quiet: it has switched the device off."""
    wait_for("the driver to switch the device off", lambda: bed.text(f"cat {pci(where, 'enable')}") == "0")


def fenced(bed, since=None):
    """The addresses of the devices that the kernel has fenced: as often as it said so."""
    return [re.search(r"([0-9a-f:.]+): fenced: ", line)[1]
            for line in dmesg(bed, r": fenced: .*; DMA is blocked", since)]


def unfenced(bed, since=None):
    return [re.search(r"([0-9a-f:.]+): unfenced", line)[1] for line in dmesg(bed, ": unfenced", since)]


def wait_fenced(bed, device, since):
    wait_for(f"the fence of {device}", lambda: address(bed, device) in fenced(bed, since))
    check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")


def not_active(bed):
    """The devices that the kernel itself, asked over netlink, does not call active: {address: state}."""
    return {each["device"]: each["state"] for each in json.loads(bed.text("smmu-rasctl list --json"))["devices"]}


def provoke(bed, device, mode="until-reset"):
    """Wedges a disk and has it found out by a read of its own, which it does not wait for."""
    name = disk(bed, device)
    bed.wedge(device, mode)
    bed.text(f"dd if={name} of=/dev/null bs=64k count=4 iflag=direct status=none >/dev/null 2>&1 </dev/null &")


@contextlib.contextmanager
def readers(bed, *devices, threads=1):
    """Readers of these disks, each byte verified, for the length of a `with` block. Afterwards none has failed."""
    names = {device: disk(bed, device) for device in devices}
    bed.text(" && ".join(f"{VERIFY} fill {name}" for name in names.values()))
    started = {device: bed.start(f"exec {VERIFY} read {name} {threads} 300") for device, name in names.items()}
    try:
        yield
        # One more second of I/O for each, with everything as the block has left it.
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = {device: process.communicate(timeout=60)[0] for device, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    for device, process in started.items():
        check(process.returncode == 0, f"the readers of {device} failed: {said[device]}")


def progress(bed, device):
    """Whether a healthy device is still sent invalidations and answers them, which takes I/O that ends."""
    before = bed.stream(device)
    wait_for(f"I/O of {device}", lambda: bed.stream(device)["inv"] >= before["inv"] + 5)
    check(bed.stream(device)["timeouts"] == before["timeouts"], f"{device} is said not to have answered")


def counters(bed):
    """The SMMU's own books: command queue errors and ATC invalidations that were not answered."""
    with bed.qmp() as qmp:
        return {name: qmp.command("qom-get", path="/machine/smmuv3", property=name)
                for name in ("cmdq-errors", "atc-inv-count", "atc-inv-timeouts")}
