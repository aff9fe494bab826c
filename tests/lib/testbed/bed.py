# SPDX-License-Identifier: GPL-2.0-or-later
"""One running virtual machine: bring it up, run commands in it, wedge its devices, take it down.

What is known of a running bed is in its state folder, so that every command can find it again:
    $TESTBED_STATE/<name>/bed.json, console.log, qemu.log, qmp.sock, ssh (the shared connection)
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

from workshop.cache import ROOT
from workshop.run import child
from workshop.ui import Failure

from . import machine
from .qmp import Qmp

READY = "testbed: guest is ready"
MODES = "off, until-reset, forever, again:K, slow:MS, reset-fails"


def state_root():
    named = os.environ.get("TESTBED_STATE")
    if named:
        return Path(named).resolve()
    if os.geteuid() == 0:
        return Path("/run/smmu-ras-testbed")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/smmu-ras-testbed-{os.getuid()}") / "smmu-ras-testbed"


def built(script, *arguments):
    """Runs one of the build scripts (quick when nothing changed); returns the paths that it prints."""
    with child([str(ROOT / script), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
               text=True) as process:
        text = process.stdout.read()
        if process.wait():
            raise Failure(f"{script} {' '.join(arguments)} failed")
    return [Path(line) for line in text.split("\n") if line]


def build_parts(*kernels):
    """Builds what machines are made of, as far as it is not in the cache: {"qemu": path, "guest": …, "stock": …}."""
    qemu = os.environ.get("TESTBED_QEMU") or built("tests/vm/build-qemu")[-1]
    images = {}
    if kernels:
        images = {path.parent.parent.name.removeprefix("kernel-"): path for path in built("kernel/build", *kernels)}
    return {"qemu": Path(qemu), **images, "guest": built("tests/vm/build-image")[-1]}


def started_at(pid):
    """When a process started, in clock ticks: with its number, this names a process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


# What a kernel with checkers wants on its command line, unless TESTBED_APPEND has something else. KASAN finds the same
# without the stack of every allocation, in half the time; and services take longer than systemd would wait for.
CHECKERS = "kasan.stacktrace=off systemd.default_timeout_start_sec=900 systemd.service_watchdogs=no"


def prepare_for(kernel):
    """Sets what tests on a kernel other than the usual one need, where the environment has not decided it."""
    if kernel not in (None, "patched"):
        os.environ.setdefault("TESTBED_PATIENCE", "10")
        os.environ.setdefault("TESTBED_APPEND", CHECKERS)


def patience():
    """By how much every time limit is stretched. They are those of an idle machine, and are there to end what hangs: a
    machine that has other work to do is slower, and a kernel with checkers several times."""
    return float(os.environ.get("TESTBED_PATIENCE") or 4)


class Started(subprocess.Popen):
    """A command in the guest. Leaving its `with` because of an error does not wait for it: it may wait for a disk."""

    def wait(self, timeout=None):
        return super().wait(timeout and timeout * patience())

    def communicate(self, input=None, timeout=None):
        return super().communicate(input, timeout and timeout * patience())

    def __exit__(self, kind, value, traceback):
        if kind:
            self.kill()
        super().__exit__(kind, value, traceback)


