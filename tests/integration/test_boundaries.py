# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon, or its worker, ends at each boundary of each kind of recovery.

A boundary is the moment before and the moment after every write to sysfs, every command to the kernel, and every
file that the daemon replaces in /run/smmu-rasd. Nobody wrote a list of them: a recovery without a disturbance tells
how many there are. Then each of them has its turn, on a machine of its own.
"""

import contextlib
import os
import signal

import fakekernel
from fakekernel import ACTIVE, FENCED, SANITIZED
from lib.bench import DEV, QUICK, TESTS, Bench, alive, check, equal
from lib.messages import BEGUN, ISOLATED

NEIGHBOUR = "0000:01:00.1"


class Recovery:
    """One kind of recovery: how to set it up, and what it has to come to."""

    def __init__(self, name, prepare, attempts=2, may_be_isolated=False, goes_away=False, **policy):
        self.name = name
        self.prepare = prepare
        # Its programs are in the directory of the machine, which does not exist yet.
        self.policy = dict({"attempts": attempts, "backoff": QUICK, "protect": False}, **policy)
        self.attempts = attempts
        self.may_be_isolated = may_be_isolated
        # Its device may come back as one that nobody has a record of, or (with isolation) be left out of the system.
        self.goes_away = goes_away

    def policy_on(self, b):
        return {key: value(b) if callable(value) else value for key, value in self.policy.items()}


def plain(b):
    device = b.kernel.add(DEV)
    device.write("driver_override", "virtio-pci")
    device.write("reset_method", "flr")
    device.has("virtio0/net/eth0", "net")
    return device


def fails_once(b):
    device = plain(b)
    device.failures = 1
    return device


def wedges_again(b):
    device = plain(b)
    device.refences = 1
    return device


def never_works(b):
    device = plain(b)
    device.failures = 1000
    return device


def with_vfs(b):
    device = b.kernel.add(DEV, driver="igb")
    device.write("driver_override", "igb")
    device.write("reset_method", "flr")
    device.can_have_vfs(["0000:01:10.0", "0000:01:10.1"])
    device.set_vfs(2)
    vf = b.kernel.devices["0000:01:10.0"]
    vf.write("driver_override", "vfio-pci")
    vf.unbind()
    vf.bind("vfio-pci")
    return device


def in_a_slot(b):
    neighbour = b.kernel.add(NEIGHBOUR, driver="snd")
    device = plain(b)
    b.kernel.slot("7", "0000:01:00")
    device.neighbour = neighbour
    return device


def cured_by_a_power_cycle(b):
    device = in_a_slot(b)
    # The reset fails, always; what has been without power has no fence.
    device.failures = 1000
    return device


def only_bound_by_hand(b):
    device = plain(b)
    device.probed_by = None
    return device


# A program that stands still like everything else here: its begin and its end are boundaries too.
PROGRAM = """#!/usr/bin/python3 -ISs
import os, socket
def boundary():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as kernel:
        kernel.connect("@ROOT@/kernel")
        kernel.send(b"S")
        kernel.send(b"s")
        kernel.recv(1)
def tell(what):
    with open("@ROOT@/told", "a") as f:
        f.write(what + " " + os.environ["SMMU_RAS_WHEN"] + " " + os.environ.get("SMMU_RAS_RESULT", "") + "\\n")
