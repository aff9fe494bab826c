# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that were removed while they were fenced: the kernel has forgotten them, and people have to be told."""

import json
import os
import shutil
import signal

import fakekernel
from lib.bench import DEV, check, equal, recovered, test
from lib.machine import give_up, replace
from lib.messages import ISOLATED
from lib.schema import conforms

# Devices whose records are kept; daemon/gone.h.
GONE_MAX = 64


def kept(b):
    folder = f"{b.root}/run/gone"
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def wait_kept(b, n=1):
    b.kernel.wait(lambda: len(kept(b)) == n and not any(f.endswith(".new") for f in kept(b)), f"{n} that are gone")


def wait_gone(b):
    """It is first written that the device is gone, and then what was known before is dropped."""
    wait_kept(b)
    b.kernel.wait(lambda: b.state() is None, "the end of its record")


def pull_out(b, device):
    """The kernel's directory of it goes as well, which the fake kernel leaves for devices that come back."""
    b.kernel.remove(device.name)
    shutil.rmtree(device.path)


def isolated(b, name=DEV):
    return give_up(b, name, driver="nvme", attempts=2)


@test
def a_device_that_was_pulled_out_is_told_of(b):
    device = isolated(b)
    pull_out(b, device)
    wait_gone(b)
    text = b.ctl("list").stdout
    line = text.splitlines()[1].split()
    equal(line[:2] + line[3:6], [DEV, "removed", "atc-timeout", "(nvme)", "2"], text)
    check("was given up, failed: reset: " in text, text)
    check(f"No device is fenced; 1 was removed while fenced. What to do: smmu-rasctl show {DEV}" in text, text)
    equal(b.ctl("status").stdout, "no device is fenced; 1 was removed while fenced\n", "status")
    equal(conforms(b.ctl("status", "--json").stdout, "status")["removed"], 1, "status")
    # Who asks for what is fenced is not told of what is not there.
    answer = conforms(b.ctl("list", "--json").stdout, "list")
    equal(answer["devices"], [], "devices")
    found = answer["removed"][0]
    equal([found["verdict"], found["was"], found["state"]], ["gone", "isolated", "unknown"], "JSON")
    text = " ".join(b.ctl("show", "01:00.0").stdout.split())
    for words in ("while it was fenced", "Because of: atc-timeout", "it is not in this machine any more", "What was done:",
                  "It was pulled out, switched off, or removed by hand", "journalctl -k -S '20",
                  "echo 1 > /sys/bus/pci/rescan", f"journalctl -x -u smmu-rasd SMMU_RAS_DEVICE={DEV}"):
        check(words in text, f"{words!r} is not in {text}")
    found = conforms(b.ctl("show", DEV, "--json").stdout, "show")
    equal([found["present"], len(found["history"])], [False, 4], "JSON of show")
    # Nothing is counted that is not there.
    check("smmu_ras_device_info{" not in b.ctl("metrics").stdout, "metrics")
    # Nothing can be done to it, and nobody is asked to.
    for verb in ("recover", "isolate"):
        check(f"{DEV} is not in this machine any more: it was removed at 20" in b.ctl(verb, DEV, status=4).stderr, verb)
    check("cannot be fenced" in b.ctl("fence", "--yes", DEV, status=4).stderr, "fence")
    # The next daemon has it as well.
    b.kill()
    b.start()
    check("removed" in b.ctl("list").stdout, "with another daemon")
    # Another card takes its place.
    b.kernel.add(DEV, driver="nvme")
    text = b.ctl("list").stdout
    check("All is well" in text and "removed" not in text, text)
    check("what was at this address was removed while fenced" in " ".join(b.ctl("show", DEV).stdout.split()), "before")


@test
def one_that_is_pulled_out_of_its_recovery_is_told_of(b):
    device = b.kernel.add(DEV, driver="nvme")
    hold = b.kernel.hold(f"{DEV}/reset")
    b.start()
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.wait_step("reset")
    with b.kernel.lock:
        # The worker is killed in its write, which never happens.
        b.kernel.holds.remove(hold)
        pull_out(b, device)
    wait_gone(b)
    check("reset was running" in b.ctl("list").stdout, b.ctl("list").stdout)


@test
def one_that_left_while_no_daemon_ran_is_told_of(b):
    device = isolated(b)
    b.kill()
    pull_out(b, device)
    b.start()
    wait_gone(b)
    check("was given up, failed: reset: " in b.ctl("list").stdout, b.ctl("list").stdout)


@test
def who_is_well_leaves_without_a_word(b):
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.wait_state("idle")
    b.kill()
    pull_out(b, device)
    b.start()
    b.kernel.wait(lambda: b.state() is None, "the end of its story")
    equal(kept(b), [], "devices that are gone")
    # Nor is a card that was exchanged one that is missing.
    other = isolated_again(b)
    replace(b, other)
    b.kernel.fence(other.name)
    b.kernel.wait(lambda: len(kept(b)) == 1, "the one that was there before")
    check("removed" not in b.ctl("list").stdout, b.ctl("list").stdout)


def isolated_again(b):
    b.kill()
    return isolated(b, "0000:02:00.0")


@test
def no_more_are_kept_than_people_read(b):
    b.policy([{"name": "leave", "match": {}, "action": "isolate"}])
    devices = [b.kernel.add(f"0000:{n:02x}:00.0") for n in range(1, GONE_MAX + 9)]
    b.start()
    for device in devices:
        b.kernel.fence(device.name)
    b.kernel.wait(lambda: len(b.kernel.records(ISOLATED)) == len(devices), "isolation")
    for device in devices:
        pull_out(b, device)
    b.kernel.wait(lambda: f"pci@{devices[-1].name}.json" in kept(b), "the last one")
    wait_kept(b, GONE_MAX)
    check(f"pci@{devices[0].name}.json" not in kept(b), "the first one")
    b.kernel.wait(lambda: not os.listdir(f"{b.root}/run/devices"), "the end of all records")
    # What is too old is not shown, and goes with the next daemon.
    for name in kept(b):
        with open(f"{b.root}/run/gone/{name}") as f:
            record = json.load(f)
        b.file(f"run/gone/{name}", json.dumps(record | {"keep_until": 1}))
    b.file(f"run/gone/pci@{DEV}.json", "{")
    check("All is well" in b.ctl("list").stdout, b.ctl("list").stdout)
    b.kill(signal.SIGTERM)
    b.start()
    equal(kept(b), [], "after a day")
