# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages for arm64 in the test bed's machine, which is Debian 13 on arm64: installed by its own apt, on our kernel
and on one without our series."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
from testbed import bed as beds  # noqa: E402
from testbed.scenario import check, journal, mark, wait_for  # noqa: E402
from workshop import run  # noqa: E402

DEV = "0000:01:00.0"
UNIT = "smmu-rasd.service"
RECOVERED = "7b78c766589a45d4973dfc23f43523d0"  # daemon/messages.h
STEP_DONE = "9bdd537ea68442faa0c9866163f41bf7"
SLOW = ('{"rules": [{"name": "slow", "match": {"address": "0000:01:00.0"}, "action": "recover", '
        '"steps": ["unbind", {"step": "wait", "for": "4s"}, "reset", "reattach", "bind"]}]}')
# The machine reaches no mirror: what is missing in it is an error of the package's.
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0"
# Logs of apt and dpkg name what they installed.
LEFT = ("find / -xdev -name '*smmu-ras*' -not -path '/proc/*' -not -path '/root/debs/*'; "
        "find /run /etc/systemd -name '*smmu-ras*' -not -path '/run/log/*'")


def older(deb, version, folder):
    """The same package with another version: what an upgrade starts from."""
    tree = folder / "tree"
    run.output(["rm", "-rf", str(tree)])
    run.output(["dpkg-deb", "-R", str(deb), str(tree)])
    control = tree / "DEBIAN/control"
    text = control.read_text()
    now = re.search(r"^Version: (.*)$", text, re.M).group(1)
    control.write_text(text.replace(now, version))
    run.output(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(folder)])
    run.output(["rm", "-rf", str(tree)])
    return folder / deb.name.replace(now, version)


def bare(bed):
    """Takes what `make install` has put into the machine out of it, and the daemon that runs."""
    bed.text(f"systemctl disable --now {UNIT} 2>&1")
    listed = [line for line in (ROOT / "tests/install/files").read_text().splitlines() if line.startswith("/")]
    bed.text(f"rm -f {' '.join(listed)} && rm -rf /etc/smmu-rasd /run/smmu-rasd /run/smmu-rasd-policy "
             "/usr/lib/smmu-rasd /usr/share/smmu-rasd /usr/share/doc/smmu-rasd && systemctl daemon-reload && "
             "systemctl reset-failed && journalctl --update-catalog")
    check(bed.text(LEFT) == "", f"not bare: {bed.text(LEFT)}")


def install(bed, debs, which):
    bed.text(f"mkdir -p /root/debs/{which}")
    for deb in debs:
        with open(deb, "rb") as file:
            subprocess.run(bed.ssh_command([f"cat > /root/debs/{which}/{deb.name}"]), stdin=file, check=True)
    return bed.text(f"{APT} install /root/debs/{which}/*.deb 2>&1", timeout=300)


def well(bed, kernel_support):
    """Enabled, running, quiet, and nothing in the machine has failed because of it."""
    check(bed.text(f"systemctl is-enabled {UNIT}") == "enabled", "not enabled")
    check(bed.text(f"systemctl is-active {UNIT}") == "active", "not active")
    check(bed.text("systemctl is-system-running || :") == "running", bed.text("systemctl --failed --no-legend"))
    check(bed.text("dpkg --audit; dpkg --verify smmu-rasd smmu-rasctl") == "", "dpkg does not find it as it was packed")
    said = bed.text(f"journalctl -b -o cat _PID=$(systemctl show -P MainPID {UNIT})").splitlines()
    check(len(said) <= 3, "too many lines:\n" + "\n".join(said))
    check(kernel_support != any("does not fence devices" in line for line in said), "\n".join(said))


def purge(bed):
    bed.text(f"{APT} purge smmu-rasd smmu-rasctl 2>&1", timeout=300)
    check(bed.text(LEFT) == "", f"left behind: {bed.text(LEFT)}")
    check(bed.text(f"systemctl is-active {UNIT} || :") == "inactive", "it still runs")
    check(bed.text("systemctl is-system-running || :") == "running", bed.text("systemctl --failed --no-legend"))
    check("smmu" not in bed.text("busctl list --no-legend; systemctl list-unit-files --no-legend"), "systemd knows it")


def on_our_kernel(debs, folder):
    """Installed, upgraded in the middle of a recovery, which ends well, and purged."""
    with beds.running(f"deb-{os.getpid()}", devices="virtio-net") as bed:
        bare(bed)
        install(bed, [older(deb, "0.1+0check", folder) for deb in debs], "old")
        well(bed, True)
        bed.text("cat > /etc/smmu-rasd/policy.json && systemctl reload smmu-rasd", stdin=SLOW)
        pid = bed.text(f"systemctl show -P MainPID {UNIT}")
        start = mark(bed)
        bed.wedge("virtio-net0", "until-reset")
        bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)

        def records(message):
            return [each for each in journal(bed, DEV, start) if each.get("MESSAGE_ID") == message]

        wait_for("the driver to be unbound", lambda: any(each["SMMU_RAS_STEP"] == "unbind" for each in records(STEP_DONE)))
        install(bed, debs, "new")
        check(bed.text(f"systemctl show -P MainPID {UNIT}") != pid, "the old daemon runs on")
        wait_for("the recovery", lambda: records(RECOVERED), 120)
        check(bed.text(f"readlink /sys/bus/pci/devices/{DEV}/driver").endswith("/virtio-pci"), "no driver")
        bed.text("smmu-rasctl status")
        check(bed.text("cat /etc/smmu-rasd/policy.json") == SLOW, "the operator's policy is gone")
        check(bed.text("systemctl is-system-running || :") == "running", bed.text("systemctl --failed --no-legend"))
        purge(bed)


def on_stock(debs):
    """On a kernel that fences nothing it is quiet, and nothing is degraded."""
    with beds.running(f"deb-{os.getpid()}", kernel="stock", devices="virtio-net") as bed:
        bare(bed)
        install(bed, debs, "new")
        well(bed, False)
        purge(bed)
