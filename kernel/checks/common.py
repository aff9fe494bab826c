# SPDX-License-Identifier: GPL-2.0-or-later
"""What the steps share: the series as commits in a tree of their own, and building parts of it."""

import collections
import os
import re
import shutil
import subprocess
from pathlib import Path

from workshop import cache, linux
from workshop.run import output, run
from workshop.ui import Failure, say

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "config"
# Who uses what the series changes, whatever it touches itself.
USERS = ("drivers/vfio/", "drivers/virtio/", "drivers/block/virtio_blk.o", "drivers/net/virtio_net.o")
# What make would compile, or look for, although the configuration has it not
NEEDED = {"drivers/virtio/": "VIRTIO", "drivers/vfio/": "VFIO", "drivers/block/virtio_blk.o": "VIRTIO_BLK",
          "drivers/net/virtio_net.o": "VIRTIO_NET", "drivers/pci/": "PCI", "lib/fault-inject.o": "FAULT_INJECTION",
          "lib/fault-inject-device.o": "FAULT_INJECTION_DEVICE"}
MORE_USERS = ("drivers/iommu/dma-iommu.o", "drivers/iommu/iommufd/device.o", "drivers/pci/ats.o", "drivers/pci/iov.o",
              "drivers/pci/pcie/aer.o", "drivers/pci/hotplug/pciehp_hpc.o", "drivers/vfio/pci/vfio_pci_core.o")
WARNING = re.compile(r"^(?P<where>[^\s:]+):(?:\d+:)*\s*(?P<text>(?:fatal )?(?:warning|error|note): .*)$|"
                     r"^(?:Warning|WARNING|ERROR): (?P<file>[^\s:]+\.[chS])(?::\d+)*:? (?P<said>.*)$")
NO_MODULE = re.compile(r"^ModuleNotFoundError: No module named '(\S+)'$", re.M)


class Skip(Exception):
    """Raised with the reason why a step cannot say anything."""


class Series:
    """The patches, and a git tree that can be moved to any of them."""

    def __init__(self):
        self.source = linux.source()
        self.version = linux.version(self.source)
        self.patches = linux.patches()
        self.files = linux.touched(self.patches)
        self.key = cache.key(self.source.name, *self.patches)
        self.logs = cache.folder("log", "kernel-check")
        self.log = self.logs / "tree.log"
        self.log.unlink(missing_ok=True)
        self.memory = None  # of what has passed before, for steps of many parts
        self.tree = cache.folder("kernel-check") / "tree"
        self._make_tree()

    def _make_tree(self):
        """A git worktree beside the one that people work in: its branch `base` is all that is taken from there."""
        work = linux.work_tree(self.source)
        if not (work / ".git").exists():
            # No work of anybody's can be in the way of a tree that is not there.
            run([str(HERE.parent / "tree")], log=self.log)
        if (self.tree / ".git").exists() and run(["git", "-C", str(self.tree), "cat-file", "-e", "HEAD"],
                                                 check=False):
            shutil.rmtree(self.tree)
        if not (self.tree / ".git").exists():
            linux.git(work, "worktree", "prune", log=self.log)
            linux.git(work, "worktree", "add", "--quiet", "--detach", str(self.tree), "base", log=self.log)
        self.base = linux.git_output(work, "rev-parse", "base")
        kept = self.tree.parent / "commits"
        lines = kept.read_text().split() if kept.exists() else []
        if lines[:1] == [self.key] and not run(["git", "-C", str(self.tree), "cat-file", "-e", lines[-1]], check=False):
            self.commits = lines[1:]
            return
        run(["git", "-C", str(self.tree), "am", "--abort"], check=False, log=self.log)
        self.checkout(self.base)
        linux.apply(self.tree, self.patches)
        self.commits = linux.git_output(self.tree, "rev-list", "--reverse", f"{self.base}..HEAD").split()
        kept.write_text("\n".join([self.key, *self.commits]) + "\n")

    def checkout(self, commit):
        linux.git(self.tree, "checkout", "--quiet", "--force", "--detach", commit, log=self.log)
        linux.git(self.tree, "clean", "--quiet", "-fd", log=self.log)

    @property
    def tip(self):
        return self.commits[-1]

    def tool(self, *command, env=None, **options):
        """Runs a tool of the tree; returns (exit code, what it printed), which is logged as well."""
        # Debian's Python, which has the modules that `make deps-check` installs, comes before any other.
        options["env"] = {**os.environ, "PATH": "/usr/bin:" + os.environ.get("PATH", "/bin"), **(env or {})}
        done = subprocess.run(command, cwd=self.tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **options)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}")
        missing = NO_MODULE.search(done.stdout)
        if missing:
            raise Failure(f"{' '.join(command[:2])} needs Python's module {missing[1]}: run `make deps-check` as root")
        return done.returncode, done.stdout


