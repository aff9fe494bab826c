# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test bed is made of: QEMU's arguments for the machine and its devices.

The guest's own disk and network card sit on virtio-mmio, away from the SMMU: whatever happens behind the SMMU,
the bed stays reachable. Each device under test has a root port of its own, so the first is 0000:01:00.0, the
second 0000:02:00.0 and so on, and its stream ID is its requester ID (0x100, 0x200, …). devices() knows forms with more
than one device below a port; a switch or a bridge takes bus numbers of its own.
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
    "ats-test": ("pci-ats-test", False, False),
    "ats-test-pf": ("pci-ats-test,vfs=8", False, False),
    # Test functions that Linux treats in its own way (drivers/pci/quirks.c), and so not with their driver by itself
    "ats-test-af": ("pci-ats-test,af-flr=on", False, False),
    "ats-test-quirk": ("pci-ats-test,vendor-id=0x8086,device-id=0x10ed", False, False),
    "ats-test-ghost": ("pci-ats-test,vendor-id=0x1b4b,device-id=0x9123,ghost=1", False, False),
    "ats-test-alias": ("pci-ats-test,vendor-id=0x6766,device-id=0x3d40", False, False),
}
# Whose virtual functions can be wedged: QEMU's type of them, the first one's offset and the stride
VIRTUAL_FUNCTIONS = {"igb": ("igbvf", 0x80, 2), "ats-test-pf": ("pci-ats-test-vf", 0x80, 1)}
PORTS = {"dpc": ",dpc=on", "fixed": ",hotplug=off", "cxl": ",cxl-port=on,hotplug=off"}  # what a form can begin with
DISK_SIZE = 64 << 20
FIRST_NET = 3  # 10.0.2.0/24 is the way in; devices get 10.0.3.0/24 and up


