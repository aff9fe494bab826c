# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: everything that takes long to make, kept under a hash of what went into it.

    $SMMU_RAS_CACHE/<kind>/<key>/     a finished thing; it appears by a rename, so it is whole or absent
    $SMMU_RAS_CACHE/<kind>/.new-*     one being made; found with nobody holding the lock, it is rubbish
    $SMMU_RAS_CACHE/lock/<kind>       held (flock) while something of that kind is made
    $SMMU_RAS_CACHE/log/           what the last build of each thing printed
    $SMMU_RAS_CACHE/stats.json        how long each build took last time, and how many steps it had
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from .ui import Failure, Progress, say

ROOT = Path(__file__).resolve().parents[3]


def base():
    named = os.environ.get("SMMU_RAS_CACHE")
    if named:
        return Path(named).resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/smmu-ras")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "smmu-ras"


def folder(*parts):
    path = base().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot use the cache {base()}: {error.strerror}; "
                      "name another with SMMU_RAS_CACHE=/some/where") from None
    return path


def need_space(gigabytes, what):
    free = shutil.disk_usage(folder()).free / 2**30
    if free < gigabytes:
        raise Failure(f"{what} needs {gigabytes} GiB free under {base()}, and {free:.1f} GiB are; "
                      "free some, or name another place with SMMU_RAS_CACHE=/some/where")


def key(*parts):
    """A short hash of strings and files (a Path stands for its content, a folder for its whole tree)."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = sorted(p for p in part.rglob("*") if p.is_file() or p.is_symlink()) if part.is_dir() else [part]
            for each in files:
                # The path counts only inside a folder: the same checkout elsewhere must give the same key.
                name = each.relative_to(part) if part.is_dir() else each.name
                content = os.readlink(each).encode() if each.is_symlink() else each.read_bytes()
                total.update(f"{name}\0{each.lstat().st_mode & 0o111}\0{len(content)}\0".encode() + content)
        else:
            text = str(part).encode()
            total.update(b"%d\0" % len(text) + text)
    return total.hexdigest()[:16]


@contextlib.contextmanager
def lock(kind):
    path = folder("lock") / kind.replace("/", "-")
    with open(path, "w", encoding="ascii") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {kind} to finish")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def find(kind, the_key):
    path = base() / kind / the_key
    if path.is_dir():
        with contextlib.suppress(OSError):
            os.utime(path)  # marks it as used, for prune()
        return path
    return None


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def make(kind, the_key, build, keep=3):
    """The folder of `kind` and `the_key`: found, or made by build(new_folder)."""
    found = find(kind, the_key)
    if found:
        return found
    with lock(kind):
        found = find(kind, the_key)  # somebody else may have made it while we waited
        if found:
            return found
        where = folder(kind)
        for rubbish in where.glob(".new-*"):
            _remove(rubbish)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=where))
        new.chmod(0o755)
        try:
            build(new)
            new.rename(where / the_key)
        finally:
            _remove(new)
        _prune(where, keep)
    return where / the_key


def _prune(where, keep):
    entries = [p for p in where.iterdir() if p.is_dir() and not p.name.startswith(".")]
    for old in sorted(entries, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
        _remove(old)


@contextlib.contextmanager
def new_file(path):
    """Writes a file that is whole or absent: yields a temporary path, renamed to `path` at the end."""
    temporary = path.with_name(f".new-{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.rename(path)
    finally:
        _remove(temporary)


def new_log(name):
    """A fresh log file: outside the thing being made, since that goes away when making it fails."""
    path = folder("log") / f"{name}.log"
    path.unlink(missing_ok=True)
    return path


def stats():
    try:
        return json.loads((base() / "stats.json").read_text())
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def timed(name, what, usual_steps=0):
    """A Progress that knows how long `name` took last time, and remembers this time for the next."""
    last = stats().get(name, {})
    progress = Progress(what, last.get("steps") or usual_steps, last.get("seconds"))
    yield progress
    taken = progress.done()
    if progress.count or not last.get("steps"):
        everything = stats()
        everything[name] = {"steps": progress.count, "seconds": round(taken, 1)}
        with new_file(folder() / "stats.json") as temporary:
            temporary.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")
