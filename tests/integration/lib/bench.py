# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test needs: a machine with its daemon, and words to say what is expected."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import fakekernel
from fakekernel import ACTIVE
from lib.messages import RECOVERED

BINARIES = os.environ.get("SMMU_RAS_BINARIES", "build/tests")

DEV = "0000:01:00.0"
DEFAULT_STEPS = ["unbind", "reset", "reattach", "bind"]
QUICK = {"first": "10ms", "max": "10ms"}


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(child) for child in f.read().split()]


class Bench:
    """A machine: its kernel, its files, and the daemon."""

    def __init__(self, has_family=True):
        self.root = tempfile.mkdtemp(prefix="smmu-ras-")
        for name in ("run", "kept", "etc", "lib", "etc/policy.d"):
            os.mkdir(f"{self.root}/{name}", 0o755)
        self.kernel = fakekernel.Kernel(self.root, f"{self.root}/kernel", has_family)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{self.root}/notify")
        self.states = []
        self.daemon = None
        self.env = dict(
            os.environ,
            SMMU_RAS_TEST_ROOT=self.root,
            SMMU_RAS_TEST_SOCKET=f"{self.root}/kernel",
            NOTIFY_SOCKET=f"{self.root}/notify",
        )
        # A daemon must not take the watchdog of the machine that runs the tests for its own.
        self.env.pop("WATCHDOG_USEC", None)

    def hurry(self):
        """For tests with so many events and records that they would take too long if each could take its time."""
        self.kernel.dawdles = False
        self.env.pop("SMMU_RAS_TEST_JITTER", None)

    def policy(self, rules=(), name="etc/policy.json", mode=0o644, **defaults):
        text = json.dumps({"defaults": defaults, "rules": list(rules)})
        self.file(name, text, mode)

    def file(self, name, text, mode=0o644):
        path = f"{self.root}/{name}"
        fakekernel.put(path, text, mode)

    def start(self, ready=True):
        # What an earlier one has said last is not this one's word.
        with contextlib.suppress(BlockingIOError):
            self.notify.setblocking(False)
            while True:
                self.states += self.notify.recv(4096).decode().splitlines()
        self.daemon = subprocess.Popen([f"{BINARIES}/smmu-rasd"], env=self.env)
        if ready:
            self.wait_notify("READY=1")
        return self.daemon

    def wait_notify(self, wanted):
        """Reads what the daemon tells systemd until it says @wanted."""
        self.notify.settimeout(fakekernel.PATIENCE)
        while True:
            lines = self.notify.recv(4096).decode().splitlines()
            self.states += lines
            if wanted in lines:
                return

    def kill(self, number=signal.SIGKILL):
        fakekernel.dawdle()
        self.daemon.send_signal(number)
        status = self.daemon.wait(fakekernel.PATIENCE)
        self.daemon = None
        return status

    def spawner(self):
        """The process that forks workers."""
        (pid,) = children(self.daemon.pid)
        return pid

    def workers(self):
        return children(self.spawner())

    def wait_record(self, message_id, device=None, count=1):
        self.kernel.wait(
            lambda: len(self.kernel.records(message_id, device)) >= count,
            f"record {message_id} of {device}",
        )
        return self.kernel.records(message_id, device)[count - 1]

    def state(self, device=DEV):
        try:
            with open(f"{self.root}/run/devices/pci@{device}.json") as f:
                return json.load(f)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_in_state(self, state, device=DEV):
        """What the daemon has done is told first, and then written."""
        return (self.state(device) or {}).get("state") == state

    def wait_state(self, state, device=DEV):
        """Waits until the record of the device on disk says @state."""
        self.kernel.wait(lambda: self.is_in_state(state, device), f"the record of {device} to be {state}")

    def wait_step(self, step, device=DEV):
        """Waits until the record of the device on disk says that @step runs."""
        self.kernel.wait(lambda: (self.state(device) or {}).get("step") == step, f"a record of {step} of {device}")

    def ctl(self, *args, status=0):
        command = [f"{BINARIES}/smmu-rasctl", *args]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=2 * fakekernel.PATIENCE)
        equal(done.returncode, status, f"exit status of smmu-rasctl {' '.join(args)}: {done.stderr}")
        return done

    def steps(self, device=DEV):
        return [what for name, what in self.kernel.writes if name == device]

    def close(self):
        if self.daemon:
            self.kill()
        self.kernel.stop()
        self.notify.close()
        # Programs that a worker had started may just be writing their last word.
        end = time.monotonic() + fakekernel.PATIENCE
        while os.path.exists(self.root):
            shutil.rmtree(self.root, ignore_errors=time.monotonic() < end)


TESTS = []


def test(function):
    """Marks a test: it is run with a Bench of its own. has_family = False: the kernel does not fence devices."""
    TESTS.append(function)
    return function


def process_state(pid):
    """The letter for a process's state, as proc(5) has it."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def alive(pid):
    """Nobody may have buried it yet."""
    try:
        return process_state(pid) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(pid):
    """Stops a process. It is not true that it stands still when kill(2) has returned."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + fakekernel.PATIENCE
    while process_state(pid) != "T":
        check(time.monotonic() < end, f"process {pid} does not stop")


def recovered(bench, device, count=1):
    """Waits for the end of a recovery: it is told first, and then written, unless nothing is kept or can be written."""
    bench.wait_record(RECOVERED, device.name, count)
    bench.kernel.wait(
        lambda: bench.is_in_state("idle", device.name) or not bench.state(device.name), f"the record of {device.name}"
    )
    equal(device.state, ACTIVE, "state")
    equal(device.driver, device.home, "driver")
