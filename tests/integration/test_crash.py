# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is killed or stopped, and started again."""

import json
import os
import signal
import subprocess

import fakekernel
from fakekernel import ACTIVE, FENCED
from lib.bench import BINARIES, DEFAULT_STEPS, DEV, QUICK, TESTS, alive, check, equal, recovered, test
from lib.machine import give_up, killed_in
from lib.messages import ATTEMPT_FAILED, BEGUN, ISOLATED, RECOVERED


def kill_at(b, where, done):
    device = b.kernel.add(DEV)
    device.write("driver_override", "virtio-pci")
    b.policy(attempts=2, backoff=QUICK, reset_methods=["bus"])
    device.write("reset_method", "flr")
    b.start()
    hold = b.kernel.hold(f"{DEV}/{where}", done)
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), where)
    b.kill()
    # The worker dies with its daemon, and its connection with it.
    b.kernel.wait(lambda: not hold.waiting, "the end of the worker")
    b.kernel.release(hold)
    b.start()
    # Where everything was done already there is nothing to tell.
    b.kernel.wait(
        lambda: device.state == ACTIVE
        and device.driver == device.home
        and device.read("reset_method") == "flr"
        and (b.state() or {}).get("state") == "idle",
        f"a device that is well: {device.state} {device.driver} {b.state()}",
    )
    equal(device.read("driver_override"), "virtio-pci", "driver_override")
    check(len(b.kernel.records(BEGUN)) <= 2, "attempts are counted once")
    check(not b.kernel.records(ISOLATED), "not isolated")


def add_kill_tests():
    for step in DEFAULT_STEPS + ["reset_method"]:
        for done in (False, True):

            def run(b, step=step, done=done):
                kill_at(b, step, done)

            run.__name__ = f"killed_{'after' if done else 'before'}_{step}"
            TESTS.append(run)


add_kill_tests()


@test
def killed_after_a_reset_in_place(b):
    # The device is well, and its driver bound: all that is left to do is to put reset_method back.
    b.policy(steps=["reset"], reset_methods=["bus"])
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset", done=True)
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kill()
    equal(device.read("reset_method"), "bus", "reset_method")
    b.start()
    b.wait_state("idle")
    equal(device.read("reset_method"), "flr bus", "reset_method")
    equal(b.steps().count("reset"), 1, "resets")


@test
def killed_in_the_last_attempt_is_isolated(b):
    b.policy(attempts=1)
    # A worker that is still ending would be waited for, which is another way to the same end.
    device, _ = killed_in(b, "reset")
    b.start()
    record = b.wait_record(ISOLATED)
    check("1 attempt" in record["MESSAGE"], record["MESSAGE"])
    check("(virtio-pci): given up after 1 attempt" in record["MESSAGE"], record["MESSAGE"])
    equal(b.state()["driver"], "virtio-pci", "the driver is not forgotten")
    equal(device.state, FENCED, "state")


@test
def a_torn_record_is_set_aside_with_a_word(b):
    device = b.kernel.add(DEV)
    b.kernel.fence(DEV)
    os.mkdir(f"{b.root}/run/devices")
    b.file(f"run/devices/pci@{DEV}.json", '{"version": 1, "bus": "pc')
    b.start()
    recovered(b, device)
    check(any("it is damaged" in r["MESSAGE"] for r in b.kernel.journal), "a message")
    with open(f"{b.root}/run/devices/pci@{DEV}.json.bad") as f:
        equal(f.read(), '{"version": 1, "bus": "pc', "what was in it")
    b.wait_state("idle")


@test
def a_record_that_cannot_be_read_is_set_aside(b):
    path = f"{b.root}/run/devices/pci@{DEV}.json"
    os.mkdir(f"{b.root}/run/devices")
    os.symlink(path, path)
    b.start()
    check(os.path.lexists(path + ".bad") and not os.path.lexists(path), "the record")
    b.kernel.wait(lambda: any("is kept as" in r["MESSAGE"] for r in b.kernel.journal), "a message")


def complaints(b):
    return [r["MESSAGE"] for r in b.kernel.journal if "Cannot write to /run/smmu-rasd" in r["MESSAGE"]]


@test
def recovers_without_a_run_to_write_to(b):
    b.policy(attempts=2, backoff=QUICK)
    device = b.kernel.add(DEV)
    other = b.kernel.add("0000:02:00.0")
    b.start()
    os.rmdir(f"{b.root}/run/devices")
    b.file("run/devices", "")
    other.reset_result = 25
    b.kernel.fence(other.name)
    b.wait_record(ISOLATED, other.name)
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(len(b.kernel.records(BEGUN, other.name)), 2, "attempts")
    equal(len(complaints(b)), 1, "complaints")
    # What is known is on disk as soon as that can be.
    os.unlink(f"{b.root}/run/devices")
    b.wait_state("isolated", other.name)
    b.wait_state("idle")
    b.kernel.wait(
        lambda: any("can be written again" in r["MESSAGE"] for r in b.kernel.journal), "the end of it is told"
    )
    equal(len(complaints(b)), 1, "complaints")


def write_bytes(device, name, value):
    with open(f"{device.path}/{name}", "wb") as f:
        f.write(value)


def read_bytes(device, name):
    with open(f"{device.path}/{name}", "rb") as f:
        return f.read()


