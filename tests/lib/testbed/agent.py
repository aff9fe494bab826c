# SPDX-License-Identifier: GPL-2.0-or-later
"""A process in the guest that does many small things fast (in_guest.py), and the way to ask it."""

import json
import queue
import subprocess
import threading
from pathlib import Path

from workshop.ui import Failure

from .bed import patience

PROGRAM = Path(__file__).with_name("in_guest.py")


class Refused(Failure):
    """What was asked for failed in the guest: a system call's error."""


class Agent:
    def __init__(self, bed):
        self.bed, self.count, self.waiting, self.guard = bed, 0, {}, threading.Lock()
        bed.run("cat > /run/in_guest.py", stdin=PROGRAM.read_text())
        self.process = bed.start("exec python3 -u /run/in_guest.py", stdin=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()

    def _read(self):
        last = ""
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                last += line
                continue
            with self.guard:
                self.waiting[answer["id"]].put(answer)
        with self.guard:
            for each in self.waiting.values():
                each.put({"gone": last or "the agent in the guest has ended"})

    def begin(self, do, **request):
        """Starts something; end() waits for it."""
        with self.guard:
            self.count += 1
            number = self.count
            self.waiting[number] = queue.Queue()
            self.process.stdin.write(json.dumps({"id": number, "do": do, **request}) + "\n")
            self.process.stdin.flush()
        return number

    def end(self, number, timeout=90):
        try:
            answer = self.waiting[number].get(timeout=timeout * patience())
        except queue.Empty:
            raise Failure(f"no answer from the guest within {timeout * patience():.0f} s\n"
                          f"{self.bed.console_tail(40)}") from None
        with self.guard:
            self.waiting.pop(number, None)
        if "gone" in answer:
            raise Failure(f"{answer['gone']}\n{self.bed.console_tail(40)}")
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["answer"]

    def done(self, number):
        """Whether something that was begun has an answer."""
        return not self.waiting[number].empty()

    def ask(self, do, timeout=90, **request):
        return self.end(self.begin(do, **request), timeout)

    def sh(self, command, timeout=90):
        return self.ask("sh", timeout, command=command)[1]
