# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux 7.3 as Debian packages it, and our patch series on top.

Two trees: one to build in, whose git knows only the files that the series touches (made in seconds, and moving
it from one series to another changes only those files, so that a rebuild is small); and one to work in, a
whole git repository that `make kernel-tree` makes.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from . import cache, debian
from .run import output, run
from .ui import Failure, say

ROOT = cache.ROOT
PATCHES = ROOT / "kernel" / "patches" / "7.3"
CROSS = "aarch64-linux-gnu-"
SPECIFICATION = "Documentation/netlink/specs/iommu-ras.yaml"
RECIPE = 2  # raise it when the way of building changes what is built
# Nothing of the user's git configuration may change what is applied or exported.
GIT_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                   "GIT_AUTHOR_NAME": "smmu-ras", "GIT_AUTHOR_EMAIL": "smmu-ras@localhost",
                   "GIT_COMMITTER_NAME": "smmu-ras", "GIT_COMMITTER_EMAIL": "smmu-ras@localhost"}


def git(tree, *arguments, check=True, env=None, **options):
    settings = ["-c", "gc.auto=0", "-c", "core.abbrev=12", "-c", "core.fileMode=true", "-c", "commit.gpgSign=false"]
    return run(["git", *settings, "-C", str(tree), *arguments], check=check,
               env={**os.environ, **GIT_ENVIRONMENT, **(env or {})}, **options)


def git_output(tree, *arguments):
    return output(["git", "-C", str(tree), *arguments], env={**os.environ, **GIT_ENVIRONMENT})


def patches():
    return sorted(p for p in PATCHES.glob("[0-9]*.patch") if not p.name.startswith("0000"))


def compiler():
    try:
        return output([f"{CROSS}gcc", "--version"]).splitlines()[0]
    except FileNotFoundError:
        raise Failure(f"no {CROSS}gcc: run `make deps` as root") from None


def source(update=False):
    """The folder with Debian's kernel source package; fetched once, then used until asked to update."""
    kind = "source/linux"
    current = cache.folder(kind) / "current"
    if current.exists() and not update:
        return current.resolve()
    with cache.lock("fetch-linux"):
        apt = debian.Apt("trixie-backports", arch="amd64")
        package = "linux-source-7.3"

        def fetch(new):
            cache.need_space(8, "building the kernel")
            version = apt.download(package, new, "Linux 7.3 source")
            (new / "version").write_text(version.split("-")[0] + "\n")
        made = cache.make(kind, cache.key(package, *apt.versions(package)), fetch, keep=2)
        with cache.new_file(current) as temporary:
            temporary.symlink_to(made.name)
    return made


def version(the_source):
    return (the_source / "version").read_text().strip()


def unpack(the_source, tree):
    """Unpacks the source package into the new folder `tree`."""
    say(f"unpacking Linux {version(the_source)}")
    deb = next(the_source.glob("*.deb"))
    tree.mkdir(parents=True)
    # The package holds one tarball; nothing of it is installed.
    run(["sh", "-ec", 'dpkg-deb --fsys-tarfile "$1" | tar -x -O --wildcards "./usr/src/linux-source-*.tar.xz" '
         '| tar -x -J --strip-components=1 -C "$2"', "sh", str(deb), str(tree)])


def touched(series):
    """The files that a series of patches touches."""
    found = set()
    for patch in series:
        for line in patch.read_text(errors="replace").splitlines():
            match = re.match(r"(?:---|\+\+\+) [ab]/(\S+)", line)
            if match:
                found.add(match[1])
    return sorted(found)


def is_ours(symbol):
    """Whether a configuration symbol (CONFIG_X) may be missing, because our series brings it."""
    if not hasattr(is_ours, "known"):
        text = "".join(patch.read_text(errors="replace") for patch in patches())
        is_ours.known = set(re.findall(r"^\+config (\w+)", text, re.M)) | {"IOMMU_RAS"}
    return symbol.removeprefix("CONFIG_") in is_ours.known


def apply(tree, series):
    """Applies a series as commits, one `git am` each: what applied before a bad patch stays."""
    for patch in series:
        log = cache.new_log("git-am")
        if git(tree, "am", "--quiet", "--committer-date-is-author-date", "--keep-non-patch", str(patch),
               check=False, log=log):
            said = log.read_text()
            git(tree, "am", "--abort", check=False)
            files = "\n  ".join(sorted(set(re.findall(r"^error: .*$", said, re.M)))) or said.strip()
            where = patch.relative_to(ROOT) if patch.is_relative_to(ROOT) else patch
            raise Failure(f"{where} does not apply to this kernel:\n  {files}\n"
                          "Either the kernel source moved (`kernel/build --update` says to which version) or the patch "
                          "was edited by hand.\nRun `make kernel-tree`: it applies what applies and stops there; "
                          "apply the rest in that tree, commit, and run `make kernel-export`.")


