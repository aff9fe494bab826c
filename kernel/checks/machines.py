# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that boot the series in a virtual machine: KUnit, each patch, and the whole suite on kernels with checkers."""

import inspect
import re

from workshop import cache, linux, ui
from workshop.ui import Failure

from .builds import MORE, TESTBED, arm64, lines

RESULT = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
CYCLES = 1000
# With I/O, recovery, and more than one CPU at work on the same device
RACY = "kernel kunit netlink races queue resets bound several errors recover".split()


def more_steps():
    return []


def suite(series, *command, environment=None):
    """Runs a test suite of ours; fails when it does, with the tests that failed."""
    code, said = series.tool(str(linux.ROOT / command[0]), *command[1:], env=environment)
    result = RESULT.findall(said)
    if code or not result or result[-1][1] != "0":
        at = said.find("\nFAILED")
        raise Failure(said[at + 1:at + 6000] if at >= 0 else said[-3000:])
    return " ".join(f"{number} {word}" for number, word in zip(result[-1], ("passed", "failed", "skipped")))


def step_kunit(series):
    """The patched kernel boots, and passes the KUnit tests"""
    return suite(series, "tests/vm/run", "kunit")


def step_each_boots(series):
    """Each patch on its own boots, passes KUnit, and its kernel works a disk and a network card without complaint"""
    # Compiled in the same way as by the step patches-arm64, whose objects it finds again.
    (objects, configure), problems, before = arm64(series), [], 0
    for patch, commit in zip(series.patches, series.commits):
        # Of the tree, so that a change in a later patch does not take back what was seen of an earlier one.
        tree = linux.git_output(series.tree, "rev-parse", f"{commit}^{{tree}}")
        name, key = f"each-boots {patch.name}", cache.key(tree, *lines(TESTBED), *MORE, inspect.getsource(step_each_boots))
        if series.memory and series.memory.passed(name, key):
            before += 1
            continue
        series.checkout(commit)
        found = set()
        for path in (series.tree / "drivers/iommu").rglob("*test*.c"):
            found |= set(re.findall(r'struct kunit_suite \w+ = \{\s*\.name\s*= "([^"]*mmu[^"]*)"', path.read_text()))
        try:
            configure()
            # kernel-doc has a step of its own, and would take as long here as the compiler.
            objects.make("Image", "W=1", "KERNELDOC=/dev/null")
            note = suite(series, "tests/vm/run", "kunit", "healthy", "--kernel",
                         str(objects.folder / "arch/arm64/boot/Image"), environment={"KUNIT_SUITES": " ".join(found)})
            ui.say(f"{patch.name}: {note}")
            if series.memory:
                series.memory.remember(name, key)
        except Failure as failure:
            problems.append(f"{patch.name}: {failure}")
    series.checkout(series.tip)
    if problems:
        raise Failure("\n".join(problems))
    return f"{len(series.commits)} patches" + (f", {before} of them before" if before else "")


step_each_boots.each = True


def step_debug_suite(series):
    """Every scenario on the debug kernel (KASAN, lockdep, kmemleak, …): no failure, and no complaint of the kernel"""
    return suite(series, "tests/vm/run", "--kernel", "debug", "--jobs", "1")


def step_debug_rounds(series):
    """1,000 random cycles of wedge and recovery on the debug kernel"""
    return suite(series, "tests/vm/stress", "--kernel", "debug", "--cycles", str(CYCLES))


def step_kcsan_suite(series):
    """Scenarios with I/O and recovery on a kernel with KCSAN: no data race in a file that the series touches"""
    return suite(series, "tests/vm/run", "--kernel", "kcsan", "--jobs", "1", *RACY)


for step in (step_debug_suite, step_debug_rounds, step_kcsan_suite):
    step.slow = True
