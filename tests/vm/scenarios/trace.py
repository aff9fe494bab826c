# SPDX-License-Identifier: GPL-2.0-or-later
"""The tracepoint iommu:iommu_fence: tracefs, trace-cmd, perf and rasdaemon record fences and their ends."""

import re
import subprocess

from testbed.bed import built
from testbed.scenario import Skip, check, mark, wait_for
from workshop.ui import Failure

BED = {"kernel": "patched", "devices": "virtio-net"}
TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/iommu/iommu_fence"
DEV = "0000:01:00.0"


def test_format(bed):
    """The tracepoint's fields are device, id, state and reason, as perf and trace-cmd learn them"""
    bed.run(f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}", check=False)
    text = bed.text(f"cat {EVENT}/format")
    fields = re.findall(r"field:(.*?);", text)
    for field in ("__data_loc char[] device", "u64 id", "unsigned int state", "unsigned int reason"):
        check(field in fields, f"{field} is not among {fields}")


def test_a_fence_and_its_end_are_recorded(bed):
    """Each transition of a recovery is one line: fenced, sanitized, active, all of the same fence"""
    mark(bed)
    bed.text(f"echo > {TRACING}/trace; echo 1 > {EVENT}/enable; echo 1 > {TRACING}/tracing_on")
    bed.wedge("virtio-net0", "until-reset")
    bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)
    pattern = rf"iommu_fence: IOMMU: device={DEV} fence=(\d+) state=(\S+) reason=(\S+)"

    def lines():
        return re.findall(pattern, bed.text(f"cat {TRACING}/trace"))

    wait_for("the end of the fence in the trace", lambda: any(state == "active" for _, state, _ in lines()), 90)
    check([state for _, state, _ in lines()] == ["fenced", "sanitized", "active"], f"recorded: {lines()}")
    check(len({number for number, _, _ in lines()}) == 1, f"several fences: {lines()}")
    check(lines()[0][2] == "atc-timeout", f"the reason: {lines()}")


def test_a_filter_finds_one_device(bed):
    """A filter of the tracepoint picks one device, and the others are not recorded"""
    bed.text(f"echo > {TRACING}/trace; echo 'device == \"0000:ff:00.0\"' > {EVENT}/filter")
    bed.text(f"smmu-rasctl fence --yes --no-wait {DEV}")
    wait_for("the drill to end", lambda: bed.text(f"cat /sys/bus/pci/devices/{DEV}/uevent") and
             bed.run("smmu-rasctl status", check=False).returncode == 0, 60)
    check("iommu_fence" not in bed.text(f"grep -v ^# {TRACING}/trace || :"), "another device was recorded")
    bed.text(f"echo 0 > {EVENT}/filter; echo 0 > {EVENT}/enable")


def drill(states, text, reason="administrative"):
    """That a tool has recorded the steps of a fence that somebody asked for, all fields decoded."""
    found = re.findall(rf"iommu_fence: +IOMMU: device={DEV} fence=(\d+) state=(\S+) reason=(\S+)", text)
    check([(state, why) for _, state, why in found] == [(state, reason) for state in states], f"recorded: {text}")
    check(len({number for number, _, _ in found}) == 1, f"several fences: {text}")


def test_trace_cmd(bed):
    """trace-cmd record and trace-cmd report show a drill from its fence to its end, with decoded fields"""
    bed.text(f"cd /run && trace-cmd record -q -e iommu:iommu_fence -o fence.dat smmu-rasctl fence --yes {DEV} 2>&1")
    drill(["fenced", "sanitized", "active"], bed.text("trace-cmd report -i /run/fence.dat 2>&1"))
    filtered = bed.text(f"trace-cmd report -i /run/fence.dat -F 'iommu_fence: state == 2' 2>&1")
    drill(["fenced"], filtered)


def test_perf(bed):
    """perf record and perf script show a drill from its fence to its end, with decoded fields"""
    if bed.run("zgrep -q ^CONFIG_PERF_EVENTS=y /proc/config.gz", check=False).returncode:
        raise Skip("this kernel has no perf events")
    bed.text(f"cd /run && perf record -q -a -e iommu:iommu_fence -o fence.perf smmu-rasctl fence --yes {DEV} 2>&1")
    drill(["fenced", "sanitized", "active"], bed.text("perf script -i /run/fence.perf 2>&1"))


def ras_daemon(bed):
    """Replaces Debian's rasdaemon by the one that has our patches."""
    try:
        folder = built("tests/vm/build-rasdaemon")[-1]
    except Failure as failure:
        raise Skip(f"no rasdaemon: {failure}") from None
    for name in ("rasdaemon", "ras-mc-ctl"):
        with open(folder / name, "rb") as file:
            subprocess.run(bed.ssh_command([f"cat > /usr/sbin/{name}"]), stdin=file, check=True)


def test_rasdaemon(bed):
    """rasdaemon with our patches logs each step of a drill, stores it in its database, and shows it"""
    ras_daemon(bed)
    enabled = f"cat {TRACING}/instances/rasdaemon/events/iommu/iommu_fence/enable 2>/dev/null || :"
    bed.text("systemctl start rasdaemon")
    wait_for("rasdaemon to listen", lambda: bed.text(enabled) == "1")
    bed.text(f"smmu-rasctl fence --yes {DEV}")
    states = ["active", "fenced", "sanitized"]  # in no order: it reads what one CPU has recorded after the other

    def logged():
        return re.findall(rf"device: {DEV} fence: \d+ state: (\S+) reason: administrative",
                          bed.text("journalctl -u rasdaemon -o cat"))

    wait_for("the whole drill in the journal", lambda: sorted(logged()) == states)
    query = "SELECT dev_name, state, reason FROM iommu_fence_event"
    rows = bed.text(f"sqlite3 /var/lib/rasdaemon/ras-mc_event.db '{query}'").splitlines()
    check(sorted(rows) == [f"{DEV}|{state}|administrative" for state in states], f"in the database: {rows}")
    shown = bed.text("ras-mc-ctl --errors")
    for state in states:
        check(re.search(rf"{DEV} fence \d+ {state}, reason administrative", shown), f"ras-mc-ctl --errors: {shown}")
    check(f"{DEV} fenced, reason administrative: 1" in bed.text("ras-mc-ctl --summary"), "ras-mc-ctl --summary")
