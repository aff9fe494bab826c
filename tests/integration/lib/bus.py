# SPDX-License-Identifier: GPL-2.0-or-later
"""A system bus of the test's own, with the policy file that is installed, and what asks on it."""

import json
import os
import subprocess
import threading
import time

from fakekernel import PATIENCE
from lib.bench import BINARIES, check

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = os.path.abspath(f"{HERE}/../../../units/org.smmuras1.conf")
NAME = "org.smmuras1"
ROOT = "/org/smmuras1"
MANAGER, DEVICE = "org.smmuras1.Manager", "org.smmuras1.Device"
ERROR = "org.smmuras1.Error."
DENIED = "Access denied"

# As Debian's system.conf: nobody may own a name or call a method unless somebody says so.
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
  <policy user="{uid}">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow own="org.smmuras1"/>
  </policy>
</busconfig>
"""


def path_of(device):
    """As sd_bus_path_encode(3) does it."""
    out = ""
    for i, c in enumerate(device):
        out += c if c.isalpha() or (i > 0 and c.isdigit()) else f"_{ord(c):02x}"
    return f"{ROOT}/device/{out}"


class Lines:
    """What a process prints, line by line."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self.lines = []
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def wait(self, predicate, what, timeout=PATIENCE):
        with self.changed:
            check(self.changed.wait_for(lambda: predicate(self.lines), timeout), f"{what}; read: {self.lines[-20:]}")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Bus:
    def __init__(self, bench):
        self.bench = bench
        self.socket = f"{bench.root}/bus"
        self.address = f"unix:path={self.socket}"
        self.daemon = self.polkit = None
        self.monitors = []
        bench.file("bus.conf", CONFIG.format(socket=self.socket, policy=POLICY, uid=os.geteuid()))
        os.chmod(bench.root, 0o755)  # for users other than the one who runs the tests

    def __enter__(self):
        return self

    def __exit__(self, *what):
        for process in [self.polkit, *self.monitors]:
            if process:
                process.stop()
        self.stop()

    def start(self):
        command = ["dbus-daemon", f"--config-file={self.bench.root}/bus.conf", "--nofork", "--print-address",
                   "--nosyslog"]
        self.daemon = Lines(command)
        self.daemon.wait(lambda lines: lines, "the bus")

    def stop(self):
        if self.daemon:
            self.daemon.stop()
            self.daemon = None
            # A bus that is killed leaves it, and one that is stopped does not.
            if os.path.exists(self.socket):
                os.unlink(self.socket)

    def start_polkit(self, answer):
        self.polkit_says(answer)
        self.polkit = Lines([f"{BINARIES}/fake-polkit", self.address, f"{self.bench.root}/polkit"])
        self.polkit.wait(lambda lines: "ready" in lines, "polkit")

    def polkit_says(self, answer):
        self.bench.file("polkit", answer)

    def command(self, *args, user=False):
        # Without root there is only one user, who is not root.
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if user and os.geteuid() == 0 else []
        patience = f"--timeout={2 * PATIENCE:.0f}"
        return [*other, "busctl", f"--address={self.address}", "--json=short", patience, *args]

    def busctl(self, *args, error=None, user=False):
        """Runs busctl; returns what it printed. With @error, it has to fail and say that."""
        done = subprocess.run(self.command(*args, user=user), capture_output=True, text=True, timeout=3 * PATIENCE)
        if error:
            check(done.returncode != 0 and error in done.stderr, f"{args}: {error!r} is not in {done.stderr!r}")
            return done.stderr
        check(done.returncode == 0, f"{args}: {done.stderr}")
        return done.stdout

    def call(self, path, interface, method, signature="", *args, **how):
        text = self.busctl("call", NAME, path, interface, method, *([signature, *args] if signature else []), **how)
        return json.loads(text) if text.startswith("{") else text

    def get(self, path, interface, *properties, **how):
        lines = self.busctl("get-property", NAME, path, interface, *properties, **how).splitlines()
        values = [json.loads(line)["data"] for line in lines]
        return values[0] if len(properties) == 1 else values

    def objects(self, **how):
        answer = self.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", **how)
        return answer["data"][0]

    def objects_once(self, wanted):
        """Asks until there are those that are @wanted, or nobody has patience any more."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                objects, why = self.objects(), ""
            except AssertionError as e:
                objects, why = {}, str(e)
            if wanted(objects):
                return objects
            check(time.monotonic() < end, f"{len(objects)} objects {why}")

    def on_bus(self):
        return NAME in self.busctl("call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                   "ListNames")

    def wait_on_bus(self):
        monitor = self.monitor("type='signal',member='NameOwnerChanged',arg0='org.smmuras1'")
        if not self.on_bus():
            monitor.wait(lambda lines: any("NameOwnerChanged" in line for line in lines), "smmu-rasd on the bus")
        monitor.stop()

    def monitor(self, match):
        """Reads signals, in JSON."""
        probe = "org.smmuras1.Test"
        matches = ["--match", match, "--match", f"type='signal',interface='{probe}'"]
        monitor = Lines(self.command("monitor", *matches), stderr=subprocess.STDOUT)
        self.monitors.append(monitor)
        # Only what it has read shows that it listens.
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.busctl("emit", "/", probe, "Ready")
            with monitor.changed:
                if monitor.changed.wait_for(lambda: any(probe in line for line in monitor.lines), 0.1):
                    return monitor
        raise AssertionError(f"the monitor reads nothing: {monitor.lines}")

    def changes(self, monitor, path):
        """Property values that were told about an object, in their order."""
        found = []
        for line in list(monitor.lines):
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if message.get("path") == path and message.get("member") == "PropertiesChanged":
                found.append({k: v["data"] for k, v in message["payload"]["data"][1].items()})
        return found
