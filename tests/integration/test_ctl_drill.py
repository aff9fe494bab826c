# SPDX-License-Identifier: GPL-2.0-or-later
"""Drills with smmu-rasctl fence, and what operators ask of the daemon."""

import subprocess

from lib.bench import BINARIES, DEV, DEFAULT_STEPS, QUICK, check, equal, test
from lib.bus import Bus
from lib.machine import add_disk, give_up
from lib.messages import PROTECTED
from lib.schema import conforms
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
    for words in ("by the kernel, because of administrative", "reset done after", "recovered", "It was out for"):
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
    # Not even with --yes is that done in passing.
    text = b.ctl("fence", "--yes", "vda", status=6).stderr
    equal(disk.state, ACTIVE, "state")
    check("It WILL STAY FENCED: rule default protects filesystem /srv (vda), which hangs until you act" in text, text)
    check("smmu-rasd would recover it" not in text, text)
    text = b.ctl("fence", "--force", "vda", status=8).stderr
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
    conforms(b.ctl("reattach", "--json", DEV).stdout, "reattach")
    equal(device.state, ACTIVE, "state")


@test
def without_a_bus_it_says_whom_to_start(b):
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
        [f"{BINARIES}/smmu-rasctl", "fence", "--yes", DEV], env=b.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # What it tells of the recovery shows that it follows it.
    for line in drill.stdout:
        if b"begins, by rule" in line:
            break
    check(hold.arrived.wait(), "a reset")
    drill.terminate()
    check(b"what was begun goes on" in drill.communicate()[1], "a word about it")
    equal(drill.returncode, 1, "exit status")
    b.kernel.release(hold)
    b.kernel.wait(lambda: device.state == ACTIVE and device.driver, "its recovery")


@test
def recover_follows_to_the_end(b):
    with Bus(b) as bus:
        bus.start()
        device = give_up(b)
        bus.wait_on_bus()
        done = b.ctl("recover", DEV, status=7)
        check("reset failed" in done.stdout and "isolated" in done.stderr, done)
        device.reset_result = 0
        done = b.ctl("recover", DEV)
        check("1 begins, by rule" in done.stdout and "works again" in done.stdout, done.stdout)
        equal((device.state, device.driver), (ACTIVE, device.home), "the device")
        check("not fenced" in b.ctl("recover", DEV, status=6).stderr, "not fenced")
        lines = b.ctl("fence", "--yes", "--json", DEV).stdout.splitlines()
        check([conforms(line, "monitor") for line in lines], "lines for programs")


@test
def isolate_holds_until_somebody_asks_to_recover(b):
    with Bus(b) as bus:
        bus.start()
        b.policy(attempts=5, backoff={"first": "1h", "max": "1h"})
        device = b.kernel.add(DEV)
        device.reset_result = 25
        b.start()
        bus.wait_on_bus()
        b.kernel.fence(DEV)
        b.wait_state("backoff")
        text, status = on_terminal(b, 100, "isolate", DEV, answer="n\n")
        equal((status, b.state()["state"]), (8, "backoff"), text)
        check("is isolated" in b.ctl("isolate", "--yes", DEV).stdout, "isolate")
        check("by operator" in b.ctl().stdout, b.ctl().stdout)
        # Once more there is nothing to follow.
        check("is isolated already" in b.ctl("isolate", "--yes", DEV).stdout, "isolate")
        device.reset_result = 0
        b.ctl("recover", "--no-wait", DEV)
        b.kernel.wait(lambda: device.state == ACTIVE and device.driver, "its recovery")


@test
def force_recovers_what_is_in_use_and_asks_before(b):
    with Bus(b) as bus:
        bus.start()
        b.policy()
        device = b.kernel.add(DEV)
        add_disk(b, device, "vda", "254:0")
        b.file("proc/self/mountinfo", "30 1 254:0 / /srv rw - ext4 /dev/vda rw\n")
        b.start()
        bus.wait_on_bus()
        b.kernel.fence(DEV)
        b.wait_state("isolated")
        text = b.ctl("recover", DEV, status=7).stderr
        check("Stop what uses it first: filesystem /srv (vda). (umount" in text, text)
        check("smmu-rasctl fence" not in text and "mistake" not in text, text)
        text = b.ctl("show", DEV).stdout.replace("\n              ", " ")
        check("Data: memory is safe: the device can write nowhere. Reads and writes of /srv (vda)" in text, text)
        check("--yes" in b.ctl("recover", "--force", DEV, status=8).stderr, "nobody to ask")
        equal(device.state, FENCED, "state")
        b.ctl("recover", "--force", "--yes", DEV)
        equal(device.state, ACTIVE, "state")
        # That was for this fence: what is fenced anew is protected as ever.
        b.wait_state("idle")
        b.kernel.fence(DEV)
        b.wait_record(PROTECTED, DEV, 2)
        equal(device.state, FENCED, "state")


@test
def a_refused_policy_fails_the_reload(b):
    with Bus(b) as bus:
        bus.start()
        b.policy()
        b.start()
        bus.wait_on_bus()
        b.ctl("policy", "reload")
        b.file("etc/policy.json", '{"rules": 3}')
        error = b.ctl("policy", "reload", status=1).stderr
        check("etc/policy.json:1:11: error: rules: expected a list" in error and "stays in force" in error, error)
