# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a machine's kernel has complained: the one test that every scenario gets without asking for it."""

import re

from workshop.ui import Failure

# What the kernel says when something is wrong with itself, in the words of the checkers that debug.config switches on.
COMPLAINTS = re.compile(
    r"BUG: |KASAN: |KCSAN: |UBSAN: |WARNING: |Bad page|Oops|Unable to handle kernel|Internal error|Kernel panic|"
    r"INFO: (task|rcu|possible|suspicious|trying|inconsistent|lockdep)|inconsistent lock state|rcu_.*self-detected|"
    r"refcount_t: |list_(add|del)\S* corruption|ODEBUG: |DMA-API: (?!preallocated|debugging|dma_debug_entry)|"
    r"sleeping function called|scheduling while atomic|[1-9]\d* new suspected memory leaks|held lock freed|"
    r"BUG kmalloc|page_table_check|stack-protector|soft lockup|hard LOCKUP|Call trace:")
AFTER = 12  # lines of a report that are shown


def complaints(bed, expected=()):
    """The lines of the console that are complaints, each with what follows it; `expected` are patterns to let pass."""
    lines = bed.console().splitlines()
    found = []
    for number, line in enumerate(lines):
        if COMPLAINTS.search(line) and not any(re.search(pattern, line) for pattern in expected):
            found.append((number, line))
    shown, end = [], -1
    for number, _ in found:
        shown += lines[max(number, end):number + AFTER]
        end = max(end, number + AFTER)
    return shown


def leaks(bed):
    """kmemleak's report on a kernel that has it. A second scan, because a pointer on its way between two places is
    no leak: only what is found unreferenced twice and is older than some seconds counts."""
    if bed.run("test -e /sys/kernel/debug/kmemleak", check=False).returncode:
        return ""
    for _ in range(2):
        bed.text("echo scan > /sys/kernel/debug/kmemleak; sleep 6", timeout=300)
    return bed.text("cat /sys/kernel/debug/kmemleak", timeout=120)


def check_kernel(bed, expected=()):
    """The kernel has not complained of itself, and lost no memory where it looks for that"""
    lost = leaks(bed)
    said = complaints(bed, expected)
    if said:
        raise Failure("the kernel complained:\n" + "\n".join(said[:120]))
    if lost:
        raise Failure("kmemleak reports:\n" + "\n".join(lost.splitlines()[:80]))