class Objects:
    """A folder of objects: one architecture, one configuration, one compiler."""

    def __init__(self, series, name, arch="arm64", clang=None):
        self.series, self.arch, self.folder = series, arch, cache.folder("kernel-check", "objects", name)
        self.arguments, self.variables = [], {"ARCH": arch, "CROSS_COMPILE": linux.CROSS if arch == "arm64" else ""}
        compiler = f"{self.variables['CROSS_COMPILE']}gcc"
        if clang:
            self.variables |= {"LLVM": f"-{clang}", "CROSS_COMPILE": linux.CROSS if arch == "arm64" else ""}
            compiler = f"clang-{clang}"
        if shutil.which("ccache"):
            # Walking the commits of the series forth and back then costs little; it repeats the warnings, too. What it
            # has not, it compiles without preprocessing it first.
            self.arguments = [f"CC=ccache {compiler}"]
            self.variables |= {"CCACHE_DIR": str(cache.folder("kernel-check", "ccache")), "CCACHE_MAXSIZE": "4G",
                               "CCACHE_DEPEND": "1"}
        self.compiler = output([compiler, "--version"]).splitlines()[0]

    def make(self, *targets, each_line=None, **variables):
        linux.make(self.series.tree, self.folder, *self.arguments, *targets, log=self.series.log, each_line=each_line,
                   **self.variables, **variables)

    def configure(self, lines, rest="allnoconfig"):
        """Configures from lines of a .config, of which later ones win; returns those that do not hold in the end."""
        wanted = dict(re.match(r"(CONFIG_\w+)=(.*)", line).groups() for line in lines if line.startswith("CONFIG_"))
        text = "".join(f"{name}={value}\n" for name, value in wanted.items())
        # From the lines at each commit that has other options: in the .config of the one before they would be off.
        kconfig = [self.series.tree / name for name in self.series.files if Path(name).name.startswith("Kconfig")]
        stamp = cache.key(self.series.base, rest, text, *(path for path in kconfig if path.exists()))
        kept = self.folder / "configured"
        if not (self.folder / ".config").exists() or not kept.exists() or kept.read_text() != stamp:
            (self.folder / "wanted.config").write_text(text)
            self.make(rest, KCONFIG_ALLCONFIG=str(self.folder / "wanted.config"))
            kept.write_text(stamp)
        chosen = linux.options(self.folder / ".config")
        return {name: chosen.get(name, "n") for name, value in wanted.items() if chosen.get(name, "n") != value}

    def build(self, targets, *arguments, anew=True):
        """Builds targets, if commit and configuration have them: all of their objects anew, or those that changed.
        Returns the warnings in headers and in the targets' sources as a Counter of (file, text). What else make finds
        to compile, such as the vDSO, is not compiled every time."""
        chosen = linux.options(self.folder / ".config")
        targets = [name for name in targets if name.endswith("/") or (self.series.tree / f"{name[:-2]}.c").exists()]
        targets = [name for name in targets if name not in NEEDED or f"CONFIG_{NEEDED[name]}" in chosen]
        for target in targets:
            where = self.folder / target
            for each in ([where] if target.endswith(".o") else where.rglob("*.o")) if anew else ():
                each.unlink(missing_ok=True)
        found, ran = collections.Counter(), collections.Counter()
        sources = tuple(name if name.endswith("/") else f"{name[:-2]}.c" for name in targets)

        def look(line):
            ran[line[2:7]] += line.startswith("  C")
            match = WARNING.match(line.rstrip())
            if match:
                where = os.path.normpath((match["where"] or match["file"]).removeprefix("../"))
                text = re.sub(r"\b\d+\b", "N", match["text"] or match["said"])
                where = where.removeprefix(str(self.series.tree) + "/")
                if not where.endswith(".c") or where.startswith(sources):
                    found[where, text] += 1
        self.make(*arguments, *targets, each_line=look)
        self.compiled = ran["CC   "] + ran["CC [M"]
        if "C=1" in arguments and not ran["CHECK"] or anew and not (ran["CC   "] or ran["CC [M"]):
            raise Failure("nothing was compiled, or nothing checked: this step proves nothing")
        return found


def targets_for(series):
    """What to build for a series: the folders below drivers/ and files elsewhere that it touches, and their users."""
    found = []
    for name in series.files:
        if name.endswith(".c") and not name.startswith(("tools/", "Documentation/", "samples/")):
            folder = "/".join(name.split("/")[:2]) + "/"
            whole = name.startswith("drivers/") and folder not in ("drivers/net/", "drivers/block/")
            found.append(folder if whole else name[:-2] + ".o")
    found += USERS
    kept = [target for target in dict.fromkeys(found)]
    return [target for target in kept if not any(other != target and other.endswith("/") and target.startswith(other)
                                                 for other in kept)]


def touched_objects(series, arch):
    """The objects of the files that the series touches."""
    found = [name[:-2] + ".o" for name in series.files
             if name.endswith(".c") and not name.startswith(("tools/", "Documentation/", "samples/"))]
    # The folder of the SMMUs is not even looked into elsewhere.
    return [name for name in found if arch == "arm64" or not name.startswith("drivers/iommu/arm/")]


def sources_for(series, arch):
    """The same for where whole folders would take a day: the files that the series touches, and their users."""
    users = [name for name in USERS if name.endswith(".o")]
    return list(dict.fromkeys([*touched_objects(series, arch), *users, *MORE_USERS]))


def show(warnings):
    return "\n".join(f"{where}: {text}" + (f" ({count} times)" if count > 1 else "")
                     for (where, text), count in sorted(warnings.items()))


def beyond(found, known):
    """The warnings of which `found` has more than `known`. What a header always warns of, it does so often as it is
    included: of that another time is not new."""
    return collections.Counter({warning: more for warning, more in (found - known).items()
                                if not (warning[0].endswith(".h") and warning in known)})


def insist_no_new(series, objects, targets, *arguments, prepare):
    """The tip builds without a warning that Linux itself does not have. Returns a note for the result."""
    series.checkout(series.tip)
    lost = prepare()
    if lost:
        raise Failure(f"the configuration lacks what was asked for: {lost}")
    ours = objects.build(targets, *arguments)
    if not ours:
        return "no warning at all"
    say(f"{sum(ours.values())} warnings; building Linux without the series, for comparison")
    series.checkout(series.base)
    prepare()
    new = beyond(ours, objects.build(targets, *arguments))
    series.checkout(series.tip)
    if new:
        raise Failure(f"{sum(new.values())} warnings that Linux without the series does not have:\n{show(new)}")
    return f"{sum(ours.values())} warnings, all of them Linux's own"
