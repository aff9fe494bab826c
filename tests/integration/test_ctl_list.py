# SPDX-License-Identifier: GPL-2.0-or-later
"""What the list, show and status of smmu-rasctl say."""

import json
import os

import fakekernel
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.machine import add_disk, give_up
from lib.messages import ISOLATED, PROTECTED
from lib.terminal import on_terminal

FAILS = 25


def many_troubles(b):
    """One device of each kind that somebody may find at night."""
    b.policy(
        [{"name": "by-hand", "match": {"driver": "nvidia"}, "action": "isolate"}],
        attempts=2,
        backoff=QUICK,
    )
    failing = b.kernel.add(DEV, driver="nvme")
    failing.reset_result = FAILS
    b.kernel.add("0000:02:00.0", driver="nvidia")
    used = b.kernel.add("0000:03:00.0", driver="ahci")
    add_disk(b, used, "sda", "8:0")
    b.file("proc/self/mountinfo", "30 1 8:0 / /srv/data rw - ext4 /dev/sda rw\n")
    b.kernel.add("0000:04:00.0", driver="mlx5_core")
    hold = b.kernel.hold("0000:04:00.0/reset")
    b.start()
    for number, record in ((1, ISOLATED), (2, ISOLATED), (3, PROTECTED)):
        b.kernel.fence(f"0000:0{number}:00.0")
        b.wait_record(record, f"0000:0{number}:00.0")
    b.kernel.fence("0000:04:00.0")
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.wait_state("isolated", "0000:03:00.0")
    b.wait_step("reset", "0000:04:00.0")
    return hold


@test
def list_says_why_nothing_is_done(b):
    hold = many_troubles(b)
    lines = b.ctl().stdout.splitlines()
    check("failed: reset: " in lines[1] and DEV in lines[1] and "2/2" in lines[1], lines[1])
    check("by rule by-hand" in lines[2], lines[2])
    check("in use: /srv/data (sda)" in lines[3], lines[3])
    # What is being dealt with comes behind what needs somebody.
    check("0000:04:00.0" in lines[4] and "running reset for" in lines[4] and "1/2" in lines[4], lines[4])
    check("3 devices need you" in lines[-1] and f"show {DEV} (the first; then the others)" in lines[-1], lines[-1])
    equal(b.ctl("status", status=11).stdout, f"3 devices need somebody, first {DEV}\n", "status")
    b.kernel.release(hold)


@test
def list_on_narrow_and_wide_terminals(b):
    hold = many_troubles(b)
    for width in (40, 60, 80, 120, 160, 250):
        text, status = on_terminal(b, width, "list", "--no-legend", SYSTEMD_COLORS="0")
        equal(status, 0, "exit status")
        lines = text.splitlines()
        equal(len(lines), 4, "lines")
        for line in lines:
            check(len(line) <= width, f"{len(line)} columns of {width}: {line}")
            check("fenced" in line, line)
        if width >= 60:
            check("by rule by-hand" in lines[1] and "running reset" in lines[3], text)
        equal("atc-timeout" in text, width >= 120, "the reason is there")
    b.kernel.release(hold)


@test
def colour_only_on_terminals_that_want_it(b):
    b.kernel.add(DEV)
    b.kernel.fence(DEV)
    for env, wanted in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"SYSTEMD_COLORS": "0"}, False),
        ({"SYSTEMD_COLORS": "1", "TERM": "dumb"}, True),
    ):
        equal("\x1b[" in on_terminal(b, 80, **env)[0], wanted, f"colours with {env}")
    check("\x1b" not in b.ctl().stdout, "no colours in a pipe")