def build_tree(the_source, series, kind="kernel"):
    """The tree of this kind to build in, with exactly this series applied. The caller holds a lock on its use."""
    def prepare(new):
        unpack(the_source, new / "tree")
        git(new / "tree", "init", "--quiet", "-b", "base")
        (new / "tree/.git/info/exclude").write_text("*\n")
        git(new / "tree", "commit", "--quiet", "--allow-empty", "-m", "Nothing yet")
        git(new / "tree", "checkout", "--quiet", "--detach")
    place = cache.make(kind, the_source.name, prepare, keep=2)
    tree, side = place / "tree", place / "side"
    wanted = cache.key(*series)
    done = place / "series"
    if done.exists() and done.read_text() == wanted:
        return tree
    # The series is applied in a side tree, small since git knows few files, and the result checked out in the
    # build tree: only what really differs gets a new time stamp, and a patch that does not apply spoils nothing.
    run(["rm", "-rf", str(side)])
    for leftover in (tree / ".git").glob("**/*.lock"):
        leftover.unlink()  # of a run that was killed: we hold the lock that matters
    git(tree, "worktree", "prune")
    git(tree, "worktree", "add", "--quiet", str(side), "base")
    for name in touched(series):
        if (tree / name).exists() and not git_output(tree, "ls-files", "--", name):
            (side / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / name, side / name)
            git(side, "add", "--force", "--", name)
    git(side, "commit", "--quiet", "--allow-empty", "-m", "Linux, as far as the series touches it")
    git(side, "checkout", "--quiet", "--detach")
    if series:
        say(f"applying {len(series)} patches")
    apply(side, series)
    done.unlink(missing_ok=True)
    git(tree, "checkout", "--quiet", "--force", "--detach", git_output(side, "rev-parse", "HEAD"))
    done.write_text(wanted)
    run(["rm", "-rf", str(side)])
    git(tree, "worktree", "prune")
    return tree


def environment(**variables):
    """This process' environment without what a make above it has put there, with `variables` added."""
    return {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"} | variables


def make(tree, objects, *targets, log, each_line=None, **variables):
    """Kbuild, cross-compiling for arm64; `variables` are added to its environment."""
    wanted = {"ARCH": "arm64", "CROSS_COMPILE": CROSS,
              # Part of the Image: fixed, so that the same input gives the same kernel.
              "KBUILD_BUILD_USER": "smmu-ras", "KBUILD_BUILD_HOST": "testbed", "KBUILD_BUILD_VERSION": "1",
              "KBUILD_BUILD_TIMESTAMP": "2026-01-01", **variables}
    run(["nice", "make", f"-j{os.cpu_count()}", f"O={objects}", *targets], cwd=tree, env=environment(**wanted), log=log,
        each_line=each_line)


def options(path):
    """What a configuration or a fragment of one sets: {"CONFIG_X": value}."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line.startswith("CONFIG_"))


def configure(tree, objects, fragments, log, rest="allnoconfig"):
    """Configures from fragments, later ones first in rank; `rest` is Kbuild's target that sets all other options."""
    wanted = objects / "wanted.config"
    wanted.write_text("".join(fragment.read_text() for fragment in fragments))
    make(tree, objects, rest, log=log, KCONFIG_ALLCONFIG=str(wanted))


def dropped(objects, fragments):
    """The options of fragments that the configuration in `objects` does not have: {"CONFIG_X": "y (is n)"}."""
    chosen, wanted = options(objects / ".config"), {}
    for fragment in fragments:
        wanted |= options(fragment)
    # An empty string is as good as an option that is not there.
    return {name: f"{value} (is {chosen.get(name, 'n')})" for name, value in wanted.items()
            if chosen.get(name, "n") != value and not (value == '""' and name not in chosen)}


def insist(objects, fragments, may_lack=None):
    """Fails when the configuration in `objects` lacks an option that the fragments ask for."""
    lost = [f"{name}={text}" for name, text in dropped(objects, fragments).items() if not (may_lack and may_lack(name))]
    if lost:
        raise Failure("the kernel's configuration dropped what kernel/config/ asks for (a dependency is missing, "
                      "or the option was renamed):\n  " + "\n  ".join(lost))


def work_tree(the_source):
    """Where people work: not among the trees to build in, which are pruned."""
    name = f"linux-{version(the_source)}"
    tree, earlier = cache.folder("kernel-work") / name, cache.base() / "kernel" / name
    if earlier.exists() and not tree.exists():
        earlier.rename(tree)
        git(tree, "worktree", "repair", check=False)  # that of kernel/check knows the tree by its place
    return tree


def contents(series):
    return {patch.name: patch.read_bytes() for patch in series}


def exported(tree, commits="base..smmu-ras"):
    """The commits of a working tree as patch files: {name: content}."""
    with tempfile.TemporaryDirectory() as folder:
        git(tree, "-c", "diff.algorithm=myers", "-c", "diff.renames=true", "format-patch", "--quiet", "--zero-commit",
            "--no-signature", "--no-numbered", "--no-base", "--stat=72", "--output-directory", folder, commits)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def remember_imported(tree):
    """Marks the branch's commits as known to kernel/patches/: they may be replaced by a new import."""
    git(tree, "update-ref", "refs/smmu-ras/imported", "smmu-ras")


def last_imported(tree):
    try:
        return git_output(tree, "rev-parse", "--verify", "--quiet", "refs/smmu-ras/imported")
    except Failure:
        return None