@test
def a_driver_override_of_any_bytes_survives_a_kill(b):
    b.policy(steps=["unbind", "reset", "reattach", "bind"], backoff=QUICK)
    device = b.kernel.add(DEV)
    write_bytes(device, "driver_override", b"\xff\\xfe\n")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    state = b.state()
    equal((state["state"], state["prepared"], state["driver"]), ("running", True, device.home), "the record")
    equal(state["driver_override"], r"\xff\\xfe", "driver_override on disk")
    b.kill()
    b.kernel.wait(lambda: not alive(state["worker"]), "the end of the worker")
    b.kernel.release(hold)
    b.start()
    recovered(b, device)
    equal(read_bytes(device, "driver_override").strip(), b"\xff\\xfe", "driver_override")
    equal(complaints(b), [], "complaints")


@test
def a_record_that_cannot_be_written_is_in_nobodys_way(b):
    b.policy(attempts=1)
    bad = b.kernel.add(DEV)
    other = b.kernel.add("0000:02:00.0")
    bad.reset_result = other.reset_result = 25
    b.start()
    # A directory in the place of the new record, which cannot be opened for writing.
    os.mkdir(f"{b.root}/run/devices/pci@{DEV}.json.new")
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    b.kernel.fence(other.name)
    b.wait_record(ISOLATED, other.name)
    b.wait_state("isolated", other.name)
    equal(b.state(), None, "the record that cannot be written")
    equal(len(complaints(b)), 1, "complaints")
    os.rmdir(f"{b.root}/run/devices/pci@{DEV}.json.new")
    b.wait_state("isolated")
    equal(len(complaints(b)), 1, "complaints")


@test
def a_restart_applies_a_changed_policy(b):
    for action, left in (("isolate", "isolated"), ("ignore", "ignored")):
        b.policy(action=action)
        device = b.kernel.add(DEV) if action == "isolate" else device
        b.start()
        b.kernel.fence(DEV)
        b.wait_state(left)
        b.kill()
        n = len(b.kernel.records(RECOVERED))
        b.policy(action="recover")
        b.start()
        recovered(b, device, n + 1)
        b.kernel.wait(lambda: (b.state() or {}).get("state", "idle") == "idle", "the end of the story")
        b.kill()


@test
def a_restart_does_not_try_again_what_has_failed(b):
    device = give_up(b)
    b.kill()
    device.reset_result = 0
    n = len(b.steps())
    b.policy(attempts=5)
    b.start()
    other = b.kernel.add("0000:02:00.0")
    b.kernel.fence(other.name)
    recovered(b, other)
    equal(b.steps()[n:], [], "steps")


@test
def a_device_that_is_away_is_written_after_a_take_over(b):
    """The worker of an earlier daemon is still there, as it is when the kernel does not let it go."""
    b.policy(steps=["unbind", "remove", {"step": "rescan", "timeout": "20ms"}, "bind"], attempts=3,
             backoff={"first": "1h", "max": "1h"})
    device = b.kernel.add(DEV)
    device.lost = True
    b.start()
    b.kernel.fence(DEV)
    b.wait_state("backoff")
    b.kill()
    old = subprocess.Popen(["sleep", "1000"])
    try:
        with open(f"/proc/{old.pid}/stat") as f:
            begin = int(f.read().rpartition(")")[2].split()[19])
        record = dict(b.state(), state="running", worker=old.pid, worker_start=begin)
        check(record["away"], "it is away")
        b.file(f"run/devices/pci@{DEV}.json", json.dumps(record))
        b.start()
        equal(old.wait(fakekernel.PATIENCE), -signal.SIGKILL, "the end of the worker")
    finally:
        old.kill()
        old.wait()
    b.wait_state("backoff")


@test
def the_last_story_is_remembered(b):
    b.policy(attempts=2, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.failures = 1
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ATTEMPT_FAILED)
    recovered(b, device)
    b.kill()
    b.start()
    record = b.state()
    told = [(h["attempt"], h["step"], h["error"]) for h in record["history"]]
    equal(
        told,
        [(1, "unbind", 0), (1, "reset", -25)] + [(2, step, 0) for step in DEFAULT_STEPS + ["verify"]],
        "the history",
    )
    check("did not come back from its reset" in record["history"][1]["note"], record["history"][1])
    check(all(h["time"] > record["since"] - 60e6 for h in record["history"]), "times")
    check(record["recovered_time"] > 0 and record["keep_until"] > 0, "when")
    # A new fence is a new story.
    b.kernel.fence(DEV)
    recovered(b, device, 2)
    b.kernel.wait(lambda: len(b.state()["history"]) == 5, "a history of its own")


@test
def stop_lets_a_recovery_end(b):
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.daemon.send_signal(signal.SIGTERM)
    b.wait_notify("STOPPING=1")
    b.kernel.release(hold)
    equal(b.daemon.wait(fakekernel.PATIENCE), 0, "exit status")
    b.daemon = None
    recovered(b, device)


@test
def only_one_daemon(b):
    b.start()
    second = subprocess.run([f"{BINARIES}/smmu-rasd"], env=b.env, timeout=fakekernel.PATIENCE, check=False)
    equal(second.returncode, 1, "exit status")
    b.kernel.wait(lambda: any("Another smmu-rasd" in r["MESSAGE"] for r in b.kernel.journal), "a message")