class Device:
    """One function behind the SMMU. `bus` is QEMU's name of the bus it is on, `number` the guest's number of that bus."""

    def __init__(self, kind, count, bus, number, function=0, of=1, net=None, ats=True):
        self.kind, self.bus, self.net, self.ats = kind, bus, net, ats
        self.function, self.of = function, of
        self.id = f"{kind}{count}"
        self.address = f"0000:{number:02x}:00.{function}" if ats else f"0000:{number:02x}:{function + 1:02x}.0"
        self.qom = f"/machine/peripheral/{self.id}"

    def describe(self):
        return {"id": self.id, "kind": self.kind, "address": self.address, "qom": self.qom, "slot": self.bus,
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
        line = line.format(id=self.id, mac=mac) + f",id={self.id},bus={self.bus}"
        if not self.ats:  # conventional PCI has no place for the capability, and slot 0 of the bridge is its own
            line = line.replace(",ats=on", "") + f",addr={self.function + 1}.0"
        elif self.of > 1:
            line += f",addr=0.{self.function},multifunction=on"
        return [*made, "-device", line]


class Bridge:
    """Something between a root port and the devices. It is no device under test, and has no ATS."""

    def __init__(self, line):
        self.line = line

    def arguments(self, _):
        return ["-device", self.line]


def times(text):
    """`nvme*3` is three of them."""
    kind, _, count = text.partition("*")
    return [kind] * int(count or 1)


class Builder:
    """Gives devices and buses their names and numbers, in the order in which Linux will number the buses."""

    def __init__(self):
        self.made, self.counts, self.ports, self.buses, self.net = [], {}, 0, 0, FIRST_NET

    def bridge(self, line):
        self.made.append(Bridge(line))
        self.buses += 1
        return self.buses

    def device(self, kind, bus, number, function=0, of=1, ats=True):
        if kind not in KINDS:
            raise Failure(f"no such device: {kind} (known: {', '.join(KINDS)})")
        count = self.counts.get(kind, 0)
        self.counts[kind] = count + 1
        net = self.net if KINDS[kind][2] else None
        self.net += 1 if net else 0
        self.made.append(Device(kind, count, bus, number, function, of, net, ats))

    def functions(self, kinds, bus, number):
        """`nvme`, or `nvme+virtio-net`: one device with two functions."""
        kinds = [kind for each in kinds.split("+") for kind in times(each)]
        for function, kind in enumerate(kinds):
            self.device(kind, bus, number, function, len(kinds))

    def port(self, form):
        self.ports += 1
        name = f"port{self.ports}"
        form, *below = form.split("/")
        kind = ""
        if form in PORTS:
            kind, (form, *below) = PORTS[form], below or [""]
        number = self.bridge(f"pcie-root-port,id={name},bus=pcie.0,chassis={self.ports},slot={self.ports}{kind}")
        if form == "switch":
            up = f"{name}up"
            self.bridge(f"x3130-upstream,id={up},bus={name}")
            for index, kinds in enumerate(below):
                down = f"{name}down{index}"
                number = self.bridge(f"xio3130-downstream,id={down},bus={up},addr={index}.0,chassis={self.ports},"
                                     f"slot={100 + index}")
                self.functions(kinds, down, number)
        elif form == "group":
            self.bridge(f"x3130-upstream,id={name}up,bus={name}")
            self.bridge(f"xio3130-downstream,id={name}down,bus={name}up,chassis={self.ports},slot=99")
            self.bridge(f"x3130-upstream,id={name}up2,bus={name}down")
            for index, kinds in enumerate(below):
                number = self.bridge(f"xio3130-downstream,id={name}down{index},bus={name}up2,addr={index}.0,"
                                     f"chassis={self.ports},slot={100 + index}")
                self.functions(kinds, f"{name}down{index}", number)
        elif form == "bridge":
            number = self.bridge(f"pcie-pci-bridge,id={name}bridge,bus={name}")
            for index, kind in enumerate(below):
                self.device(kind, f"{name}bridge", number, index, ats=False)
        else:
            self.functions(form, name, number)


def devices(text):
    """Parses --devices. Forms separated by commas, each with an optional `:count`, each on a root port of its own:

    nvme               one device
    ats-test*8         one device with eight functions
    nvme+virtio-net    one device with several functions; without ACS they share an IOMMU group, and so a domain
    switch/nvme/nvme   devices below a switch without ACS; each shares an IOMMU group with the port above it
    group/nvme/nvme    devices below a switch that is below a switch without ACS: all share one IOMMU group
    bridge/virtio-net  conventional PCI behind a bridge: no ATS, and an alias of the bridge
    dpc/nvme           any of these, and the root port has Downstream Port Containment
    fixed/nvme         any of these, and the root port has no hot-plug slot
    cxl/nvme           any of these, and the root port is that of a CXL link, without a hot-plug slot

    Some test functions are told apart by Linux: ats-test-af has the FLR of conventional PCI, ats-test-quirk a reset
    method of its own, and ats-test-ghost a second requester ID that is no function's; function 1 of `ats-test-alias*2`
    uses the requester ID of function 0 as well.
    """
    builder = Builder()
    for item in filter(None, text.split(",")):
        form, _, count = item.partition(":")
        if not re.fullmatch(r"[a-z0-9/+*-]+", form) or not re.fullmatch(r"[1-9][0-9]?|", count):
            raise Failure(f"no such device: {item} (known: {', '.join(KINDS)}; `nvme:2` makes two, `nvme+nvme` one "
                          "with two functions, `switch/nvme/nvme` and `bridge/virtio-net` put them behind something)")
        for _ in range(int(count or 1)):
            builder.port(form)
    return builder.made


def command(qemu, kernel, disk, state, smp, memory, beds, append, atc_timeout, icount=False, gic=3):
    # pcie_port_pm=off: QEMU's ports have no PME to wake them when something is plugged in.
    line = ["console=ttyAMA0", "root=/dev/vda", "rw", "pcie_port_pm=off", "panic=-1", "systemd.show_status=0",
            "systemd.log_target=kmsg", "systemd.log_level=warning", "systemd.default_standard_output=journal", *append]
    arguments = [
        str(qemu), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-name", f"smmu-ras-testbed-{Path(state).name}",
        "-machine", f"virt,gic-version={gic},iommu=smmuv3", "-global", "arm-smmuv3.ats=on",
        "-global", f"arm-smmuv3.atc-timeout-ms={atc_timeout}", "-global", "arm-smmuv3.ssidsize=8",
        "-cpu", "cortex-a72",
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
