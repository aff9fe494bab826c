# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's control socket: just enough of the QMP protocol."""

import json
import socket
import time

from workshop.ui import Failure


class Qmp:
    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError as error:
                # QEMU talks to one at a time, one may wait, and any more are sent away at once (unix(7): EAGAIN).
                if not isinstance(error, BlockingIOError) or time.monotonic() > end:
                    raise Failure(f"QEMU does not answer on {path}: {error}") from None
                time.sleep(0.01)
        self.file = self.socket.makefile("rw", encoding="utf-8")
        self.file.readline()  # the greeting
        self.command("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def _read(self):
        try:
            line = self.file.readline()
        except OSError as error:
            raise Failure(f"QEMU stopped answering: {error}") from None
        if not line:
            raise Failure("QEMU closed its control socket")
        return json.loads(line)

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = self._read()
            if "error" in answer:
                raise Failure(f"QEMU refused {name}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def wait_event(self, name, matches=lambda data: True):
        while True:
            answer = self._read()
            if answer.get("event") == name and matches(answer.get("data", {})):
                return answer
