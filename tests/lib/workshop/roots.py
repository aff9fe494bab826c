# SPDX-License-Identifier: GPL-2.0-or-later
"""Clean Debian roots, kept in the cache, and commands run inside of them."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import cache, debian, run
from .ui import Failure

VERSION = 1  # raise it to fetch the roots anew
SUITES = ("bookworm", "trixie")

# Fresh namespaces: no mount and no process of a root outlives the command that wanted it.
UNSHARE = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private"]
# $1 the root, $2 "ro" or "rw", $3 a folder that is seen as /work, then the command.
ENTER = r"""
set -e
root=$1 mode=$2 work=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$work" "$root/work"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mount --rbind /dev "$root/dev"
[ "$mode" = rw ] || mount -o remount,ro,bind "$root"
cd /
# This shell is the namespace's init: while it waits, it reaps whoever lost his parent.
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 TZ=UTC "$@" &
wait $!
"""


def make(name, suite, packages, foreign=()):
    """A root of `suite` with `packages`; `foreign` are the names of more architectures."""
    def build(new):
        if os.geteuid() != 0:
            raise Failure("making a clean Debian root needs root")
        cache.need_space(2, f"a clean root of Debian {suite}")
        tree = new / "root"
        site = debian.sites()[0]
        arch = run.output(["dpkg", "--print-architecture"])
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                   "mmdebstrap", "--verbose", "--mode=root", "--variant=apt",
                   f"--architectures={','.join((arch, *foreign))}",
                   *(f"--include={package}" for package in packages),
                   "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\"",
                   "--aptopt=APT::Install-Recommends \"false\"",
                   *(f"--aptopt={line}" for line in debian.proxies()),
                   suite, str(tree), f"deb [signed-by={debian.keyring()}] {site} {suite} main"]
        with cache.timed(f"root-{name}-{suite}", f"a clean root of Debian {suite} ({name})") as progress:
            run.run(command, log=cache.new_log(f"root-{name}-{suite}"), each_line=lambda _line: progress.step())
        (tree / "work").mkdir()
        # Nothing of this machine stays in it: a package that needs a name server or a mirror is to fail.
        for left in ("etc/resolv.conf", "etc/hostname"):
            (tree / left).unlink(missing_ok=True)
    return cache.make(f"root-{name}-{suite}", cache.key(VERSION, suite, *packages, *foreign), build, keep=2) / "root"


def enter(root, command, work, writable=False, **options):
    """Runs a command in a root, which it cannot change unless it is `writable`; `work` is its /work."""
    full = [*UNSHARE, "sh", "-c", ENTER, "enter", str(root), "rw" if writable else "ro", str(work), *command]
    return subprocess.run(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **options)


class Copy:
    """A copy of a root that may be changed, and is thrown away."""

    def __init__(self, root):
        self.folder = Path(tempfile.mkdtemp(prefix="smmu-ras-root-", dir=cache.folder("scratch")))
        self.root, self.work = self.folder / "root", self.folder / "work"
        self.work.mkdir()
        run.output(["cp", "-a", "--reflink=auto", str(root), str(self.root)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def enter(self, *command):
        """(exit status, output)"""
        done = enter(self.root, command, self.work, writable=True)
        return done.returncode, done.stdout

    def files(self):
        """{path: what it is} of everything in it, but for what changes by itself."""
        # A ldconfig or a dpkg run rewrites these whatever is installed.
        own = re.compile(r"^/(work|proc|sys|dev|tmp|run|var/log|var/cache/(ldconfig|apt|debconf|man)|"
                         r"var/lib/dpkg/(status|available|diversions|statoverride|lock|triggers).*|"
                         r"var/lib/systemd/catalog|etc/ld\.so\.cache)(/|$|-old$)")
        found = {}
        for folder, folders, files in os.walk(self.root):
            for name in [*folders, *files]:
                path = Path(folder) / name
                inside = "/" + str(path.relative_to(self.root))
                if not own.match(inside):
                    found[inside] = os.readlink(path) if path.is_symlink() else oct(path.lstat().st_mode)
        return found