@test
def pager_shows_it_and_can_be_switched_off(b):
    b.kernel.add(DEV)
    b.kernel.fence(DEV)
    pager = {"SYSTEMD_PAGER": "sed s/^/PAGED:/", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGERSECURE": "0"}
    check("PAGED:DEVICE" in on_terminal(b, 80, **pager)[0], "a pager")
    check("PAGED" not in on_terminal(b, 80, "--no-pager", **pager)[0], "no pager")


def login_as(b, uid):
    os.makedirs(f"{b.root}/proc/self", exist_ok=True)
    b.file("proc/self/loginuid", str(uid))


@test
def a_pager_gives_no_shell_to_who_was_given_one_command(b):
    b.kernel.add(DEV)
    b.kernel.fence(DEV)
    own = {"SYSTEMD_PAGER": "sed s/^/PAGED:/", "SYSTEMD_COLORS": "0"}
    me, nobody = os.geteuid(), 4294967295
    # Root may be anybody who was given one command; of the others it is known who logged in.
    for login, wanted in ((nobody, me != 0), (me, me != 0), (me + 1, False)):
        login_as(b, login)
        equal("PAGED" in on_terminal(b, 80, answer="q", **own)[0], wanted, f"own pager, logged in as {login}")
    check("PAGED" in on_terminal(b, 80, SYSTEMD_PAGERSECURE="0", **own)[0], "an own pager that was asked for")
    login_as(b, me)
    check("PAGED" not in on_terminal(b, 80, answer="q", SYSTEMD_PAGERSECURE="1", **own)[0], "secure for everybody")
    # Of the pagers that are found only less(1) can be told to run nothing; more(1) cannot.
    folder = f"{b.root}/bin"
    os.mkdir(folder)
    for name in ("less", "more", "cat"):
        b.file(f"bin/{name}", f"#!/bin/sh\necho {name} secure=$LESSSECURE\n", 0o755)
    where = {"SYSTEMD_COLORS": "0", "PATH": folder, "SYSTEMD_PAGERSECURE": "1", "SYSTEMD_PAGER": "/bin/sh"}
    equal(on_terminal(b, 80, **where)[0], "less secure=1\n", "less")
    os.unlink(f"{folder}/less")
    equal(on_terminal(b, 80, **where)[0], "cat secure=1\n", "without less")


@test
def all_is_well_only_when_it_is(b):
    device = b.kernel.add(DEV)
    for text, status in (("smmu-rasd does not run", 12), ("All is well", 0), ("the policy on disk has a mistake", 12)):
        out = b.ctl().stdout
        check(text in out, out)
        equal("All is well" in out, status == 0, out)
        b.ctl("status", status=status)
        if status == 0:
            b.file("etc/policy.json", '{"rules": 3}')
        elif not b.daemon:
            b.start()
    check("policy.json:1:11" in b.ctl().stdout, b.ctl().stdout)
    b.policy()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.wait_state("idle")
    check(f"{DEV} (virtio-pci) " in b.ctl().stdout, b.ctl().stdout)
    equal(b.ctl("--no-legend").stdout, "", "lines for programs")
    check("recovered" in b.ctl("--all", "--no-legend").stdout, "all")


@test
def ats_that_is_enabled_is_seen(b):
    config = bytearray(4096)
    config[0x100:0x104] = (0x0001 | 1 << 16 | 0x148 << 20).to_bytes(4, "little")
    config[0x148:0x14C] = (0x000F | 1 << 16).to_bytes(4, "little")
    for name, enabled in ((DEV, True), ("0000:02:00.0", False)):
        device = b.kernel.add(name, driver="nvme")
        config[0x14F] = 0x80 if enabled else 0
        with open(f"{device.path}/config", "wb") as f:
            f.write(config)
    # A list of capabilities that is a loop has an end for us.
    loop = b.kernel.add("0000:03:00.0")
    config[0x148:0x14C] = (0x0001 | 1 << 16 | 0x100 << 20).to_bytes(4, "little")
    with open(f"{loop.path}/config", "wb") as f:
        f.write(config)
    check(f"1 device with ATS enabled: {DEV} (nvme)" in b.ctl().stdout, b.ctl().stdout)
    check("ATS: enabled" in b.ctl("show", DEV).stdout, "show")


@test
def show_tells_the_story_and_what_to_do(b):
    hold = many_troubles(b)
    text = b.ctl("show", DEV).stdout
    for words in (
        "all attempts failed",
        "2 of 2",
        "Because of: atc-timeout: it did not complete an ATC invalidation",
        "nothing happens by itself",
        "default (",
        "none; nvme is to be bound again",
        "What was done:",
        "What to do:",
        f"smmu-rasctl recover {DEV}",
        # Nobody is sent from here to another place: this is all that can be done.
        "step by step, by hand, as root",
        f"echo 1 > /sys/bus/pci/devices/{DEV}/reset && echo {DEV} > /sys/bus/pci/drivers/nvme/bind",
        f"journalctl -x -u smmu-rasd SMMU_RAS_DEVICE={DEV}",
    ):
        check(words in text, f"{words} in {text}")
    steps = [line.split()[1:4] for line in text.splitlines() if " done " in line or " failed " in line]
    check(["1", "unbind", "done"] in steps and ["2", "reset", "failed"] in steps, text)
    text = b.ctl("show", "/dev/sda").stdout
    check("filesystem /srv/data (sda)" in text and "recover --force 0000:03:00.0" in text, text)
    text = b.ctl("show", "04:00.0").stdout
    check("the step may take until" in text and "smmu-rasd is at it" in text, text)
    b.kernel.release(hold)


@test
def a_stopped_daemon_hides_nothing(b):
    hold = many_troubles(b)
    b.kill()
    text = b.ctl().stdout
    check("failed: reset: " in text and "4 devices need you, and smmu-rasd does not run" in text, text)
    check("interrupted in reset" in text, text)
    status = b.ctl("status", status=11).stdout
    equal(status, f"4 devices need somebody, first {DEV}; smmu-rasd does not run\n", "status")
    for name in (DEV, "04:00.0"):
        text = b.ctl("show", name).stdout
        check(text.split("What to do:")[1].split("      ")[1].startswith("systemctl start smmu-rasd\n"), text)
    b.kernel.release(hold)


@test
def a_record_does_not_drive_the_terminal(b):
    give_up(b)
    b.kill()
    record = b.state()
    for key in ("note", "driver"):
        record[key] = "a\x1b[2Jb\nc"
    for step in record["history"]:
        step["note"] = record["note"]
    b.file(f"run/devices/pci@{DEV}.json", json.dumps(record))
    for verb in (["list"], ["show", DEV]):
        text, status = on_terminal(b, 300, *verb, SYSTEMD_COLORS="0")
        check("\x1b" not in text and r"a\x1b[2Jb\x0ac" in text, repr(text))
    # A record that cannot be read is not passed over in silence.
    b.file(f"run/devices/pci@{DEV}.json", "{")
    check("1 in /run/smmu-rasd cannot be read" in b.ctl().stdout, b.ctl().stdout)


@test
def status_while_a_device_is_recovered(b):
    device = b.kernel.add(DEV)
    hold = b.kernel.hold(f"{DEV}/reset")
    b.start()
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.wait_step("reset")
    check("1 device is being recovered" in b.ctl("status", status=10).stdout, "status")
    b.kernel.release(hold)
    recovered(b, device)


@test
def a_device_that_no_database_knows_is_told_of(b):
    """Newer hardware than the machine's pci.ids: libpci asks other databases then."""
    b.policy([{"match": {}, "action": "ignore"}])
    device = b.kernel.add(DEV, driver="nvme")
    device.write("device", "0xfffe")
    b.start()
    b.kernel.fence(DEV)
    b.wait_state("ignored")
    equal([each["device"] for each in json.loads(b.ctl("list", "--json").stdout)["devices"]], [DEV], "the list")
    equal(b.ctl("show", DEV).returncode, 0, "exit status of show")
