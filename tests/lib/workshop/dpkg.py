# SPDX-License-Identifier: GPL-2.0-or-later
"""dpkg's own books of a tree into which packages were only unpacked: as dpkg would have kept them.

With them dpkg and apt in the guest know what is there, and packages of ours can be installed on top by the real ones.
deb(5), dpkg(1), and doc/triggers.txt of dpkg say what is in which file.
"""

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from .run import output


def register(tree, debs):
    """Books the packages of these files, which are unpacked in `tree`, as installed and configured."""
    books = tree / "var/lib/dpkg"
    for folder in (books / "info", books / "triggers"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (books / "info/format").write_text("1\n")
    # The names of triggers that are files, and of others, with the packages that want to hear of them.
    triggers = {}
    status = "".join(_one(tree, books, deb, triggers) for deb in sorted(debs))
    (books / "status").write_text(status)
    files = [f"{name} {who}\n" for name, all_of_them in sorted(triggers.items()) if name.startswith("/")
             for who in all_of_them]
    (books / "triggers/File").write_text("".join(files))
    for name, who in triggers.items():
        if not name.startswith("/"):
            (books / "triggers" / name).write_text("".join(f"{each}\n" for each in who))


def _one(tree, books, deb, triggers):
    """Writes down one package; returns its paragraph for the file `status`."""
    with tempfile.TemporaryDirectory() as folder:
        output(["dpkg-deb", "--control", str(deb), folder])
        control = (Path(folder) / "control").read_text()
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", control, re.M))
        name = fields["Package"]
        # Several architectures of such a package may be installed, so dpkg names it with its own.
        full = f"{name}:{fields['Architecture']}" if fields.get("Multi-Arch") == "same" else name
        conffiles = ""
        for path in sorted(Path(folder).iterdir()):
            if path.name == "control":
                continue
            shutil.copy(path, books / "info" / f"{full}.{path.name}")
            if path.name == "conffiles":
                conffiles = _conffiles(tree, path.read_text().splitlines())
            if path.name == "triggers":
                for kind, trigger in re.findall(r"^interest(\S*)\s+(\S+)", path.read_text(), re.M):
                    triggers.setdefault(trigger, []).append(full + ("/noawait" if kind == "-noawait" else ""))
    listed = output(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -t', "sh", str(deb)]).splitlines()
    (books / "info" / f"{full}.list").write_text(
        "".join(f"{line.removeprefix('.').rstrip('/') or '/.'}\n" for line in listed))
    head, rest = control.split("\n", 1)
    return f"{head}\nStatus: install ok installed\n{rest.rstrip()}\n{conffiles}\n"


def _conffiles(tree, names):
    """The field Conffiles: each file's name, and its MD5 sum as dpkg compares it at the next upgrade."""
    lines = []
    for name in names:
        path = tree / name.lstrip("/")
        if name.startswith("/") and path.is_file():
            lines.append(f" {name} {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}\n")
    return "Conffiles:\n" + "".join(lines) if lines else ""
