# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages: what is being done, how far it is, and how it failed."""

import os
import sys
import time


class Failure(Exception):
    """Something the user can act on: printed without a traceback."""


def say(text):
    print(f"smmu-ras: {text}", file=sys.stderr, flush=True)


def seconds(value):
    value = int(value + 0.5)
    return f"{value // 60} min {value % 60:02d} s" if value >= 60 else f"{value} s"


class Progress:
    """One line that moves on a terminal; a line now and then everywhere else (a CI log)."""

    def __init__(self, what, total=0, last_time=None):
        self.what, self.total = what, total
        self.count = 0
        self.start = self.shown = time.monotonic()
        self.tty = sys.stderr.isatty() and not os.environ.get("CI")
        say(f"{what}: starting" + (f" (took {seconds(last_time)} last time)" if last_time else ""))

    def step(self, count=None, total=None):
        self.count = self.count + 1 if count is None else count
        if total:
            self.total = total
        now = time.monotonic()
        if now - self.shown >= (0.5 if self.tty else 15):
            self.shown = now
            self._show()

    def _show(self):
        far = f"{self.count} steps"
        if self.total:
            # The total is last time's count: a guess, so never claim to be past the end.
            far = f"{min(99, self.count * 100 // self.total)}% ({self.count}/{self.total})"
        text = f"smmu-ras: {self.what}: {far}, {seconds(time.monotonic() - self.start)}"
        if self.tty:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def done(self):
        if self.tty:
            print("\r\x1b[K", end="", file=sys.stderr)
        taken = time.monotonic() - self.start
        say(f"{self.what}: done in {seconds(taken)}")
        return taken
