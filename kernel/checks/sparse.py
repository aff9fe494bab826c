# SPDX-License-Identifier: GPL-2.0-or-later
"""A sparse that understands this Linux: the machine's own, or Debian's newest, compiled from its source package.

The program of a newer Debian would want that Debian's C library.
"""

import os
import shutil

from workshop import cache, debian
from workshop.run import run

from .common import Skip

SUITE = "sid"  # as Linux moves, so does sparse; trixie's 0.6.4 is too old for 7.3


def knows(series, sparse):
    _, said = series.tool("scripts/checker-valid.sh", sparse, "-D__STDC__", "-Dlinux", "-D__linux__", "-m64")
    return said.strip() == "1"


def compiled():
    """The newest that Debian has. Fetched once; remove the folder `sparse` from the cache to look again."""
    last = cache.folder("sparse") / "current"
    if not last.exists():
        apt = debian.Apt(SUITE, source=True)

        def build(new):
            version = apt.download("sparse", new)
            source = next(new.glob("sparse_*.orig.tar.*"))
            (new / "source").mkdir()
            run(["tar", "-x", "--strip-components=1", "-C", str(new / "source"), "-f", str(source)])
            run(["make", "-s", f"-j{os.cpu_count()}", "-C", str(new / "source"), "sparse",
                 "HAVE_LLVM=no", "HAVE_SQLITE=no", "HAVE_GTK=no"], log=cache.new_log("sparse"))
            (new / "version").write_text(version + "\n")
        made = cache.make("sparse", cache.key(*apt.versions("sparse")), build, keep=1)
        with cache.new_file(last) as temporary:
            temporary.symlink_to(made.name)
    return str(last.resolve() / "source" / "sparse")


def program(series):
    """The path of a sparse that will do."""
    series.checkout(series.tip)
    own = shutil.which("sparse")
    if own and knows(series, own):
        return own
    newer = compiled()
    if knows(series, newer):
        return newer
    raise Skip("no sparse to be had knows the C of this Linux")
