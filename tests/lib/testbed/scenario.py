# SPDX-License-Identifier: GPL-2.0-or-later
"""What the files in tests/vm/scenarios/ use.

A scenario file has `BED`, the options of its machine (those of Bed.up), and functions `test_*(bed)`, run in the order
of the file on one machine. The first line of a function's docstring is what it claims. After a failure the next
test gets a fresh machine.
"""

import importlib.util
import json
import re
import time

from workshop.cache import ROOT
from workshop.ui import Failure

from .bed import patience


class Skip(Exception):
    """Raised with the reason why a test cannot say anything."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, condition, timeout=30, interval=0.2):
    """Waits until condition() gives something true, and returns that; fails after `timeout` seconds, stretched."""
    deadline = time.monotonic() + timeout * patience()
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout * patience():.0f} s: {what}")
        time.sleep(interval)


def mark(bed):
    """Puts a mark into the kernel's log, for dmesg() and journal() to look only at what came after it."""
    name = f"testbed-mark-{time.monotonic_ns()}"
    bed.text(f"echo {name} >/dev/kmsg")
    return name


def dmesg(bed, pattern, since=None):
    """The kernel's messages that match: [text]; with `since`, those after that mark."""
    text = bed.text("dmesg --notime 2>/dev/null || dmesg")
    if since:
        text = text.partition(since)[2]
    return [line for line in text.splitlines() if re.search(pattern, line)]


def journalctl(bed, words):
    """What journalctl says. It leaves out a file that journald is making longer at that moment, with a word about it."""
    def whole():
        done = bed.run(f"journalctl {words}", check=False)
        return None if "ignoring file" in done.stderr else done

    done = wait_for("a journal that can be read", whole)
    check(done.returncode == 0, f"journalctl {words}: exit code {done.returncode}: {done.stderr}")
    return done.stdout


def journal(bed, device, since):
    """smmu-rasd's records about a device after a mark, as dictionaries."""
    when = json.loads(journalctl(bed, f"-o json -n 1 _TRANSPORT=kernel --grep {since}"))["__REALTIME_TIMESTAMP"]
    lines = journalctl(bed, f"-o json --since @{int(when) // 10**6} SMMU_RAS_DEVICE={device}").splitlines()
    return [entry for entry in map(json.loads, lines) if int(entry["__REALTIME_TIMESTAMP"]) > int(when)]


def other(name):
    """Another scenario file, as a module: for the same steps on another machine."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/vm/scenarios/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
