# SPDX-License-Identifier: GPL-2.0-or-later
"""How smmu-rasctl finds what people mean."""

import os

from lib.bench import DEV, check, test
from lib.machine import add_disk

CARD = "0000:02:00.0"


def link(b, name, target):
    path = f"{b.kernel.sys}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(f"{b.kernel.sys}/{target}", path)


def machine(b):
    disk = b.kernel.add(DEV, driver="nvme")
    card = b.kernel.add(CARD, driver="mlx5_core")
    add_disk(b, disk, "nvme0n1", "259:0")
    os.makedirs(f"{disk.path}/virtio0/block/nvme0n1/nvme0n1p1")
    link(b, "class/block/nvme0n1p1", f"devices/pci0000:00/{DEV}/virtio0/block/nvme0n1/nvme0n1p1")
    for name in ("net/eth0", "infiniband/mlx5_0"):
        os.makedirs(f"{card.path}/{name}")
        link(b, f"class/{name}", f"devices/pci0000:00/{CARD}/{name}")
    os.makedirs(f"{b.kernel.sys}/bus/pci/slots/bay-7")
    with open(f"{b.kernel.sys}/bus/pci/slots/bay-7/address", "w") as f:
        f.write("0000:02:00\n")
    # A volume on the disk.
    os.makedirs(f"{b.kernel.sys}/devices/virtual/block/dm-0/slaves/nvme0n1p1")
    link(b, "class/block/dm-0", "devices/virtual/block/dm-0")


@test
def devices_by_the_names_that_people_have(b):
    machine(b)
    for name in (
        "01:00.0",
        "/sys/bus/pci/devices/0000:01:00.0/",
        "nvme0n1",
        "/dev/nvme0n1",
        "nvme0n1p1",
        "/sys/class/block/nvme0n1p1",
        "dm-0",
        "/dev/dm-0",
    ):
        check(b.ctl("show", name).stdout.startswith(DEV), f"{name} is {DEV}")
    for name in ("2:0.0", "eth0", "/sys/class/net/eth0", "mlx5_0", "bay-7"):
        check(b.ctl("show", name).stdout.startswith(CARD), f"{name} is {CARD}")


@test
def what_is_mistyped_gets_a_suggestion(b):
    machine(b)
    for args, status, words in (
        (["show", "nvme0n2"], 4, "did you mean nvme0n1"),
        (["show", "0000:02:00.1"], 4, "did you mean 0000:02:00.0"),
        (["show", "eht0"], 4, "did you mean eth0"),
        (["show", "something-else"], 4, "lspci -D"),
        (["show", ""], 2, "cannot be"),
        (["lits"], 2, 'did you mean "list"'),
        (["recvoer", DEV], 2, 'did you mean "recover"'),
        ([DEV], 2, f"smmu-rasctl show {DEV}"),
        (["list", DEV], 2, f"smmu-rasctl show {DEV}"),
        (["policy", "chekc"], 2, "policy check"),
        (["show", DEV, "--force"], 2, "no option --force"),
        (["--json=nice"], 2, "pretty, short or off"),
    ):
        error = b.ctl(*args, status=status).stderr
        check(words in error, f"{args}: {error}")


@test
def every_verb_has_help(b):
    for verb in b.ctl("--help").stdout.splitlines():
        if verb.startswith("  ") and verb[2:3].islower() and verb[2] != "-":
            name = verb.split()[0]
            check(f"Usage: smmu-rasctl {name}" in b.ctl(name, "--help").stdout, name)
