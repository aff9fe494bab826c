# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that compile what the series touches: each patch, other configurations, other compilers, with checkers."""

import re
import shutil
import subprocess

from workshop import ui
from workshop.run import output
from workshop.ui import Failure

from . import sparse as checker
from .common import CONFIG, HERE, Objects, Skip, beyond, insist_no_new, show, sources_for, targets_for, touched_objects

TESTBED = "testbed.config"
# What the test bed has no use for, and the series touches
MORE = ["CONFIG_IOMMU_DEBUGFS=y", "CONFIG_FAULT_INJECTION=y", "CONFIG_FAULT_INJECTION_DEBUG_FS=y",
        "CONFIG_FAIL_IOMMU_ATC_INV=y", "CONFIG_FAIL_PCI_RESET=y", "CONFIG_TEGRA241_CMDQV=y",
        "CONFIG_EFI=y", "CONFIG_ACPI=y"]
# Without NET or PCI some options of testbed.config cannot be; they are not what the variant is about.
VARIANTS = {
    "pci": ("PCI", ["CONFIG_PCI=n"]),
    # SMMUv3 selects PCI_ATS; a kernel without it still has the core, and other IOMMUs.
    "ats": ("PCI_ATS", ["CONFIG_ARM_SMMU_V3=n", "CONFIG_PCI_ATS=n", "CONFIG_PCI_PRI=n", "CONFIG_PCI_PASID=n",
                        "CONFIG_PCI_IOV=n", "CONFIG_ARM_SMMU=y", "CONFIG_VIRTIO_IOMMU=y"]),
    "iommu": ("IOMMU_API", ["CONFIG_IOMMU_SUPPORT=n", "CONFIG_IOMMUFD=n", "CONFIG_VFIO=n"]),
    "net": ("NET", ["CONFIG_NET=n"]),
    "ras": ("IOMMU_RAS", ["CONFIG_IOMMU_RAS=n"]),
    "kunit": ("KUNIT", ["CONFIG_KUNIT=n"]),
}
SLOW_EXTRAS = ["CONFIG_WERROR=n", "CONFIG_KASAN=n", "CONFIG_KCSAN=n", "CONFIG_KCOV=n", "CONFIG_GCOV_KERNEL=n",
               "CONFIG_UBSAN=n", "CONFIG_GCC_PLUGINS=n", "CONFIG_DEBUG_INFO_NONE=y"]


def lines(name):
    return (CONFIG / name).read_text().splitlines()


def arm64(series, name="arm64", **options):
    objects = Objects(series, name, **options)
    return objects, lambda: objects.configure(lines(TESTBED) + MORE)


def each_patch(series, objects, configure, targets):
    """Every commit in order, with W=1; a warning that Linux does not have fails each patch that has it. What a patch
    does not change is not compiled again."""
    problems, known, compiled = [], None, 0
    for number, commit in enumerate([series.base, *series.commits]):
        series.checkout(commit)
        name = series.patches[number - 1].name if number else f"Linux {series.version}"
        try:
            lost = configure()
            if lost and commit == series.tip:
                raise Failure(f"the configuration lacks what was asked for: {lost}")
            found = objects.build(targets, "W=1", anew=known is None)
        except Failure as failure:
            problems.append(f"{name}: {failure}")
            continue
        if known is None:
            known = found
        elif new := beyond(found, known):
            problems.append(f"{name}:\n{show(new)}")
        ui.say(f"{objects.folder.name}: {name} is built ({objects.compiled} objects)")
        compiled += objects.compiled if number else 0
    series.checkout(series.tip)
    missing = [name for name in touched_objects(series, objects.arch) if not (objects.folder / name).exists()]
    if missing:
        problems.append(f"the configuration does not compile what the series touches: {' '.join(missing)}")
    if problems:
        raise Failure("\n".join(problems))
    if compiled < 2 * len(targets):
        raise Failure(f"only {compiled} objects were compiled: this step proves nothing")
    return f"{len(series.commits)} patches, {compiled} objects, {objects.compiler}"


def step_patches_arm64(series):
    """Each patch builds on its own for arm64, with W=1 and no warning that Linux does not have"""
    return each_patch(series, *arm64(series), targets_for(series))


def step_patches_x86_64(series):
    """Each patch builds on its own for x86-64 with allmodconfig (its files and their users), W=1 and no new warning"""
    objects = Objects(series, "allmod-x86-64", arch="x86_64")
    return each_patch(series, objects, lambda: objects.configure(SLOW_EXTRAS, rest="allmodconfig"),
                      sources_for(series, "x86_64"))


