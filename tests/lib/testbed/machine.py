# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test bed is made of: QEMU's arguments for the machine and its devices.

The guest's own disk and network card sit on virtio-mmio, away from the SMMU: whatever happens behind the SMMU,
the bed stays reachable. Each device under test has a root port of its own, so the first is 0000:01:00.0, the
second 0000:02:00.0 and so on, and its stream ID is its requester ID (0x100, 0x200, …).
"""

import re
from pathlib import Path

from workshop.ui import Failure

VIRTIO = "iommu_platform=on,ats=on,disable-legacy=on"

# kind: (QEMU's arguments, needs a disk, needs a network)
KINDS = {
    "nvme": ("nvme,ats=on,serial={id},drive={id}", True, False),
    "virtio-blk": (f"virtio-blk-pci,{VIRTIO},drive={{id}}", True, False),
    "virtio-net": (f"virtio-net-pci,{VIRTIO},romfile=,netdev={{id}},mac={{mac}}", False, True),
    "e1000e": ("e1000e,ats=on,romfile=,netdev={id},mac={mac}", False, True),
    "igb": ("igb,ats=on,romfile=,netdev={id},mac={mac}", False, True),
}
DISK_SIZE = 64 << 20
FIRST_NET = 3  # 10.0.2.0/24 is the way in; devices get 10.0.3.0/24 and up


class Device:
    def __init__(self, kind, number, port, net):
        self.kind, self.port, self.net = kind, port, net
        self.id = f"{kind}{number}"
        self.address = f"0000:{port:02x}:00.0"
        self.qom = f"/machine/peripheral/{self.id}"

    def describe(self):
        return {"id": self.id, "kind": self.kind, "address": self.address, "qom": self.qom,
                "net": f"10.0.{self.net}.0/24" if self.net else None}

    def arguments(self, state):
        line, disk, net = KINDS[self.kind]
        mac = f"52:54:00:00:{self.net or 0:02x}:01"
        made = []
        if disk:
            path = Path(state, f"{self.id}.img")
            with open(path, "wb") as file:
                file.truncate(DISK_SIZE)
            made += ["-drive", f"if=none,id={self.id},file={path},format=raw,cache=unsafe"]
        if net:
            # No IPv6: QEMU's router advertisements would make the card the default route, which smmu-rasd protects.
            made += ["-netdev", f"user,id={self.id},net=10.0.{self.net}.0/24,ipv6=off,restrict=on"]
        made += ["-device", f"pcie-root-port,id=port{self.port},bus=pcie.0,chassis={self.port},slot={self.port}",
                 "-device", line.format(id=self.id, mac=mac) + f",id={self.id},bus=port{self.port}"]
        return made


def devices(text):
    """Parses --devices: kinds separated by commas, each with an optional `:count`."""
    made, numbers, net = [], {}, FIRST_NET
    for item in filter(None, text.split(",")):
        kind, _, count = item.partition(":")
        if kind not in KINDS or not re.fullmatch(r"[1-9][0-9]?|", count):
            raise Failure(f"no such device: {item} (known: {', '.join(KINDS)}; `nvme:2` makes two)")
        for _ in range(int(count or 1)):
            number = numbers.get(kind, 0)
            numbers[kind] = number + 1
            made.append(Device(kind, number, len(made) + 1, net if KINDS[kind][2] else None))
            net += 1 if KINDS[kind][2] else 0
    return made


def command(qemu, kernel, disk, state, smp, memory, beds, append, atc_timeout, icount=False):
    line = ["console=ttyAMA0", "root=/dev/vda", "rw", "panic=-1", "systemd.show_status=0",
            "systemd.log_target=kmsg", "systemd.log_level=warning", "systemd.default_standard_output=journal", *append]
    arguments = [
        str(qemu), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-name", f"smmu-ras-testbed-{Path(state).name}",
        "-machine", "virt,gic-version=3,iommu=smmuv3", "-global", "arm-smmuv3.ats=on",
        "-global", f"arm-smmuv3.atc-timeout-ms={atc_timeout}", "-cpu", "cortex-a72",
        # With icount the guest's clock counts its instructions: what it does then depends on nothing else.
        *(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"] if icount else
          ["-accel", "tcg,thread=multi"]), "-smp", str(smp), "-m", str(memory),
        "-chardev", f"file,id=console,path={state}/console.log", "-serial", "chardev:console",
        "-qmp", f"unix:{state}/qmp.sock,server=on,wait=off",
        "-kernel", str(kernel), "-append", " ".join(line),
        # snapshot=on: writes go to an unlinked temporary file, and the image stays as it was built.
        "-drive", f"if=none,id=root,file={disk},format=raw,snapshot=on,cache=unsafe",
        "-device", "virtio-blk-device,drive=root",
        "-netdev", "user,id=way-in,net=10.0.2.0/24,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:0-:22",
        "-device", "virtio-net-device,netdev=way-in,mac=52:54:00:00:02:01",
        "-device", "virtio-rng-device",
    ]
    for device in beds:
        arguments += device.arguments(state)
    return arguments
