# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' kselftest as its users run it, and a drill with the kernel's fault injection where the kernel has that.

Nothing here wedges a device: all of the hardware is healthy, as it is on somebody's server.
"""

import re
import subprocess
from pathlib import Path

from testbed.scenario import Skip, check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-net,nvme"}
CARD, DISK = "0000:01:00.0", "0000:02:00.0"
RUN = "cd /run/selftests && {} ./run_kselftest.sh --test drivers/iommu:iommu_ras.py"
PLAN = re.compile(r"^# (?:# )?1\.\.(\d+)$")
RESULT = re.compile(r"^# (?:# )?(not ok|ok) (\d+) (\w+): (.*?)(?: *# SKIP.*)?$")
FAULTS = "/sys/kernel/debug/fail_iommu_atc_inv"
VERIFY = "/usr/local/lib/testbed/verify-io"


def has_faults(bed):
    return bed.run(f"test -d {FAULTS}", check=False).returncode == 0


def install(bed):
    """Brings the tests into the guest, unless they are there."""
    bed.text("systemctl stop smmu-rasd")
    if bed.run("test -d /run/selftests", check=False).returncode == 0:
        return
    beside = Path(bed.state["image"]).parent
    if not (beside / "selftests").is_dir():
        raise Skip(f"no selftests beside the kernel in {beside}: kernel/build puts them there if the series has them")
    with subprocess.Popen(["tar", "c", "-C", beside, "selftests"], stdout=subprocess.PIPE) as tar:
        subprocess.run(bed.ssh_command(["tar x -m --no-same-owner -C /run"]), stdin=tar.stdout, check=True)


def run(bed, environment=""):
    """Runs the tests in the guest: ({name: "ok", "not ok" or "skip"}, all they said)."""
    install(bed)
    said = bed.run(RUN.format(environment), check=False, timeout=600).stdout
    results, planned = {}, 0
    for line in said.splitlines():
        found = RESULT.match(line)
        if found:
            results[found[3]] = "skip" if "# SKIP" in line else found[1]
        plan = PLAN.match(line)
        planned = int(plan[1]) if plan else planned
    check(planned and len(results) == planned, f"{planned} tests were announced, {len(results)} have a result:\n{said}")
    failed = [name for name, word in results.items() if word == "not ok"]
    check(not failed, f"failed: {failed}\n{said}")
    return results, said


def test_with_a_device(bed):
    """The kselftest passes with a device that it may fence, and skips only what this kernel cannot do"""
    results, said = run(bed, f"IOMMU_RAS_DEVICE={CARD}")
    skipped = {name for name, word in results.items() if word == "skip"}
    check(all(name.startswith("fault_") for name in skipped) and bool(skipped) != has_faults(bed),
          f"skipped: {skipped}\n{said}")
    check(bed.stream("virtio-net0")["eats"] == 1, "the device was left without ATS")
    driver = bed.text(f"basename $(readlink /sys/bus/pci/devices/{CARD}/driver)")
    check(driver == "virtio-pci", f"the device was left with {driver or 'no driver'}")


def test_without_a_device(bed):
    """Without a device that nobody uses, the kselftest touches none, and says so"""
    results, said = run(bed)
    check(results["dump"] == results["errors"] == "ok", said)
    check(results["life_of_a_fence"] == "skip" and "IOMMU_RAS_DEVICE is not set" in said, said)
    # Now there is one that nobody uses
    bed.text(f"echo {CARD} > /sys/bus/pci/drivers/virtio-pci/unbind")
    results, said = run(bed)
    check(results["life_of_a_fence"] == "ok" and results["reset_and_bind"] == "skip", said)
    bed.text(f"echo {CARD} > /sys/bus/pci/drivers/virtio-pci/bind")


def test_drill(bed):
    """A healthy disk under load is made to fail by fault injection, and a reset in place brings it back unnoticed"""
    if not has_faults(bed):
        raise Skip("this kernel has no fault injection; the debug kernel does")
    bed.text("systemctl stop smmu-rasd")
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    start = mark(bed)
    with bed.start(f"{VERIFY} read /dev/nvme0n1 2 100") as readers:
        bed.text(f"cd {FAULTS} && echo 0 > verbose && echo 1 > times && echo 100 > probability && "
                 f"echo atc-timeout > reason && echo {DISK} > devname")
        wait_for("the fence", lambda: dmesg(bed, rf"{DISK}: fenced: it does not", start))
        check(bed.stream("nvme0")["eats"] == 0, "STE.EATS is set")
        check(bed.stream("nvme0")["timeouts"] == 0, "the emulated hardware has had a fault of its own")
        bed.text(f"echo 1 > /sys/bus/pci/devices/{DISK}/reset", timeout=60)
        check(dmesg(bed, rf"{DISK}: unfenced", start), "it is still fenced")
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = readers.communicate(timeout=60)[0]
    check(readers.returncode == 0, f"the readers failed: {said}")
    check(bed.stream("nvme0")["eats"] == 1, "STE.EATS is not set after the reset")
    check(bed.text(f"cat {FAULTS}/times") == "0", "one fault took more than one of its times")
    bed.text(f"echo > {FAULTS}/devname")
    lines = dmesg(bed, f"{DISK}.*fence|smmuv3", start)
    check(len(lines) <= 4, f"a fence is to be a handful of lines, not {len(lines)}: {lines}")


def test_drill_forever(bed):
    """A device that no reset helps stays fenced, until it is no longer made to fail"""
    if not has_faults(bed):
        raise Skip("this kernel has no fault injection; the debug kernel does")
    bed.text("systemctl stop smmu-rasd")
    bed.text("cd /sys/kernel/debug/fail_pci_reset && echo 0 > verbose && echo -1 > times && echo 100 > probability && "
             f"echo {CARD} > devname")
    start = mark(bed)
    bed.text(f"echo {CARD} > /sys/bus/pci/drivers/virtio-pci/unbind")
    for method in bed.text(f"cat /sys/bus/pci/devices/{CARD}/reset_method").split():
        done = bed.run(f"cd /sys/bus/pci/devices/{CARD} && echo {method} > reset_method && echo 1 > reset",
                       check=False, timeout=60)
        check(done.returncode != 0, f"the method {method} is said to have succeeded")
    check(len(dmesg(bed, rf"{CARD}: fenced: a reset failed", start)) == 1, "it is not fenced once")
    check(bed.stream("virtio-net0")["eats"] == 0, "STE.EATS is set")
    bed.text(f"echo > /sys/kernel/debug/fail_pci_reset/devname; cd /sys/bus/pci/devices/{CARD} && "
             f"echo default > reset_method && echo 1 > reset && echo {CARD} > /sys/bus/pci/drivers/virtio-pci/bind")
    check(bed.stream("virtio-net0")["eats"] == 1, "STE.EATS is not set")