def variant(name):
    symbol, changes = VARIANTS[name]

    def step(series):
        objects = Objects(series, "variant-arm64")
        series.checkout(series.tip)
        objects.configure([line for line in lines(TESTBED)] + changes)
        text = (objects.folder / ".config").read_text()
        if re.search(rf"^CONFIG_{symbol}=[ym]$", text, re.M):
            raise Failure(f"CONFIG_{symbol} is on all the same")
        found = objects.build(targets_for(series))
        if found:
            raise Failure(show(found))
    step.__doc__ = f"It builds for arm64 with no warning where CONFIG_{symbol} is off"
    step.__module__ = __name__
    return f"off-{name}", step


def symbols(path):
    """(defined, exported, undefined) of an object file."""
    said = subprocess.run(["nm", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    defined, exported, missing = set(), set(), set()
    for line in said.stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            missing.add(name)
        elif name.startswith("__export_symbol_"):
            exported.add(name.removeprefix("__export_symbol_"))
        elif kind in "TDBRV":
            defined.add(name)
    return defined, exported, missing


def step_module(series):
    """It builds for arm64 with the SMMUv3 driver as a module, which needs nothing that is not exported"""
    objects = Objects(series, "variant-arm64")
    series.checkout(series.tip)
    objects.configure(lines(TESTBED) + ["CONFIG_ARM_SMMU_V3=m", "CONFIG_ARM_SMMU_V3_KUNIT_TEST=m"])
    found = objects.build(targets_for(series))
    if found:
        raise Failure(show(found))
    # What modpost would say, without building all of the kernel: of the built-in objects here, what is not exported?
    defined, exported, module = set(), set(), []
    for path in (objects.folder / "drivers").rglob("*.o"):
        inside = "arm-smmu-v3" in str(path)
        if inside:
            module.append((path, symbols(path)[2]))
        else:
            more = symbols(path)
            defined |= more[0]
            exported |= more[1]
    if not exported:
        raise Failure("no exported symbol was found in the objects: this step looks for the wrong thing")
    bad = sorted({f"{path.name}: {name}" for path, missing in module for name in missing & (defined - exported)})
    if bad:
        raise Failure("not exported:\n" + "\n".join(bad))


def allmodconfig(arch, name):
    def step(series):
        objects = Objects(series, f"allmod-{name}", arch=arch)
        targets = targets_for(series)
        return insist_no_new(series, objects, targets,
                             prepare=lambda: objects.configure(SLOW_EXTRAS, rest="allmodconfig"))
    step.__doc__ = f"It builds with allmodconfig for {name}, the drivers of other IOMMUs included, with no new warning"
    step.__module__ = __name__
    return f"allmod-{name}", step


def step_sparse(series):
    """sparse and W=1 have nothing to say that Linux does not have already (arm64, GCC)"""
    sparse = checker.program(series)
    objects, configure = arm64(series, "sparse-arm64")
    note = insist_no_new(series, objects, targets_for(series), "W=1", "C=1", f"CHECK={sparse}", prepare=configure)
    return f"{note}, sparse {output([sparse, '--version']).strip()}"


def step_smatch(series):
    """smatch has nothing to say that it has not of Linux already (arm64, GCC)"""
    if not shutil.which("smatch"):
        raise Skip("there is no smatch on this machine, and Debian has no package of it")
    objects, configure = arm64(series, "smatch-arm64")
    return insist_no_new(series, objects, targets_for(series), "C=1", "CHECK=smatch -p=kernel", prepare=configure)


def newest_clang(series):
    """The version of a clang that this Linux takes."""
    _, least = series.tool("sh", "scripts/min-tool-version.sh", "llvm", env={"SRCARCH": "arm64"})
    for version in range(40, int(least.split(".")[0]) - 1, -1):
        if all(shutil.which(f"{tool}-{version}") for tool in ("clang", "ld.lld", "llvm-ar", "llvm-nm")):
            return version
    raise Skip(f"no clang, lld and llvm of version {least.strip()} or newer: `make deps-check` installs them")


def clang(arch, name):
    def step(series):
        series.checkout(series.tip)
        objects = Objects(series, f"clang-{name}", arch=arch, clang=newest_clang(series))
        config = (lines(TESTBED) + MORE) if arch == "arm64" else (HERE / "x86-64.config").read_text().splitlines()
        note = insist_no_new(series, objects, targets_for(series), "W=1", prepare=lambda: objects.configure(config))
        return f"{note}, {objects.compiler}"
    step.__doc__ = f"Clang with W=1 has nothing to say that it has not of Linux already ({name})"
    step.__module__ = __name__
    return f"clang-{name}", step


def more_steps():
    return [*map(variant, VARIANTS), clang("arm64", "arm64"), clang("x86_64", "x86-64"),
            allmodconfig("arm64", "arm64"), allmodconfig("x86_64", "x86-64")]
