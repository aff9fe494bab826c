# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that read the patches, and compile nothing."""

import re

from workshop import linux
from workshop.ui import Failure

from .common import HERE

CHECKPATCH = re.compile(r"^(?P<file>.*?):(?P<line>\d+): (?P<level>\w+):(?P<type>\w+): (?P<text>.*)$")


def more_steps():
    return []


def step_am(series):
    """git am takes every patch, with no complaint about white space"""
    series.checkout(series.base)
    for patch in series.patches:
        code, said = series.tool("git", "apply", "--check", "--whitespace=error-all", str(patch))
        if code:
            raise Failure(f"{patch.name}: {said}")
        linux.git(series.tree, "am", "--quiet", str(patch), log=series.log)
    return f"{len(series.patches)} patches"


def step_export(series):
    """The files are what exporting their commits gives, byte by byte, and so is the daemon's copy of the header"""
    wanted, have = linux.exported(series.tree, f"{series.base}..{series.tip}"), linux.contents(series.patches)
    differ = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
    if differ:
        raise Failure("run `make kernel-tree` and `make kernel-export`; these files would change:\n" + "\n".join(differ))
    series.checkout(series.tip)
    header = "include/uapi/linux/iommu_ras.h"
    if (series.tree / header).read_bytes() != (linux.ROOT / header).read_bytes():
        raise Failure(f"{header} is not the kernel's")


def step_cover(series):
    """The cover letter counts and lists the patches that there are, and the lines that they change"""
    letter = (linux.PATCHES / "0000-cover-letter.patch").read_text()
    span = f"{series.base}..{series.tip}"
    wanted = [f"[PATCH 00/{len(series.patches)}]",
              linux.git_output(series.tree, "shortlog", "-w72,2,4", span).rstrip("\n"),
              linux.git_output(series.tree, "diff", "-M", "--stat=72", span).rstrip("\n")]
    lacks = [text for text in wanted if text not in letter]
    if lacks:
        raise Failure("0000-cover-letter.patch does not have this:\n" + "\n\n".join(lacks))


def accepted():
    """[[type, file, text, times used]] from checkpatch-accepted."""
    found = []
    for line in (HERE / "checkpatch-accepted").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            kind, file, text, reason = (part.strip() for part in line.split("|", 3))
            if not reason:
                raise Failure(f"checkpatch-accepted: no reason: {line}")
            found.append([kind, file, text, 0])
    return found


def step_checkpatch(series):
    """checkpatch --strict says nothing that is not accepted in kernel/checks/checkpatch-accepted, with a reason"""
    series.checkout(series.tip)
    exceptions, bad = accepted(), []
    for patch in series.patches:
        _, said = series.tool("perl", "scripts/checkpatch.pl", "--strict", "--show-types", "--terse", "--no-summary",
                              "--codespell", "--showfile", str(patch))
        for line in said.splitlines():
            match = CHECKPATCH.match(line)
            if not match:
                bad.append(line)  # of the tool itself: a module of Python that it lacks, say
                continue
            for each in exceptions:
                if each[0] == match["type"] and re.fullmatch(each[1], match["file"]) and re.search(each[2], match["text"]):
                    each[3] += 1
                    break
            else:
                bad.append(f"{patch.name}: {line}")
    bad += [f"checkpatch-accepted: nothing needs this any more: {kind} | {file} | {text}"
            for kind, file, text, used in exceptions if not used]
    if bad:
        raise Failure("\n".join(bad))
    return f"{sum(each[3] for each in exceptions)} accepted"


# Kinds of files that have no licence line in Linux: their readers take every line for data.
NO_LICENCE = re.compile(r"Documentation/ABI/.*|tools/testing/selftests/.*/(config|settings)|MAINTAINERS")


def licensed(series, commit, names):
    """Which of these files name a licence in their first lines, in the tree as it is after a commit."""
    series.checkout(commit)
    return {name for name in names if (series.tree / name).exists() and "SPDX-License-Identifier" in
            "".join((series.tree / name).read_text(errors="replace").splitlines()[:3])}


def step_spdx(series):
    """Every file that is added names its licence, none loses it, and the kernel's own checker knows all the names"""
    before = licensed(series, series.base, series.files)
    old = {name for name in series.files if (series.tree / name).exists()}
    after = licensed(series, series.tip, series.files)
    names = [name for name in series.files if (series.tree / name).exists()]
    # The checker looks at the names of licences, and does not mind a file without one.
    said = "".join(f"{name}: no SPDX-License-Identifier in its first lines\n" for name in names
                   if name not in after and (name in before or name not in old and not NO_LICENCE.fullmatch(name)))
    code, more = series.tool("python3", "scripts/spdxcheck.py", *names)
    if code or said or more.strip():
        raise Failure(said + more)
    return f"{len(after)} files"


def step_kernel_doc(series):
    """kernel-doc has no complaint about a touched file that it had not before"""
    def complaints(commit):
        series.checkout(commit)
        files = [name for name in series.files if name.endswith((".c", ".h")) and (series.tree / name).exists()]
        _, said = series.tool("scripts/kernel-doc", "-none", "-Wall", *files)
        return [re.sub(r":\d+", "", line) for line in said.splitlines() if line.strip()]
    before = complaints(series.base)
    new = [line for line in complaints(series.tip) if line not in before]
    if new:
        raise Failure("\n".join(new))


def step_netlink(series):
    """The generated netlink files are what ynl-regen makes of the specification"""
    series.checkout(series.tip)
    code, said = series.tool("tools/net/ynl/ynl-regen.sh", "-f", "-p", "drivers/iommu")
    if code or "GEN" not in said:
        raise Failure(f"ynl-regen did nothing:\n{said}")
    code, said = series.tool("tools/net/ynl/ynl-regen.sh", "-f", "-p", "include/uapi/linux")
    _, changed = series.tool("git", "diff", "--stat")
    series.checkout(series.tip)
    if code or changed.strip():
        raise Failure(f"edited by hand, or the specification was changed and nothing generated:\n{changed or said}")


def step_maintainers(series):
    """Every file that the series adds has a maintainer other than that of all of Linux"""
    series.checkout(series.tip)
    _, added = series.tool("git", "diff", "--name-only", "--diff-filter=A", series.base, "HEAD")
    missing = []
    for name in added.split():
        _, said = series.tool("perl", "scripts/get_maintainer.pl", "--no-git", "--no-git-fallback", "--roles", "--nol",
                              "-f", name)
        if not re.search(r"@.*\((maintainer|supporter):(?!THE REST\))", said):
            missing.append(name)
    if missing:
        raise Failure("\n".join(f"nobody maintains {name}" for name in missing))
    return f"{len(added.split())} files"
