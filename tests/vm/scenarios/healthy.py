# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is wrong, and nobody notices the series: also what each patch on its own has to pass."""

from testbed.scenario import check, dmesg

BED = {"kernel": "patched", "devices": "nvme,virtio-net"}
VERIFY = "/usr/local/lib/testbed/verify-io"


def test_devices_work(bed):
    """With ATS on, a disk and a network card do their work, reset and bind, and the SMMU has nothing to say"""
    bed.text("systemctl stop smmu-rasd")
    for round_ in range(2):
        bed.text(f"{VERIFY} fill /dev/nvme0n1 && {VERIFY} read /dev/nvme0n1 2 2")
        bed.text("ping -c 3 -i 0.2 -W 5 -p a5c3 10.0.3.2")
        for device in ("nvme0", "virtio-net0"):
            stream = bed.stream(device)
            check(stream["eats"] == 1 and stream["inv"] > 0 and stream["timeouts"] == 0, f"{device}: {stream}")
        if not round_:
            bed.text("echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset")
            bed.text("cd /sys/bus/pci/drivers/virtio-pci && echo 0000:02:00.0 > unbind && "
                     "echo 1 > ../../devices/0000:02:00.0/reset && echo 0000:02:00.0 > bind")
            bed.text("for i in $(seq 100); do ping -c 1 -W 1 10.0.3.2 && exit; sleep 0.2; done; exit 1")
    said = dmesg(bed, "CMDQ|CMD_SYNC|smmuv3: event|(?<!k)fence")  # KFENCE is somebody else
    check(not said, str(said))
