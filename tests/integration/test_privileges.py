# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon gives up, what its spawner keeps, and that neither goes on without the other."""

import ctypes
import os
import signal
import socket

import fakekernel
from lib.bench import DEV, QUICK, alive, check, equal, recovered, stop, test
from lib.messages import ISOLATED, POLICY_LOADED

CAP_NET_ADMIN = 1 << 12
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_PIDFD_GETFD = 438


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}


def command(pid):
    with open(f"/proc/{pid}/cmdline") as f:
        return f.read().rstrip("\0")


def said(b, words):
    return any(words in r["MESSAGE"] for r in b.kernel.journal)


def hold_a_worker(b, device):
    """Has a worker wait in the kernel."""
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(device.name)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    (worker,) = b.workers()
    return hold, worker


@test
def only_workers_and_their_spawner_have_capabilities(b):
    device = b.kernel.add(DEV)
    b.start()
    hold, worker = hold_a_worker(b, device)
    daemon = status(b.daemon.pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        equal(int(daemon[name], 16), 0, f"{name} of the daemon")
    equal(daemon["NoNewPrivs"], "1", "no_new_privs of the daemon")
    equal(daemon["Seccomp"], "2", "seccomp of the daemon")
    # As much as it was started with; whoever runs the tests may have none.
    ours = status(os.getpid())
    for pid in (b.spawner(), worker):
        for name in ("CapPrm", "CapEff", "NoNewPrivs"):
            equal(status(pid)[name], ours[name], f"{name} of {command(pid)}")
    if int(ours["CapEff"], 16) & CAP_NET_ADMIN:
        check(int(status(worker)["CapEff"], 16) & CAP_NET_ADMIN, "the worker has it")
        equal(int(daemon["CapBnd"], 16), 0, "CapBnd of the daemon")
    b.kernel.release(hold)
    recovered(b, device)


@test
def each_process_says_what_it_is(b):
    device = b.kernel.add(DEV)
    b.start()
    hold, worker = hold_a_worker(b, device)
    names = [status(pid)["Name"] for pid in (b.daemon.pid, b.spawner(), worker)]
    equal(names, ["smmu-rasd", "smmu-ras-spawn", "smmu-ras-worker"], "names")
    equal([command(pid) for pid in (b.spawner(), worker)], ["smmu-rasd: spawner", "smmu-rasd: worker"], "commands")
    b.kernel.release(hold)
    recovered(b, device)


@test
def the_spawner_holds_nothing_of_the_daemons(b):
    b.start()
    # It has answered a request before the daemon was ready, and so has come to its loop.
    where = f"/proc/{b.spawner()}/fd"
    held = sorted(os.readlink(f"{where}/{fd}").split(":")[0] for fd in os.listdir(where) if int(fd) > 2)
    # Neither the lock on /run/smmu-rasd nor a socket of the kernel's events: requests, and ends of workers.
    equal(held, ["anon_inode", "socket"], "what it has open")


@test
def the_daemon_writes_to_its_own_directory_only(b):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1) < 0:
        print("this kernel has no Landlock")
        return
    device = b.kernel.add(DEV)
    b.start()
    os.mkdir(f"{b.root}/elsewhere")
    os.rmdir(f"{b.root}/run/devices")
    os.symlink(f"{b.root}/elsewhere", f"{b.root}/run/devices")
    b.kernel.fence(DEV)
    recovered(b, device)
    b.kernel.wait(lambda: said(b, "Cannot write to /run/smmu-rasd: Permission denied"), "a complaint")
    equal(os.listdir(f"{b.root}/elsewhere"), [], "what it wrote elsewhere")
    os.unlink(f"{b.root}/run/devices")
    b.wait_state("idle")


@test
def without_its_spawner_the_daemon_ends_and_the_next_one_goes_on(b):
    device = b.kernel.add(DEV)
    b.start()
    hold, worker = hold_a_worker(b, device)
    spawner = b.spawner()
    os.kill(spawner, signal.SIGKILL)
    equal(b.daemon.wait(fakekernel.PATIENCE), 1, "exit status")
    b.kernel.wait(lambda: said(b, f"spawner of workers (process {spawner}) has died"), "what it says")
    b.kernel.wait(lambda: not alive(spawner) and not alive(worker), "the end of both")
    # It is not taken for a reset that failed.
    equal([r for r in b.kernel.journal if "failed" in r["MESSAGE"]], [], "failures")
    b.kernel.release(hold)
    b.start()
    recovered(b, device)
    equal(b.steps(), ["unbind", "reset", "reset", "reattach", "bind"], "steps")


@test
def spawner_and_workers_die_with_the_daemon(b):
    device = b.kernel.add(DEV)
    b.start()
    hold, worker = hold_a_worker(b, device)
    spawner = b.spawner()
    b.kill()
    b.kernel.wait(lambda: not alive(spawner) and not alive(worker), "the end of both")
    b.kernel.release(hold)


@test
def other_signals_do_not_reach_the_spawner(b):
    """Ctrl-C, and `systemctl kill`, are the daemon's to answer."""
    device = b.kernel.add(DEV)
    b.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(b.spawner(), number)
    b.kernel.fence(DEV)
    recovered(b, device)


