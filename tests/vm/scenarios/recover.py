# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole loop: wedged under I/O, fenced by the kernel, recovered by smmu-rasd."""

import json

from testbed.scenario import check, dmesg, journal, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme,virtio-net"}
VERIFY = "/usr/local/lib/testbed/verify-io"
RECOVERED = "7b78c766589a45d4973dfc23f43523d0"  # daemon/messages.h


def fenced(bed):
    return json.loads(bed.text("smmu-rasctl list --json"))["devices"]


def wait_recovered(bed, device, since):
    return wait_for(f"smmu-rasd's record that {device} was recovered", lambda: [
        e for e in journal(bed, device, since) if e.get("MESSAGE_ID") == RECOVERED], 90)



def test_boots_clean(bed):
    """The daemon runs, nothing is fenced, and the kernel has no complaint"""
    check(bed.text("systemctl is-active smmu-rasd") == "active", "smmu-rasd is not active")
    check(fenced(bed) == [], "something is fenced")
    check(not dmesg(bed, "WARNING|BUG|CMDQ"), "the kernel complains")


def test_nvme(bed):
    """A disk wedged under I/O is reset in place, and no reader sees an error"""
    start = mark(bed)
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    with bed.start(f"{VERIFY} read /dev/nvme0n1 4 100") as readers:
        bed.wedge("nvme0", "until-reset")
        wait_recovered(bed, "0000:01:00.0", start)
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=30)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check(dmesg(bed, r"01:00\.0: fenced", start), "the kernel did not say that it fenced")
    check("unbind" not in [e.get("SMMU_RAS_STEP") for e in journal(bed, "0000:01:00.0", start)], "it was unbound")
    check(fenced(bed) == [], "something is still fenced")


def test_net(bed):
    """A network card wedged under traffic is unbound, reset, reattached and bound, and works again"""
    start = mark(bed)
    bed.wedge("virtio-net0", "until-reset")
    bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)
    wait_recovered(bed, "0000:02:00.0", start)
    taken = {e.get("SMMU_RAS_STEP") for e in journal(bed, "0000:02:00.0", start)}
    check({"unbind", "reset", "reattach", "bind"} <= taken, f"the steps were {taken}")
    wait_for("the network to work", lambda: bed.run("ping -c 1 -W 1 10.0.3.2", check=False).returncode == 0)
    check(fenced(bed) == [], "something is still fenced")


def test_again(bed):
    """The same disk can be fenced and recovered a second time"""
    test_nvme(bed)


def test_kernel_is_calm(bed):
    """After all that the kernel has logged no warning and no command queue error goes on"""
    check(not dmesg(bed, "WARNING|BUG:|Call trace"), str(dmesg(bed, "WARNING|BUG:|Call trace")))
    start = mark(bed)
    bed.text(f"{VERIFY} read /dev/nvme0n1 2 2")
    check(not dmesg(bed, "CMDQ|CMD_SYNC|smmuv3: event", start), "errors go on")
