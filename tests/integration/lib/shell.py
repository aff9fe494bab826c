# SPDX-License-Identifier: GPL-2.0-or-later
"""An interactive shell on a terminal: what somebody types, and what the line is then."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading

from fakekernel import PATIENCE
from lib.bench import BINARIES, check

FOLDER = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../daemon/completions"))
# ^O tells the line, as the shell itself knows it, to who waits at the other end of the pipe.
TELL = "\x0f"

BASH = r"""
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
[[ $1 == plain ]] || source /usr/share/bash-completion/bash_completion
source "$COMPLETION/smmu-rasctl.bash"
bind -x '"\C-o": printf "%s\n" "$READLINE_LINE" >"$LINES_TO"'
"""
ZSH = r"""
fpath=("$COMPLETION" $fpath)
autoload -U compinit
compinit -u -D
unsetopt list_beep beep
tell() { print -r -- "$BUFFER" >"$LINES_TO" }
zle -N tell
bindkey -e
bindkey '^O' tell
"""


class Shell:
    """@kind: "bash", "plain" (bash without the bash-completion package) or "zsh"."""

    def __init__(self, b, kind):
        self.fifo = f"{b.root}/lines-{kind}"
        os.mkfifo(self.fifo)
        self.lines = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        setup = f"{b.root}/{kind}.rc"
        b.file(f"{kind}.rc", ZSH if kind == "zsh" else BASH.replace("$1", kind))
        env = dict(b.env, PATH=f"{os.path.abspath(BINARIES)}:{os.environ['PATH']}", COMPLETION=FOLDER, HOME=b.root,
                   LINES_TO=self.fifo, SMMU_RASCTL_SYS=b.kernel.sys, TERM="vt100", LC_ALL="C.UTF-8", PS1="$ ")
        command = ["zsh", "-f", "-i"] if kind == "zsh" else ["bash", "--noprofile", "--norc", "-i"]
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=b.root,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()
        # What is typed early is echoed, and read when the shell is ready.
        os.write(self.master, f". {setup}; print=1; printf 'ready\\n' >{self.fifo}\n".encode())
        self._line("the shell")

    def _read(self):
        """Who writes to a terminal waits for who reads it."""
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.output += data

    def _line(self, what):
        text = b""
        while not text.endswith(b"\n"):
            readable = select.select([self.lines], [], [], PATIENCE)[0]
            check(readable, f"{what}: nothing came; on the terminal: {self.output!r}")
            text += os.read(self.lines, 4096)
        return text.decode().rstrip("\n")

    def complete(self, typed):
        """Types it and a tabulator on an empty line. Returns what the line is then."""
        os.write(self.master, f"\x05\x15{typed}\t{TELL}".encode())
        return self._line(typed)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
        os.close(self.lines)
