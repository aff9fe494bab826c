# SPDX-License-Identifier: GPL-2.0-or-later
"""What the files in tests/vm/scenarios/ use.

A scenario file has `BED`, the options of its machine (those of Bed.up), and functions `test_*(bed)`, run in the order
of the file on one machine. The first line of a function's docstring is what it claims. After a failure the next
test gets a fresh machine.
"""

import re
import time

from workshop.ui import Failure


class Skip(Exception):
    """Raised with the reason why a test cannot say anything."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, condition, timeout=30, interval=0.2):
    """Waits until condition() gives something true, and returns that; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout} s: {what}")
        time.sleep(interval)


def dmesg(bed, pattern, since=0.0):
    """The kernel's messages that match, newer than `since` seconds after boot: [(time, text)]."""
    found = []
    for line in bed.text("dmesg").splitlines():
        match = re.match(r"\[\s*(\d+\.\d+)\] (.*)", line)
        if match and float(match[1]) >= since and re.search(pattern, match[2]):
            found.append((float(match[1]), match[2]))
    return found


def uptime(bed):
    return float(bed.text("cut -d' ' -f1 /proc/uptime"))