class Bed:
    def __init__(self, name="default"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", name):
            raise Failure(f"not a name for a test bed: {name}")
        self.name = name
        self.folder = state_root() / name
        self._file = self.folder / "bed.json"

    # -- what is known --

    @property
    def state(self):
        try:
            return json.loads(self._file.read_text())
        except FileNotFoundError:
            raise Failure(f"the test bed {self.name!r} is not up") from None

    def running(self):
        try:
            state = json.loads(self._file.read_text())
        except FileNotFoundError:
            return False
        # One that this process has started stays a zombie until somebody asks.
        if getattr(self, "_process", None) and self._process.poll() is not None:
            return False
        return started_at(state["pid"]) == state["started"]

    def need_running(self):
        state = self.state
        if started_at(state["pid"]) != state["started"]:
            raise Failure(f"the virtual machine of test bed {self.name!r} has ended\n{self.console_tail()}")
        return state

    def device(self, text):
        """The device meant by `nvme0`, `01:00.0` or `0000:01:00.0`; the second virtual function of igb0 is `igb0-vf1`."""
        for each in self.state["devices"]:
            if text in (each["id"], each["address"], each["address"][5:]):
                return each
            if text.startswith(f"{each['id']}-vf"):
                return self._virtual_function(each, text)
        known = ", ".join(f"{d['id']} ({d['address']})" for d in self.state["devices"])
        raise Failure(f"the test bed {self.name!r} has no device {text}; it has {known or 'none'}")

    def _virtual_function(self, device, name):
        """QEMU has made them all with the device, without names; which of them the guest sees is its own affair."""
        if device["kind"] not in machine.VIRTUAL_FUNCTIONS:
            raise Failure(f"{device['id']} has no virtual functions")
        kind, first, stride = machine.VIRTUAL_FUNCTIONS[device["kind"]]
        with self.qmp() as qmp:
            bus = qmp.command("qom-get", path=device["qom"], property="parent_bus")
            for each in qmp.command("qom-list", path="/machine/unattached"):
                path = f"/machine/unattached/{each['name']}"
                if each["type"] != f"child<{kind}>" \
                        or qmp.command("qom-get", path=path, property="parent_bus") != bus:
                    continue
                devfn = qmp.command("qom-get", path=path, property="addr")
                if devfn == first + stride * int(name.rpartition("-vf")[2]):
                    return {"id": name, "kind": device["kind"], "qom": path, "slot": device["slot"], "net": None,
                            "address": f"{device['address'][:8]}{devfn >> 3:02x}.{devfn & 7}"}
        raise Failure(f"the test bed {self.name!r} has no device {name}")

    def console(self):
        try:
            return (self.folder / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def console_tail(self, lines=30):
        tail = self.console().splitlines()[-lines:] or ["(the console is empty)"]
        with contextlib.suppress(OSError):
            tail += [f"qemu: {line}" for line in (self.folder / "qemu.log").read_text().splitlines()[-5:]]
        return "\n".join(f"  | {line}" for line in tail)

    # -- up and down --

    def up(self, kernel="patched", devices="nvme,virtio-net", smp=2, memory="512M", timeout=180, append=(),
           atc_timeout=100, parts=None, icount=False, gic=3, more=()):
        # `more` is for a machine that starts in another way: arguments that QEMU gets last.
        append = (*append, *os.environ.get("TESTBED_APPEND", "").split())
        beds = machine.devices(devices)
        named = "/" not in kernel
        if not named and not Path(kernel).is_file():
            raise Failure(f"no kernel image {kernel}")
        parts = parts or build_parts(*([kernel] if named else []))
        qemu, guest, image = parts["qemu"], parts["guest"], parts[kernel] if named else Path(kernel).resolve()
        with self._locked():
            if self.running():
                raise Failure(f"the test bed {self.name!r} is up already")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, mode=0o700)
            try:
                self._start(qemu, image, guest, beds, smp, memory, append, atc_timeout, icount, gic, more,
                            {"kernel": kernel, "image": str(image), "smp": smp})
            except BaseException:
                self._stop()
                raise
        try:
            self._wait_ready(timeout)
            self._open_ssh()
        except BaseException:
            self._stop()
            raise

    def _start(self, qemu, image, guest, beds, smp, memory, append, atc_timeout, icount, gic, more, state):
        shutil.copy(guest / "login", self.folder / "key")
        host_key = " ".join((guest / "host.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text(f"testbed {host_key}\n")
        command = machine.command(qemu, image, guest / "disk.ext4", self.folder, smp, memory, beds, append,
                                  atc_timeout, icount, gic) + list(more)
        environment = dict(os.environ, TMPDIR=str(temporary()))
        with open(self.folder / "qemu.log", "wb") as log:
            # A session of its own, so that the Ctrl-C of whoever ran `up` does not end the machine.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, env=environment)
        self._process = process
        state |= {"name": self.name, "pid": process.pid, "started": started_at(process.pid),
                  "command": command,
                  "devices": [each.describe() for each in beds if isinstance(each, machine.Device)]}
        self._file.write_text(json.dumps(state, indent=1) + "\n")

    def _check_alive(self):
        if self._process.poll() is not None:
            raise Failure(f"the virtual machine ended during its boot (QEMU's exit code: {self._process.returncode}). "
                          f"The end of its console:\n{self.console_tail()}")

    def _wait_ready(self, timeout):
        deadline = time.monotonic() + timeout * patience()
        while READY not in self.console():
            self._check_alive()
            if time.monotonic() > deadline:
                raise Failure(f"the virtual machine was not ready after {timeout * patience():.0f} s. "
                              f"The end of its console:\n{self.console_tail()}")
            time.sleep(0.1)

    def _open_ssh(self):
        with self.qmp() as qmp:
            text = qmp.command("human-monitor-command", **{"command-line": "info usernet"})
        # HOST_FORWARD lines: protocol, descriptor, source address, port, …
        found = re.search(r"HOST_FORWARD\]?\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+10\.0\.2\.15\s+22", text)
        if not found:
            raise Failure(f"QEMU forwards no port to the guest's ssh:\n{text}")
        state = self.state | {"port": int(found[1])}
        self._file.write_text(json.dumps(state, indent=1) + "\n")
        # One connection that later commands share: a new one costs a second of emulated cryptography.
        done = subprocess.run([*self._ssh(state), "-M", "-N", "-f", "testbed"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=90 * patience())
        if done.returncode:
            raise Failure(f"no ssh connection to the guest: {done.stderr.strip()}\n{self.console_tail()}")

    def restarting(self, command, meanwhile=lambda: None, timeout=300):
        """Runs a command that starts another kernel in the guest, and waits until that is ready."""
        before = self.console().count(READY)
        deadline = time.monotonic() + timeout * patience()
        process = self.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while self.console().count(READY) == before:
                self.need_running()
                if time.monotonic() > deadline:
                    raise Failure(f"no other kernel was ready after {timeout * patience():.0f} s:\n{self.console_tail()}")
                meanwhile()
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        # The shared connection is one to the kernel that is gone.
        subprocess.run([*self._ssh(self.state), "-O", "exit", "testbed"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        (self.folder / "ssh").unlink(missing_ok=True)
        self._open_ssh()

    def _stop(self):
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            state = json.loads(self._file.read_text())
            # QEMU needs no goodbye: its disk is thrown away.
            if started_at(state["pid"]) == state["started"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state["pid"], signal.SIGKILL)
                while started_at(state["pid"]) == state["started"]:
                    if getattr(self, "_process", None):
                        self._process.wait()
                    elif Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                        break
                    time.sleep(0.02)
            # The shared ssh connection ends by itself with the machine, but not at once.
            subprocess.run([*self._ssh(state | {"port": state.get("port", 0)}), "-O", "exit", "testbed"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self):
        """Ends the machine at once, also in the middle of another thread's up(), which then cleans up."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads(self._file.read_text())
            if started_at(state["pid"]) == state["started"]:
                os.kill(state["pid"], signal.SIGKILL)

    def down(self):
        self._stop()  # also in the middle of an up() elsewhere, which then fails

    @staticmethod
    @contextlib.contextmanager
    def _locked():
        """So that two up() of one name do not both find it free. Held while a machine starts, not while it boots."""
        root = state_root()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(root / ".lock", "w", encoding="ascii") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    # -- commands in the guest --

    def _ssh(self, state):
        options = {"ControlPath": self.folder / "ssh", "IdentityFile": self.folder / "key", "IdentitiesOnly": "yes",
                   "UserKnownHostsFile": self.folder / "known_hosts", "StrictHostKeyChecking": "yes",
                   "HostKeyAlias": "testbed", "HostName": "127.0.0.1",
                   "User": "root", "Port": state["port"], "BatchMode": "yes", "LogLevel": "ERROR",
                   "ConnectTimeout": int(60 * patience())}
        return ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items())]

    def ssh_command(self, words, terminal=False):
        """The command line that runs `words` in the guest: one word is a shell command, several are exact."""
        line = words[0] if len(words) == 1 else shlex.join(words)
        options = ["-t"] if terminal else []
        return [*self._ssh(self.need_running()), *options, "testbed", "--", *([line] if line else [])]

    def run(self, command, check=True, timeout=120, stdin=None):
        """Runs a shell command in the guest; returns the finished process with stdout and stderr as text."""
        timeout *= patience()
        try:
            done = subprocess.run(self.ssh_command([command]), input=stdin, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, errors="replace", check=False, timeout=timeout,
                                  **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))
        except subprocess.TimeoutExpired:
            raise Failure(f"in the guest: {command!r} took more than {timeout:.0f} s\n{self.console_tail(12)}") from None
        if check and done.returncode:
            raise Failure(f"in the guest: {command!r}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def text(self, command, **options):
        return self.run(command, **options).stdout.strip()

    def start(self, command, **options):
        """Starts a shell command in the guest and returns at once (a Popen)."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
                   "text": True, "errors": "replace"} | options
        return Started(self.ssh_command([command]), **options)

    def load_module(self, name):
        """Builds a module of tests/vm/module for the kernel that runs, and loads it."""
        module = built("tests/vm/build-module", self.state["image"], name)[-1]
        with open(module, "rb") as file:
            done = subprocess.run(self.ssh_command([f"cat > /run/{name}.ko && insmod /run/{name}.ko"]), stdin=file,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  timeout=120 * patience())
        if done.returncode:
            raise Failure(f"the module {module} cannot be loaded: {done.stdout}")

    # -- the hardware --

    def qmp(self):
        self.need_running()
        return Qmp(self.folder / "qmp.sock", 20 * patience())

    def monitor(self, line):
        """What QEMU's human monitor answers to a line."""
        with self.qmp() as qmp:
            return qmp.command("human-monitor-command", **{"command-line": line}).rstrip()

    def wedge(self, device, mode):
        if not re.fullmatch(r"off|until-reset|forever|again:\d+|slow:\d+|reset-fails", mode):
            raise Failure(f"no such way to wedge a device: {mode} (known: {MODES})")
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            qmp.command("qom-set", path=path, property="ats-wedge", value=mode)

    def release(self, device):
        self.wedge(device, "off")

    def mute(self, device, value=True):
        """Has a test function answer no configuration request any more, or answer again. All else goes on."""
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            qmp.command("qom-set", path=path, property="mute", value=value)

    def hardware(self, device):
        """What the device itself says: its wedge mode now."""
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            return qmp.command("qom-get", path=path, property="ats-wedge")

    def scribble(self, device, byte=0xa5):
        """Has a device write through all its stale translations. Returns pages (overwritten by that, blocked)."""
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            def counts():
                return [qmp.command("qom-get", path=path, property=name) for name in ("ats-scribbled", "ats-blocked")]
            before = counts()
            qmp.command("qom-set", path=path, property="ats-scribble", value=byte)
            return [after - earlier for after, earlier in zip(counts(), before)]

    def stale(self, device):
        """How many translations the device holds that the guest has had invalidated."""
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            return qmp.command("qom-get", path=path, property="ats-stale-entries")

    def hardware_status(self):
        """What the hardware has seen: ({of the SMMU}, {device: {wedge, stale, …, stream}}). A device that is gone, or has
        no ATS, has None everywhere. All of it is of one moment, for which the machine stands still."""
        with self.qmp() as qmp:
            def ask(path, name):
                try:
                    return qmp.command("qom-get", path=path, property=name)
                except Failure:
                    return None
            running = qmp.command("query-status")["running"]
            if running:
                qmp.command("stop")
            try:
                streams = json.loads(ask("/machine/smmuv3", "ats-streams"))
                smmu = {key: ask("/machine/smmuv3", name) for key, name in SMMU_STATUS.items()}
                seen = {device["id"]: {key: ask(device["qom"], name) for key, name in DEVICE_STATUS.items()}
                        for device in self.state["devices"]}
            finally:
                if running:
                    qmp.command("cont")
        streams = {each["sid"]: each for each in streams}
        for device in self.state["devices"]:
            seen[device["id"]]["stream"] = streams.get(stream_id(device["address"]))
        return smmu, seen

    def window(self, device):
        """When a device first missed an ATC invalidation since it was wedged, and when it was cut off from memory after
        that: in ns of virtual time, 0 for never."""
        path = self.device(device)["qom"]
        with self.qmp() as qmp:
            return [qmp.command("qom-get", path=path, property=name) for name in ("ats-missed-ns", "ats-cut-off-ns")]

    def streams(self):
        """What the SMMU knows of each stream, by the stream ID."""
        with self.qmp() as qmp:
            found = json.loads(qmp.command("qom-get", path="/machine/smmuv3", property="ats-streams"))
        return {each["sid"]: each for each in found}

    def stream(self, device):
        """What the SMMU knows of a device's stream: {sid, inv, timeouts, eats, config}."""
        return self.streams().get(stream_id(self.device(device)["address"]), {})

    def unplug(self, device, timeout=60):
        """Asks the guest to let go of the device, and waits until it is gone."""
        found = self.device(device)
        with self.qmp() as qmp:
            qmp.socket.settimeout(timeout * patience())
            qmp.command("device_del", id=found["id"])
            qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == found["id"])

    def pull(self, device):
        """Pulls a device, or whatever holds it, out of its slot without asking: the link goes down."""
        self._set_pulled(device, True)

    def push(self, device):
        """Puts back what was pulled out."""
        self._set_pulled(device, False)

    def _set_pulled(self, device, pulled):
        slot = self.device(device)["slot"]
        with self.qmp() as qmp:
            qmp.command("qom-set", path=f"/machine/peripheral/{slot}", property="pulled", value=pulled)

    def error(self, device, error):
        """Has a device report a PCIe error, by QEMU's name of it: COMP_TIME, DLP, …"""
        with self.qmp() as qmp:
            said = qmp.command("human-monitor-command", **{
                "command-line": f"pcie_aer_inject_error {self.device(device)['id']} {error}"})
        if not said.startswith("OK"):
            raise Failure(f"QEMU refused to inject {error}: {said}")


# What `testbed status --json` says, by its names and by those of QEMU's properties (qemu/README.md)
SMMU_STATUS = {"cmdq_errors": "cmdq-errors", "cmdq_busy": "cmdq-busy", "atc_inv": "atc-inv-count",
               "atc_inv_timeouts": "atc-inv-timeouts"}
DEVICE_STATUS = {"wedge": "ats-wedge", "enabled": "ats-enabled", "invalidations": "ats-inv-count",
                 "unanswered": "ats-inv-unanswered", "blocked": "ats-blocked", "resets": "ats-resets",
                 "translations": "ats-atc-entries", "stale": "ats-stale-entries", "reach": "ats-reach",
                 "overwritten": "ats-scribbled", "missed_ns": "ats-missed-ns", "cut_off_ns": "ats-cut-off-ns"}


def stream_id(address):
    """That of a PCI function: its requester ID."""
    bus, slot, function = (int(part, 16) for part in re.split("[:.]", address)[1:])
    return bus << 8 | slot << 3 | function


def temporary():
    """Where QEMU keeps what a guest writes to its disk: not in /run, which is memory."""
    return Path(os.environ.get("TMPDIR", "/var/tmp"))


def names():
    root = state_root()
    return sorted(p.name for p in root.iterdir() if (p / "bed.json").exists()) if root.is_dir() else []


@contextlib.contextmanager
def running(name, **options):
    """A bed for the length of a `with` block."""
    bed = Bed(name)
    bed.up(**options)
    try:
        yield bed
    finally:
        bed.down()
