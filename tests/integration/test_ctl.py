# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasctl."""

import json
import subprocess

import fakekernel
from lib.bench import BINARIES, DEV, check, equal, recovered, test
from lib.schema import conforms


@test
def ctl_without_the_family(b):
    done = b.ctl(status=3)
    check("cannot fence devices" in done.stdout, done.stdout)
    equal(conforms(b.ctl("--json", status=3).stdout, "list")["kernel_support"], False, "kernel_support")
    b.ctl("status", status=3)
    check("does not fence devices" in b.ctl("show", b.kernel.add(DEV).name, status=3).stderr, "show")


ctl_without_the_family.has_family = False


@test
def ctl_list_and_show(b):
    device = b.kernel.add(DEV, driver="nvme")
    check("smmu-rasd does not run" in b.ctl().stdout and "All is well" not in b.ctl().stdout, "no daemon")
    b.kernel.fence(DEV)
    lines = b.ctl("list").stdout.splitlines()
    check(lines[0].startswith("DEVICE"), lines[0])
    check(DEV in lines[1] and "atc-timeout" in lines[1] and "nvme" in lines[1], lines[1])
    check("smmu-rasd does not run" in lines[-1], lines[-1])
    equal(len(b.ctl("list", "--no-legend").stdout.splitlines()), 1, "lines")
    listed = json.loads(b.ctl("--json").stdout)
    equal(listed["daemon_running"], False, "daemon_running")
    equal(listed["devices"][0]["device"], DEV, "device")
    equal(listed["devices"][0]["stream_ids"], [0x100, 0x101], "stream_ids")
    hold = b.kernel.hold(f"{DEV}/unbind")
    b.start()
    b.wait_step("unbind")
    shown = json.loads(b.ctl("show", "--json", "01:00.0").stdout)
    equal(shown["recovery"]["state"], "running", "recovery")
    equal(shown["recovery"]["step"], "unbind", "step")
    check("running unbind" in b.ctl("show", f"/sys/bus/pci/devices/{DEV}/").stdout, "show")
    check("running unbind" in b.ctl().stdout, "list")
    b.kernel.release(hold)
    recovered(b, device)
    b.ctl("show", "0000:77:00.0", status=4)
    b.ctl("show", "banana", status=4)
    check("recovered" in b.ctl("show", DEV).stdout, "recovered")
    text = b.ctl().stdout
    check("All is well" in text and f"{DEV} (nvme) " in text and "was out for" in text, text)


@test
def ctl_monitor(b):
    b.kernel.add(DEV)
    b.kernel.add("0000:02:00.0")
    for args in ([], ["--json"]):
        dumps = b.kernel.dumps
        monitor = subprocess.Popen(
            ["timeout", "600", f"{BINARIES}/smmu-rasctl", "monitor", *args], env=b.env, stdout=subprocess.PIPE,
            text=True,
        )
        b.kernel.wait(
            lambda: any(fakekernel.GROUP in c[2] for c in b.kernel.connections.values()) and b.kernel.dumps > dumps,
            "a subscription, and a dump",
        )
        # The first line of the second round is about what is fenced already.
        if "--json" in args:
            equal(json.loads(monitor.stdout.readline())["event"], "state", "event")
            equal(json.loads(monitor.stdout.readline())["event"], "state", "event")
        dumps = b.kernel.dumps
        b.kernel.fence(DEV)
        line = monitor.stdout.readline()
        check("fenced" in line and DEV in line, line)
        b.kernel.drop_events = True
        b.kernel.fence("0000:02:00.0")
        b.kernel.drop_events = False
        b.kernel.fence(DEV)
        lines = [monitor.stdout.readline() for _ in range(4)]
        check("lost" in lines[1], lines)
        check("0000:02:00.0" in "".join(lines[2:]), lines)
        check(b.kernel.dumps > dumps, "a dump")
        monitor.terminate()
        monitor.wait()
        monitor.stdout.close()
        b.kernel.wait(
            lambda: not any(fakekernel.GROUP in c[2] for c in b.kernel.connections.values()), "no subscription"
        )
