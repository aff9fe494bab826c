# SPDX-License-Identifier: GPL-2.0-or-later
"""The family iommu-ras as the kernel's own YNL client sees it, with nothing but the specification."""

import json
import subprocess
from pathlib import Path

from testbed.scenario import check, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-net"}
CARD = {"bus": "pci", "dev": "0000:01:00.0"}


def ynl(bed, *arguments):
    """What the client says: (whether it succeeded, its output)."""
    done = bed.run("cd /run/ynl && python3 pyynl/cli.py --spec iommu-ras.yaml --no-schema --output-json "
                   + " ".join(f"'{word}'" for word in arguments), check=False)
    return done.returncode == 0 and "error" not in done.stdout, done.stdout + done.stderr


def dump(bed):
    return json.loads(ynl(bed, "--dump", "device-get")[1])


def do(bed, operation, **attributes):
    return ynl(bed, "--do", operation, "--json", json.dumps(attributes))


def refused(bed, operation, expected, **attributes):
    ok, said = do(bed, operation, **attributes)
    check(not ok and expected in said, f"{operation} {attributes}: {said}")


def test_get(bed):
    """An unfenced device can be looked up and is not in the dump"""
    bed.text("systemctl stop smmu-rasd")
    image = Path(bed.state["image"])
    with subprocess.Popen(["tar", "c", "-C", image.parent, "ynl"], stdout=subprocess.PIPE) as tar:
        subprocess.run(bed.ssh_command(["tar x -m -C /run"]), stdin=tar.stdout, check=True)
    check(dump(bed) == [], "something is fenced")
    device = json.loads(do(bed, "device-get", **CARD)[1])
    check(device["state"] == "active" and device["driver"] == "virtio-pci" and device["stream-id"] == [0x100]
          and device["fence-count"] == 0 and "event-seq" not in device, str(device))


def test_errors_say_why(bed):
    """What cannot be done is refused with a reason"""
    refused(bed, "device-reattach", "the device is not fenced", **CARD)
    refused(bed, "device-get", "no such device", bus="pci", dev="0000:77:00.0")
    refused(bed, "device-get", "no such device", bus="nowhere", dev="0000:01:00.0")
    refused(bed, "device-get", "miss-type", bus="pci")
    refused(bed, "device-fence", "the device has no ATS", bus="pci", dev="0000:00:00.0")


def test_only_an_administrator_may_fence(bed):
    """Anybody may look, and only CAP_NET_ADMIN may fence"""
    command = "cd /run/ynl && setpriv --reuid=65534 --clear-groups --bounding-set=-all --inh-caps=-all " \
              "python3 pyynl/cli.py --spec iommu-ras.yaml --no-schema "
    check(bed.run(command + "--dump device-get", check=False).returncode == 0, "a dump is refused")
    said = bed.run(command + f"--do device-fence --json '{json.dumps(CARD)}'", check=False)
    check("not permitted" in said.stdout + said.stderr, said.stdout + said.stderr)
    check(dump(bed) == [], "it was fenced all the same")


def test_life_of_a_fence(bed):
    """Fence, reset, reattach: events without gaps, in order, and the state to go with them"""
    mark(bed)
    with bed.start("cd /run/ynl && exec timeout 900 python3 -u pyynl/cli.py --spec iommu-ras.yaml --no-schema "
                   "--output-json --subscribe events --duration 800") as listener:
        # A generic netlink socket that is a member of some group: nobody else is, with the daemon stopped.
        wait_for("its subscription", lambda: bed.run(
            "awk '$2 == 16 && $4 != \"00000000\"' /proc/net/netlink | grep -q .", check=False).returncode == 0)
        bed.text("echo 0000:01:00.0 > /sys/bus/pci/drivers/virtio-pci/unbind")
        check(do(bed, "device-fence", **CARD)[0], "fencing by hand failed")
        check(bed.stream("virtio-net0")["eats"] == 0, "STE.EATS is set")
        refused(bed, "device-fence", "fenced already", **CARD)
        refused(bed, "device-reattach", "not reset successfully", **CARD)
        fenced = dump(bed)
        bed.text("echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset")
        sanitized = dump(bed)
        check(do(bed, "device-reattach", **CARD)[0], "reattaching failed")
        check(dump(bed) == [], "it is still fenced")
        bed.run("pkill -INT -f 'subscribe events'", check=False)
        said = listener.communicate(timeout=60)[0]
    check([d["state"] for d in fenced + sanitized] == ["fenced", "sanitized"], f"{fenced} {sanitized}")
    check(fenced[0]["reason"] == "administrative" and "driver" not in fenced[0], str(fenced))
    names = [name for name in ("device-fenced-ntf", "device-sanitized-ntf", "device-unfenced-ntf") if name in said]
    check(len(names) == 3, f"the listener heard: {said}")
    check(said.index("fenced-ntf") < said.index("sanitized-ntf") < said.index("unfenced-ntf"), said)