def daemons_end(b):
    """The socket on which the daemon asks its spawner."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(b.daemon.pid)
    try:
        # Nothing was open before it but 0, 1 and 2.
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, 3, 0)
        check(fd >= 0, os.strerror(ctypes.get_errno()))
        return socket.socket(fileno=fd)
    finally:
        os.close(pidfd)


@test
def a_request_that_is_none_is_refused(b):
    device = b.kernel.add(DEV)
    b.start()
    spawner = b.spawner()
    with daemons_end(b) as end:
        for data in (b"x", bytes(16), b"\xff" * 16, b"\x01" + bytes(15), b"\x02" + bytes(16), bytes(100000)):
            end.send(data)
            b.kernel.wait(lambda: said(b, f"A request of {len(data)} bytes is refused"), "a refusal")
        # The right size for a job, with nothing in it.
        size = next(n for n in range(1024, 16384) if is_a_job(b, end, n))
        check(size < 16384, "a job")
        # A worker that it did not ask for is none of the daemon's.
        b.kernel.fence(DEV)
        recovered(b, device)
    equal(b.spawner(), spawner, "the spawner")


def is_a_job(b, end, size):
    """Sends @size bytes as a request for a worker. Is there such a job, if only one that is refused?"""
    if size % 8:
        return False
    n = len(b.kernel.journal)
    end.send(b"\x01" + bytes(size - 1))

    def refusals():
        return [r["MESSAGE"] for r in b.kernel.journal[n:] if "is refused" in r["MESSAGE"]]

    b.kernel.wait(refusals, "a refusal")
    return refusals()[0] == "A worker is refused: n_steps of the request is not valid"


def loaded(b, count):
    b.wait_record(POLICY_LOADED, None, count)


@test
def a_program_that_the_spawner_has_not_read_is_not_run(b):
    b.file("program", f"#!/bin/sh\ntouch {b.root}/has-run\n", 0o755)
    wanted = {"step": "exec", "exec": [f"{b.root}/program"]}
    b.policy(attempts=1, steps=["reset"])
    b.kernel.add(DEV)
    b.start()
    spawner = b.spawner()
    # What the daemon has read is not what the spawner is going to read.
    stop(spawner)
    b.policy(attempts=1, steps=[wanted, "reset"])
    b.daemon.send_signal(signal.SIGHUP)
    loaded(b, 2)
    b.kernel.wait(lambda: said(b, f"(process {spawner}) has not answered"), "what it says of the spawner")
    b.policy(attempts=1, steps=["reset"])
    os.kill(spawner, signal.SIGCONT)
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    refusal = f"A worker for {DEV} is refused: it would run a program that no policy names"
    b.kernel.wait(lambda: said(b, refusal), "the refusal")
    check(not os.path.exists(f"{b.root}/has-run"), "the program has run")
    # Once it has read it, it does.
    b.policy(attempts=1, steps=[wanted, "reset"])
    b.daemon.send_signal(signal.SIGHUP)
    loaded(b, 3)
    b.kernel.add("0000:02:00.0")
    b.kernel.fence("0000:02:00.0")
    b.kernel.wait(lambda: os.path.exists(f"{b.root}/has-run"), "the program")


@test
def a_recovery_goes_on_with_the_programs_that_it_began_with(b):
    b.file("old", f"#!/bin/sh\necho old >> {b.root}/order\n", 0o755)
    b.policy(attempts=1, steps=["reset"], hooks={"after": [{"exec": [f"{b.root}/old"]}]})
    device = b.kernel.add(DEV)
    b.start()
    hold, _ = hold_a_worker(b, device)
    b.policy(attempts=1, steps=["reset"])
    b.daemon.send_signal(signal.SIGHUP)
    loaded(b, 2)
    b.kernel.release(hold)
    recovered(b, device)
    b.kernel.wait(lambda: os.path.exists(f"{b.root}/order"), "the hook")


@test
def a_spawner_that_stands_still_is_not_waited_for_twice(b):
    b.policy(attempts=1, backoff=QUICK, steps=["reset"])
    devices = [b.kernel.add(f"0000:0{i}:00.0") for i in range(1, 6)]
    b.start()
    spawner = b.spawner()
    stop(spawner)
    for device in devices:
        b.kernel.fence(device.name)
    b.kernel.wait(lambda: said(b, "has not answered"), "what it says of the spawner")
    put_off = "cannot start a worker: Resource temporarily unavailable; nothing was done to the device"
    b.kernel.wait(lambda: all(said(b, f"{d.name} (virtio-pci): {put_off}") for d in devices), "all of them to be put off")
    os.kill(spawner, signal.SIGCONT)
    for device in devices:
        recovered(b, device)
    equal(len([r for r in b.kernel.journal if "has not answered" in r["MESSAGE"]]), 1, "times it was waited for")
    # None of those that came too late has done anything.
    equal([b.steps(d.name) for d in devices], [["reset"]] * len(devices), "steps")
