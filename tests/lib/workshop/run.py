# SPDX-License-Identifier: GPL-2.0-or-later
"""Running other programs so that none of them outlives us.

Every child gets a process group of its own, and SIGINT, SIGTERM and SIGHUP become exceptions here: on the
way out the group is killed, and the caller's `finally` clauses and context managers clean up the rest.
"""

import contextlib
import os
import signal
import subprocess
import sys

from .ui import Failure, say


class Interrupted(BaseException):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


def _raise(number, _frame):
    # A second Ctrl-C must not break off the clean-up that the first one started.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def main(function):
    """Run a script's main function; turns failures and signals into messages and exit codes."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _raise)
    try:
        code = function() or 0
    except Failure as failure:
        say(f"error: {failure}")
        code = 1
    except Interrupted as interrupted:
        say("interrupted")
        code = 128 + interrupted.number
    except BrokenPipeError:
        code = 1
    sys.exit(code)


def kill_group(process, grace=30):
    """Ends a child and everything in its process group; the grace is for children that clean up, as ours do."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def child(command, **options):
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process)


def run(command, *, log=None, each_line=None, check=True, **options):
    """Runs a command, its output going to `log` (appended) and line by line to `each_line`.

    Returns the exit code; on failure raises, with the end of the output in the message.
    """
    tail = []
    options.setdefault("stdin", subprocess.DEVNULL)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(open(log, "a", errors="replace")) if log else None
        process = stack.enter_context(child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            text=True, errors="replace", **options))
        for line in process.stdout:
            tail = tail[-29:] + [line.rstrip("\n")]
            if sink:
                sink.write(line)
            if each_line:
                each_line(line)
        code = process.wait()
    if code and check:
        where = f"\n(all of it is in {log})" if log else ""
        said = "\n  ".join(text[:400] for text in tail)
        raise Failure(f"{' '.join(map(str, command[:6]))} …: exit code {code}\n  {said}{where}")
    return code


def output(command, **options):
    """A short command's standard output, stripped; raises with its standard error when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, **options)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