boundary()
tell("begun")
boundary()
tell("ended")
"""


def program(b):
    b.file("program", PROGRAM.replace("@ROOT@", b.root), 0o755)
    return {"exec": [f"{b.root}/program"]}


def told(b):
    try:
        with open(f"{b.root}/told") as f:
            return [line.split() for line in f]
    except FileNotFoundError:
        return []


def exec_step(b):
    return ["unbind", "reset", dict(program(b), step="exec"), "reattach", "bind"]


def exec_hooks(b):
    return {"before": [program(b)], "after": [program(b)]}


TAKEN_OUT = ["unbind", "reset", "remove", "rescan", "bind"]

RECOVERIES = [
    Recovery("default_steps", plain, reset_methods=["bus"]),
    Recovery("in_place", plain, steps=["reset"], reset_methods=["bus"]),
    # One more than it fails by itself, and one for the disturbance.
    Recovery("second_attempt", fails_once, attempts=3),
    Recovery("wedges_again", wedges_again, attempts=3),
    Recovery("only_attempt", plain, attempts=1, may_be_isolated=True, reset_methods=["bus"]),
    Recovery("never_works", never_works, attempts=2, may_be_isolated=True),
    Recovery("virtual_functions", with_vfs),
    Recovery("removed_and_found", plain, goes_away=True, steps=TAKEN_OUT),
    Recovery("found_without_a_driver", only_bound_by_hand, goes_away=True, steps=TAKEN_OUT),
    Recovery("virtual_functions_of_the_removed", with_vfs, goes_away=True, steps=TAKEN_OUT),
    Recovery("power_cycle", in_a_slot, goes_away=True, steps=["slot-power-cycle", "bind"]),
    Recovery("a_program", plain, steps=exec_step),
    Recovery("hooks", plain, hooks=exec_hooks),
    Recovery("hooks_of_the_isolated", never_works, may_be_isolated=True, hooks=exec_hooks),
    Recovery("on_exhausted_program", never_works, attempts=1, may_be_isolated=True, on_exhausted=program),
    Recovery("on_exhausted_remove", never_works, attempts=1, may_be_isolated=True, goes_away=True, on_exhausted="remove"),
    # Who kills its worker ends it: it is tried once.
    Recovery("on_exhausted_power_cycle", cured_by_a_power_cycle, attempts=1, may_be_isolated=True, goes_away=True,
             on_exhausted="slot-power-cycle"),
]


def machine(recovery):
    b = Bench()
    b.env["SMMU_RAS_TEST_STATE"] = "1"
    b.policy(**recovery.policy_on(b))
    return b, recovery.prepare(b)


def begin(b):
    b.start()
    # What was written at the start is not part of a recovery.
    b.kernel.boundaries = 0
    b.kernel.fence(DEV)


def over(b):
    """Is the story over, with nobody at work any more?"""
    state = (b.state() or {}).get("state")
    device = b.kernel.devices.get(DEV)
    if not device:
        return state in (None, "isolated")
    return state in (None, "idle") if device.state == ACTIVE else state == "isolated"


def assert_vfs(b, device, where):
    vfs = [b.kernel.devices[name] for name in device.vfs]
    equal([vf.driver for vf in vfs], ["vfio-pci", "virtio-pci"], f"{where}: drivers of the VFs")
    equal(vfs[0].read("driver_override"), "vfio-pci", f"{where}: driver_override of a VF")
    equal(device.read("sriov_drivers_autoprobe"), "1", f"{where}: sriov_drivers_autoprobe")


def assert_isolated(b, device, recovery, record, where):
    check(recovery.may_be_isolated, f"{where}: isolated ({record['note']})")
    away = DEV not in b.kernel.devices
    check(away or device.state in (FENCED, SANITIZED), f"{where}: state {device.state}")
    # The driver may be unbound, but neither silently nor forgotten.
    # Nor is it known yet when the worker was killed before it had said what it found.
    check(record["driver"] == device.home or (device.driver and not record["prepared"]),
          f"{where}: the driver in the record: {record['driver']}")
    message = b.kernel.records(ISOLATED, DEV)[-1]["MESSAGE"]
    check(device.home in message and f"smmu-rasctl recover {DEV}" in message, f"{where}: {message}")
    check(("It is out of the system" in message) == away, f"{where}: away {away}: {message}")


def assert_programs(b, recovery, where):
    """Hooks before are steps of their attempts; those after run once, or not at all when their daemon has ended."""
    if "hooks" not in recovery.policy:
        return
    before = told(b).count(["begun", "before"])
    check(1 <= before <= recovery.attempts + 1, f"{where}: {before} hooks before")
    after = [words for words in told(b) if words[1] == "after" and words[0] == "begun"]
    check(len(after) <= 1, f"{where}: {after}")


def assert_end(b, device, recovery, where, more=0):
    b.kernel.wait(lambda: over(b), lambda: f"the end of the story, ended {where}: {device.state} {b.state()}")
    record = b.state()
    begun = [int(r["SMMU_RAS_ATTEMPT"]) for r in b.kernel.records(BEGUN, DEV)]
    check(max(begun, default=0) <= recovery.attempts + more, f"{where}: attempts {begun}")
    equal(begun, sorted(begun), f"{where}: attempts in their order")
    assert_programs(b, recovery, where)
    if record and record["state"] == "isolated":
        assert_isolated(b, device, recovery, record, where)
    if DEV not in b.kernel.devices:
        # One that leaves while it is isolated is kept with those that are gone.
        told = record or recovery.policy.get("on_exhausted") == "remove" or os.listdir(f"{b.root}/run/gone")
        check(told, f"{where}: it is away, and nobody knows why")
        return
    check(record or recovery.goes_away, f"{where}: there is no record")
    equal(device.read("driver_override"), device.home, f"{where}: driver_override")
    if record and record["state"] == "isolated":
        return
    equal(device.driver, device.home, f"{where}: driver")
    equal(device.read("reset_method").split()[0], "flr", f"{where}: reset_method")
    if record:
        equal(record["prepared"], False, f"{where}: something is still owed")
    if device.vfs:
        assert_vfs(b, device, where)
    if NEIGHBOUR in b.kernel.devices:
        equal(b.kernel.devices[NEIGHBOUR].driver, "snd", f"{where}: driver of a neighbour")


def kill_daemon(b):
    b.kill()
    b.kernel.stop_at = None
    b.start()


def stop_daemon(b):
    """As `systemctl restart` does: what is under way is let end."""
    b.daemon.send_signal(signal.SIGTERM)
    b.kernel.release_boundary()
    equal(b.daemon.wait(fakekernel.PATIENCE), 0, "exit status")
    b.start()


def kill_worker(b):
    """As the OOM killer does. What it was about to ask the kernel for is not done; what it has asked for, is."""
    workers = b.workers()
    for pid in workers:
        # The last boundary is the daemon's: its worker may end of itself just now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    b.kernel.wait(lambda: not any(alive(pid) for pid in workers), "the end of the worker")
    b.kernel.release_boundary()


def kill_spawner(b):
    """The daemon ends with it, and says that this was a failure; systemd starts it again."""
    os.kill(b.spawner(), signal.SIGKILL)
    b.kernel.stop_at = None
    b.kernel.release_boundary()
    equal(b.daemon.wait(fakekernel.PATIENCE), 1, "exit status")
    b.start()


def count(recovery):
    b, device = machine(recovery)
    try:
        begin(b)
        assert_end(b, device, recovery, "nowhere")
        return b.kernel.boundaries
    finally:
        b.close()


def at_each_boundary(recovery, disturb):
    n = count(recovery)
    # Before and after: the first save, each step, the last save.
    check(n >= 8, f"only {n} boundaries")
    for i in range(1, n + 1):
        b, device = machine(recovery)
        try:
            b.start()
            b.kernel.boundaries = 0
            b.kernel.stop_at = i
            b.kernel.fence(DEV)
            b.kernel.wait(lambda: b.kernel.stopped.is_set() or over(b), f"boundary {i} of {n}")
            # Records are written when the loop has nothing better to do: there may be one less of them.
            if b.kernel.stopped.is_set():
                disturb(b)
            # A device that was unfenced just before its worker was killed needs another one, to bind its driver.
            assert_end(b, device, recovery, f"at boundary {i} of {n}", more=int(disturb is kill_worker))
        finally:
            b.close()


def add_tests():
    for recovery in RECOVERIES:
        for disturb in (kill_daemon, stop_daemon, kill_worker, kill_spawner):

            def run(b, recovery=recovery, disturb=disturb):
                at_each_boundary(recovery, disturb)

            run.__name__ = f"{disturb.__name__}_at_each_boundary_of_{recovery.name}"
            run.__module__ = __name__
            TESTS.append(run)


add_tests()
