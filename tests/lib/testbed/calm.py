# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a machine's kernel has complained: the one test that every scenario gets without asking for it."""

import re

from workshop.ui import Failure

from .scenario import check

# What the kernel says when something is wrong with itself, in the words of the checkers that debug.config switches on.
COMPLAINTS = re.compile(
    r"BUG: |KASAN: |KCSAN: |UBSAN: |WARNING: |Bad page|Oops|Unable to handle kernel|Internal error|Kernel panic|"
    r"INFO: (task|rcu|possible|suspicious|trying|inconsistent|lockdep)|inconsistent lock state|rcu_.*self-detected|"
    r"refcount_t: |list_(add|del)\S* corruption|ODEBUG: |DMA-API: (?!preallocated|debugging|dma_debug_entry)|"
    r"sleeping function called|scheduling while atomic|held lock freed|"
    r"BUG kmalloc|page_table_check|stack-protector|soft lockup|hard LOCKUP|Call trace:|is not a head")
# Warnings of Linux 7.3 itself, by the innermost calls of their traces. Virtual functions are removed without the lock for
# which pci_stop_and_remove_bus_device() looks with lockdep: sriov_disable() takes it nowhere (drivers/pci/iov.c).
# "Unexpected interrupt (irqnr 8192)": an MSI for what an interrupt handler has dealt with already, acknowledged by a CPU
# just before nvme frees the vector. Whose it is the CPU looks up afterwards, and free_irq() does not wait for that. Each
# probe of a disk can have it, also under stock Linux, where an emulated CPU stops at that instruction (kernel/README.md).
LINUX_WARNS = (("pci_stop_and_remove_bus_device", "pci_iov_remove_virtfn", "sriov_disable"),
               ("gic_handle_irq", "do_interrupt_handler"))
WARNS, WARNING_LENGTH = re.compile(r"WARNING: at (\w+)\+"), 70
LOCKDEP = "grep -q 'debug_locks: *{}' /proc/lockdep_stats"
AFTER = 12  # lines of a report that are shown
# QEMU's virtio devices take a read that was aborted for zeros. A fence aborts reads first; for some microseconds the device
# can then still write where it may, into its own ring for one thing, until all of its DMA is blocked and that is announced.
JUNK, FENCED, JUNK_BEFORE, JUNK_AFTER = "is not a head", ": fenced: it does not", 5, 10
# Linux itself has data races that KCSAN finds: a report is ours when it names a function of ours.
RACE, OURS, RACE_LENGTH = "KCSAN: ", re.compile(r"iommu|smmu|fence|pci_(dev_)?(reset|stop|bus_error)|vp_|virtio_pci"), 45


def complaints(bed, expected=()):
    """The lines of the console that are complaints, each with what follows it; `expected` are patterns to let pass."""
    lines = without_linux_own(bed.console().splitlines())
    found = []
    for number, line in enumerate(lines):
        if RACE in line and not any(OURS.search(each) for each in lines[number:number + RACE_LENGTH]):
            continue
        if JUNK in line and any(FENCED in each for each in lines[max(number - JUNK_BEFORE, 0):number + JUNK_AFTER]):
            continue
        if COMPLAINTS.search(line) and not any(re.search(pattern, line) for pattern in expected):
            found.append((number, line))
    shown, end = [], -1
    for number, _ in found:
        shown += lines[max(number, end):number + AFTER]
        end = max(end, number + AFTER)
    return shown


def without_linux_own(lines):
    """The lines, with the warnings of LINUX_WARNS blanked."""
    lines = list(lines)
    for start, line in enumerate(lines):
        at = WARNS.search(line)
        if not at or not any(at[1] == calls[0] for calls in LINUX_WARNS):
            continue
        report = lines[start:start + WARNING_LENGTH]
        trace = next((number for number, each in enumerate(report) if "Call trace:" in each), 0)
        stop = next((number for number, each in enumerate(report) if "end trace" in each), trace)
        calls = [each.split("]")[-1].strip().partition("+")[0] for each in report[trace + 1:stop]]
        if trace and any(calls[:len(known)] == list(known) for known in LINUX_WARNS):
            lines[start:start + stop + 1] = [""] * (stop + 1)
    return lines


def leaks(bed):
    """kmemleak's report on a kernel that has it. A second scan, because a pointer on its way between two places is
    no leak: only what is found unreferenced twice and is older than some seconds counts."""
    if bed.run("test -e /sys/kernel/debug/kmemleak", check=False).returncode:
        return ""
    for _ in range(2):
        bed.text("echo scan > /sys/kernel/debug/kmemleak; sleep 6", timeout=300)
    found = bed.text("cat /sys/kernel/debug/kmemleak", timeout=120).split("unreferenced object")[1:]
    # Linux itself loses a few bytes while it mounts its first root, before there are any drivers.
    return "\n".join(each for each in found if 'comm "swapper/0", pid 0,' not in each)


def watching(bed):
    """The checkers of the kernel's that can be switched off, by themselves or at boot, and are on."""
    checkers = {"lockdep": LOCKDEP.format(1),
                "kmemleak": "echo scan > /sys/kernel/debug/kmemleak",
                "DMA-API": "grep -q N /sys/kernel/debug/dma-api/disabled",
                "KFENCE": "grep -q 'enabled: 1' /sys/kernel/debug/kfence/stats"}
    return [name for name, test in checkers.items() if not bed.run(f"{test} 2>/dev/null", check=False,
                                                                   timeout=300).returncode]


def lockdep_is_on(bed):
    """Also where there is none. After its first report, whoever is to blame, it looks at nothing any more."""
    return bed.run(LOCKDEP.format(0), check=False).returncode != 0


def makes_slow(bed):
    """Whether the kernel has a checker that makes it several times slower. Asked of the kernel itself: it may have been
    given as a file."""
    return not bed.run("test -e /proc/lockdep_stats || test -e /sys/kernel/debug/kcsan", check=False).returncode


def test_for(module):
    """The test for a scenario file; its EXPECTED are patterns of complaints that it provokes on purpose."""
    def test(bed):
        check_kernel(bed, getattr(module, "EXPECTED", ()))
    test.__doc__ = check_kernel.__doc__
    return test


def check_kernel(bed, expected=()):
    """The kernel has not complained of itself, and lost no memory where it looks for that"""
    lost = leaks(bed)
    said = complaints(bed, expected)
    if said:
        raise Failure("the kernel complained:\n" + "\n".join(said[:120]))
    check(lockdep_is_on(bed), "lockdep has switched itself off")
    if lost:
        raise Failure("kmemleak reports:\n" + "\n".join(lost.splitlines()[:80]))
