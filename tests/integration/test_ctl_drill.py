# SPDX-License-Identifier: GPL-2.0-or-later
"""Drills with smmu-rasctl fence, and what operators ask of the daemon."""

import subprocess

from lib.bench import BINARIES, DEV, DEFAULT_STEPS, QUICK, check, equal, test
from lib.machine import add_disk
from lib.terminal import on_terminal
from fakekernel import ACTIVE, FENCED, SANITIZED


@test
def a_drill_asks_and_is_followed_to_its_end(b):
    b.policy()
    device = b.kernel.add(DEV)
    b.start()
    text, status = on_terminal(b, 100, "fence", "01:00.0", answer="n\n", SYSTEMD_COLORS="0")
    equal((status, device.state), (8, ACTIVE), "who said no")
    check("by rule default" in text and "Fence it now? [y/N]" in text and "Nothing was done" in text, text)
    # Nobody to ask: nothing is done either.
    check("--yes" in b.ctl("fence", DEV, status=8).stderr, "no terminal")
    equal(b.kernel.fences, 0, "fences")
    text, status = on_terminal(b, 100, "fence", DEV, answer="y\n", SYSTEMD_COLORS="0")
    equal((status, device.state), (0, ACTIVE), text)
    equal(b.steps(), DEFAULT_STEPS, "steps")
    for words in ("fenced     by the kernel: administrative", "reset done after", "recovered", "It was out for"):
        check(words in text, f"{words} in {text}")


@test
def a_drill_that_goes_wrong_says_so(b):
    b.policy(attempts=1, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.reset_result = 25
    b.start()
    done = b.ctl("fence", "--yes", DEV, status=7)
    equal(device.state, FENCED, "state")
    check("the only attempt failed" in done.stderr and f"smmu-rasctl recover {DEV}" in done.stderr, done.stderr)
    # It is fenced already.
    check("fenced already" in b.ctl("fence", "--yes", DEV, status=6).stderr, "twice")


@test
def a_drill_shows_what_would_be_lost(b):
    disk = b.kernel.add(DEV)
    b.kernel.add("0000:01:00.1")
    add_disk(b, disk, "vda", "254:0")
    b.file("proc/self/mountinfo", "30 1 254:0 / /srv rw - ext4 /dev/vda rw\n")
    text = b.ctl("fence", "vda", status=8).stderr
    check("in use by filesystem /srv (vda)" in text and "0000:01:00.1" in text, text)
    check("does not run: nobody will recover it" in text, text)


@test
def a_drill_without_a_daemon_says_how_to_end_it(b):
    device = b.kernel.add(DEV)
    done = b.ctl("fence", "--yes", DEV)
    equal(device.state, FENCED, "state")
    check(f"echo 1 > /sys/bus/pci/devices/{DEV}/reset" in done.stderr, done.stderr)
    check("not reset since" in b.ctl("reattach", DEV, status=6).stderr, "reattach")
    device.state = SANITIZED
    b.ctl("reattach", DEV)
    equal(device.state, ACTIVE, "state")


@test
def without_a_bus_it_says_whom_to_start(b):
    b.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={b.root}/no-bus"
    b.kernel.add(DEV)
    b.kernel.fence(DEV)
    check("system bus" in b.ctl("recover", DEV, status=5).stderr, "recover")
    check("system bus" in b.ctl("isolate", "--yes", DEV, status=5).stderr, "isolate")


@test
def a_drill_that_is_interrupted_goes_on(b):
    device = b.kernel.add(DEV)
    hold = b.kernel.hold(f"{DEV}/reset")
    b.start()
    drill = subprocess.Popen(
        [f"{BINARIES}/smmu-rasctl", "fence", "--yes", DEV], env=b.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    check(hold.arrived.wait(15), "a reset")
    drill.terminate()
    check(b"what was begun goes on" in drill.communicate()[1], "a word about it")
    equal(drill.returncode, 1, "exit status")
    b.kernel.release(hold)
    b.kernel.wait(lambda: device.state == ACTIVE and device.driver, "its recovery")
