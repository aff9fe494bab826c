# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test needs: a machine with its daemon, and words to say what is expected."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile

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

    def policy(self, rules=(), name="etc/policy.json", mode=0o644, **defaults):
        text = json.dumps({"defaults": defaults, "rules": list(rules)})
        self.file(name, text, mode)

    def file(self, name, text, mode=0o644):
        with open(f"{self.root}/{name}", "w") as f:
            f.write(text)
        os.chmod(f"{self.root}/{name}", mode)

    def start(self, ready=True):
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
        self.daemon.send_signal(number)
        status = self.daemon.wait(20)
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
        except FileNotFoundError:
            return None

    def ctl(self, *args, status=0):
        done = subprocess.run(
            [f"{BINARIES}/smmu-rasctl", *args], env=self.env, capture_output=True, text=True, timeout=20
        )
        equal(done.returncode, status, f"exit status of smmu-rasctl {' '.join(args)}: {done.stderr}")
        return done

    def steps(self, device=DEV):
        return [what for name, what in self.kernel.writes if name == device]

    def close(self):
        if self.daemon:
            self.kill()
        self.kernel.stop()
        self.notify.close()
        shutil.rmtree(self.root)


TESTS = []


def test(function):
    """Marks a test: it is run with a Bench of its own. has_family = False: the kernel does not fence devices."""
    TESTS.append(function)
    return function


def recovered(bench, device, count=1):
    bench.wait_record(RECOVERED, device.name, count)
    equal(device.state, ACTIVE, "state")
    equal(device.driver, device.home, "driver")
