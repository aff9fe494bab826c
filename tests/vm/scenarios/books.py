# SPDX-License-Identifier: GPL-2.0-or-later
"""The books agree: what the hardware has seen, by `testbed status --json`, and what the running daemon says of it.

The daemon learns everything from the kernel's messages; the hardware knows nothing of either. So each number that both
sides have, or that one side's number allows to be worked out, is held against the other's, in each state of a device.
"""

import json
import subprocess
import sys

from testbed.bed import patience
from testbed.daemon import rules, well
from testbed.guest import provoke, progress, readers
from testbed.scenario import check, wait_for
from workshop.cache import ROOT

BED = {"kernel": "patched", "devices": "nvme:2,virtio-net"}
ALL = {"nvme0": "nvme", "nvme1": "nvme", "virtio-net0": "virtio-pci"}
CARD = "virtio-net0"  # nothing but the SMMU keeps a wedged one from memory: its driver does not
EATS = {"active": 1, "fenced": 0, "sanitized": 0}


def find_out(bed, device):
    """Wedges a device and has it found out."""
    if device != CARD:
        provoke(bed, device)
        return
    bed.wedge(device, "until-reset")
    bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)


def hardware(bed):
    """{device: what `testbed status --json` says}"""
    said = subprocess.run([sys.executable, str(ROOT / "tests/vm/testbed"), "status", "--json"], check=True, text=True,
                          stdout=subprocess.PIPE, timeout=60 * patience()).stdout
    mine = next(each for each in json.loads(said) if each["name"] == bed.name)
    check(mine["running"], "the machine is said not to run")
    return {each["id"]: each for each in mine["devices"]}


def shown(bed):
    """{device: what `smmu-rasctl show --json` says}"""
    return {device: json.loads(bed.text(f"smmu-rasctl show {bed.device(device)['address']} --json")) for device in ALL}


def daemon(bed):
    """The same in a state that lasts, held against what `smmu-rasctl list --json` says."""
    listed, found = json.loads(bed.text("smmu-rasctl list --json")), shown(bed)
    urgent = {each["device"]: each for each in listed["devices"]}
    check(listed["daemon_running"], "the daemon does not run")
    for device, each in found.items():
        check(each["daemon_running"], "the daemon does not run")
        check((each["device"] in urgent) == (each["verdict"] not in ("well", "recovered")),
              f"{device}: {each['verdict']}, and listed are {sorted(urgent)}")
        for key in ("state", "fence_count", "fence_id", "stream_ids"):
            other = urgent.get(each["device"], each)[key]
            check(other == each[key], f"{device}: {key} is {each[key]} in show, {other} in list")
    return found


def compare(bed, states, counts):
    """Both sides agree about all devices, which are in these states and were fenced so often."""
    seen, said = hardware(bed), daemon(bed)
    for device in ALL:
        one, other = seen[device], said[device]
        stream, text = one["stream"], f"{device}: hardware {one}\ndaemon {other}"
        check(other["state"] == states[device] and other["fence_count"] == counts[device], text)
        check(other["device"] == one["address"] and other["stream_ids"] in ([], [stream["sid"]]), text)
        check(stream["eats"] == EATS[other["state"]], f"STE.EATS does not go with the state\n{text}")
        check(stream["timeouts"] == one["unanswered"] and stream["inv"] >= one["invalidations"], text)
        # For each fence it has not answered twice, in a batch and then alone; one that was never fenced always has.
        check(one["unanswered"] >= 2 * other["fence_count"] and bool(one["unanswered"]) == bool(other["fence_count"]),
              f"fences and timeouts do not go together\n{text}")
        check(not one["blocked"] or other["fence_count"], f"one that was never fenced was kept from memory\n{text}")
        check(one["reach"] == 0, f"it can write through stale translations\n{text}")
        check(bool(one["cut_off_ns"]) == bool(other["fence_count"]), f"fences and cut-offs do not go together\n{text}")
    return seen, said


def test_all_is_well(bed):
    """Nothing is fenced: the daemon lists nothing, and each stream has EATS and no timeout"""
    rules(bed, {"name": "by hand", "match": {"address": "*"}, "action": "ignore"})
    compare(bed, dict.fromkeys(ALL, "active"), dict.fromkeys(ALL, 0))


def test_fenced_and_recovered(bed):
    """A fenced one gets no invalidations and writes nowhere, while others go on; recovered, it had one reset"""
    with readers(bed, "nvme0"):
        find_out(bed, CARD)
        wait_for("the fence", lambda: bed.stream(CARD)["eats"] == 0)
        states, counts = dict.fromkeys(ALL, "active") | {CARD: "fenced"}, dict.fromkeys(ALL, 0) | {CARD: 1}
        wait_for("the daemon's word", lambda: shown(bed)[CARD]["state"] == "fenced")
        before, _ = compare(bed, states, counts)
        # The kernel has made the SMMU abort all of its DMA by now, so what it tries is not even looked at.
        wait_for("the SMMU to abort its DMA", lambda: bed.stream(CARD)["config"] == "abort")
        overwritten, _ = bed.scribble(CARD)
        progress(bed, "nvme0")
        after, said = compare(bed, states, counts)
    check(overwritten == after[CARD]["overwritten"] == 0 and after[CARD]["stale"] > 0,
          f"{overwritten} pages overwritten through {after[CARD]['stale']} stale translations")
    check(after[CARD]["stream"]["inv"] == before[CARD]["stream"]["inv"], "it still gets ATC invalidations")
    check(after["nvme0"]["stream"]["inv"] > before["nvme0"]["stream"]["inv"], "the other one gets none")
    check(said[CARD]["verdict"] == "ignored" and said[CARD]["reason"] == "atc-timeout", str(said[CARD]))

    rules(bed)
    bed.run(f"smmu-rasctl recover {bed.device(CARD)['address']}", check=False, timeout=120)
    well(bed, CARD, ALL[CARD])
    seen, said = compare(bed, dict.fromkeys(ALL, "active"), counts)
    resets = [step for step in said[CARD]["history"] if step["step"] == "reset"]
    check(seen[CARD]["resets"] - after[CARD]["resets"] == len(resets) == 1, f"resets: {seen[CARD]}\n{said[CARD]}")


def test_again(bed):
    """Each fence of the hardware's is one of the daemon's: two devices at the same time, and one of them again"""
    counts = {device: each["fence_count"] for device, each in shown(bed).items()}
    for devices in ((CARD, "nvme0"), ("nvme0",)):
        before = hardware(bed)
        for device in devices:
            find_out(bed, device)
            counts[device] += 1
        wait_for("the daemon's count", lambda: all(
            shown(bed)[device]["fence_count"] == counts[device] for device in devices))
        for device in devices:
            well(bed, device, ALL[device])
        seen, _ = compare(bed, dict.fromkeys(ALL, "active"), counts)
        for device in ALL:
            more = seen[device]["resets"] - before[device]["resets"]
            check(more == (device in devices), f"{device} had {more} resets")


def test_isolated(bed):
    """Given up: fenced for the hardware, the kernel and the daemon, which says what the operator can do"""
    rules(bed, {"name": "give up", "match": {"address": "*"}, "action": "isolate"})
    provoke(bed, "nvme1")
    wait_for("the daemon's verdict", lambda: shown(bed)["nvme1"]["verdict"] == "isolated")
    counts = {device: each["fence_count"] for device, each in daemon(bed).items()}
    _, said = compare(bed, dict.fromkeys(ALL, "active") | {"nvme1": "fenced"}, counts)
    check(said["nvme1"]["advice"] and counts["nvme1"] == 1, str(said["nvme1"]))
