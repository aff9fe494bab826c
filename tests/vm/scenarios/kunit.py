# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' KUnit tests, run by the kernel while it boots."""

import os
import re

from testbed.scenario import check
from workshop import linux

# One pattern is all that kunit.filter_glob takes: arm-smmu-v3* and iommu*.
BED = {"kernel": "patched", "devices": "",
       "append": ["kunit.enable=1", "kunit.autorun=1", "kunit.filter_glob=*mmu*"]}
SUITE = re.compile(r"struct kunit_suite \w+ = \{\s*\+?\s*\.name\s*= \"([^\"]*mmu[^\"]*)\"")


def suites_wanted():
    """The suites that have to run: Linux's own of the driver, and those that the series brings.

    KUNIT_SUITES names others: kernel/check --each boots kernels that have not all patches yet.
    """
    named = os.environ.get("KUNIT_SUITES")
    if named:
        return named.split()
    return ["arm-smmu-v3-kunit-test", *(name for patch in linux.patches() for name in SUITE.findall(patch.read_text()))]


RESULT = re.compile(r"^(?P<indent> *)(?P<word>ok|not ok) \d+ (?P<name>\S+)(?: # (?P<why>.*))?$")


def ktap(console):
    """The console's KTAP: its lines without time stamps, from the first plan to the last result."""
    lines = [re.sub(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ", "", line.rstrip("\r")) for line in console.splitlines()]
    start = next((n for n, line in enumerate(lines) if line.startswith("KTAP version")), len(lines))
    last = max((n for n, line in enumerate(lines) if RESULT.match(line)), default=-1)
    return lines[start:last + 1]


def parse(lines):
    """[(suite, test, "" or what it said)], and {suite: "ok" or "not ok"}. Only the leaves: a suite is its tests."""
    tests, suites, current, said = [], {}, "", []
    for line in lines:
        result = RESULT.match(line)
        if line.lstrip().startswith("# Subtest: ") and line.startswith("    #"):
            current, said = line.partition("# Subtest: ")[2], []
        elif result and not result["indent"]:
            suites[result["name"]] = result["word"]
        elif result and len(result["indent"]) == 4:
            wrong = result["word"] != "ok"
            tests.append((current, result["name"], ("\n".join(said) or "not ok") if wrong else ""))
            said = []
        else:
            said.append(line)
    return tests, suites


def test_suites(bed):
    """The kernel has run every suite of the series to its end"""
    lines = ktap(bed.console())
    check(lines, "there is no KTAP on the console")
    tests, suites = parse(lines)
    missing = [suite for suite in suites_wanted() if suite not in suites or not any(test[0] == suite for test in tests)]
    check(not missing, f"suites that did not run: {missing}; those that did: {suites}")
    planned = sum(int(found[1]) for found in (re.match(r" {4}1\.\.(\d+)$", line) for line in lines) if found)
    check(len(tests) == planned, f"{planned} tests were announced, and {len(tests)} have a result")
    ours = [(f"{suite}.{name}", wrong) for suite, name, wrong in tests]
    broken = [suite for suite, word in suites.items() if word != "ok" and not any(t[0] == suite and t[2] for t in tests)]
    check(not broken, f"suites that failed outside of their tests: {broken}")
    return ours
