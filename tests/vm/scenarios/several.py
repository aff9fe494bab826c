# SPDX-License-Identifier: GPL-2.0-or-later
"""Several devices in one domain and in several, and several CPUs that flush: exactly the wedged ones are fenced."""

from testbed.guest import (VERIFY, WITHOUT_DAEMON, address, bind, counters, disk, fenced, group, pci, port_of, progress,
                           readers, unbind, unfenced, wait_fenced, write)
from testbed.scenario import check, dmesg, mark, wait_for

# Two disks of their own; three functions of one device, in one domain; two below a switch, each with its port.
BED = {"kernel": "patched", "devices": "nvme:2,nvme+nvme+nvme,switch/nvme/nvme", "smp": 4,
       "append": WITHOUT_DAEMON}
CPUS = 4
FIRST, SECOND, THIRD = "nvme2", "nvme3", "nvme4"  # the functions
LEFT, RIGHT = "nvme5", "nvme6"  # below the switch


def reset(bed, *devices):
    """Resets devices in place; their fences end."""
    start = mark(bed)
    for device in devices:
        check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
    check(sorted(unfenced(bed, start)) == sorted(address(bed, device) for device in devices),
          f"reset: {devices}; unfenced: {unfenced(bed, start)}")


def found_by_sibling(bed, wedged, reader):
    """Wedges an idle device and has it found out by a flush of another one in the same domain. Returns a mark."""
    start = mark(bed)
    bed.wedge(wedged, "until-reset")
    bed.text(f"dd if={disk(bed, reader)} of=/dev/null bs=4k count=1 iflag=direct status=none")
    wait_fenced(bed, wedged, start)
    return start


def test_groups(bed):
    """Functions of one device share a group and a domain; a disk below a switch without ACS shares one with its port"""
    groups = {device: group(bed, address(bed, device)) for device in ("nvme0", "nvme1", FIRST, SECOND, THIRD, LEFT,
                                                                      RIGHT)}
    check(groups[FIRST] == groups[SECOND] == groups[THIRD], str(groups))
    check(len(set(groups.values())) == 5, str(groups))
    for device in (LEFT, RIGHT):
        port = port_of(bed, address(bed, device))
        check(group(bed, port) == groups[device], f"{device} is not in the group of its port")


def test_disk_that_was_probed_too_early(bed):
    """The test bed probes a disk again that was lost at boot, when the ports above were being enabled, and no other"""
    other = address(bed, "nvme0")
    for each in (address(bed, RIGHT), other):
        check(unbind(bed, each), "unbinding failed")
    bed.text(f"setpci -s {port_of(bed, address(bed, RIGHT))} COMMAND=0:2")
    check(not bind(bed, address(bed, RIGHT), "nvme"), "it can be bound below a port that is off")
    check(dmesg(bed, f"nvme {address(bed, RIGHT)}: error -19: probe failed"), "not the words that are looked for")
    bed.text("/usr/local/lib/testbed/probe-again")
    disk(bed, RIGHT)
    check(bed.run(f"test -e {pci(other, 'driver')}", check=False).returncode == 1, "the other disk was probed as well")
    check(bind(bed, other, "nvme"), "it cannot be bound")


def test_two_of_three_in_one_batch(bed):
    """One flush finds both wedged functions among three: two timeouts beyond the first, and the third goes on"""
    bed.text(f"{VERIFY} fill {disk(bed, FIRST)}")
    bed.text("udevadm settle")  # it looks at a disk that was written to
    start = mark(bed)
    before, books = {each: bed.stream(each)["timeouts"] for each in (FIRST, SECOND, THIRD)}, counters(bed)
    bed.wedge(SECOND, "until-reset")
    bed.wedge(THIRD, "until-reset")
    # One thread, one request at a time: one flush at a time, of a domain that all three are attached to.
    bed.text(f"dd if={disk(bed, FIRST)} of=/dev/null bs=4k count=1 iflag=direct status=none")
    wait_fenced(bed, SECOND, start)
    wait_fenced(bed, THIRD, start)
    errors = counters(bed)["cmdq-errors"] - books["cmdq-errors"]
    check(errors == 3, f"{errors} timeouts for two wedged devices")
    # One in the batch, one on its own.
    timeouts = {each: bed.stream(each)["timeouts"] - before[each] for each in before}
    check(timeouts == {FIRST: 0, SECOND: 2, THIRD: 2}, str(timeouts))
    bed.text(f"{VERIFY} read {disk(bed, FIRST)} 2 2")
    check(sorted(fenced(bed, start)) == [address(bed, SECOND), address(bed, THIRD)], str(fenced(bed, start)))
    check(len(dmesg(bed, "smmuv3|fence", start)) <= 4, str(dmesg(bed, "smmuv3|fence", start)))


def test_group_of_a_fenced_device(bed):
    """A driver of a healthy function can come and go while its sibling is fenced, and a reset of one is no reset of
    the other"""
    check(unbind(bed, address(bed, FIRST)) and bind(bed, address(bed, FIRST), "nvme"), "the healthy one cannot be used")
    bed.text(f"{VERIFY} read {disk(bed, FIRST)} 1 1")
    check(unbind(bed, address(bed, SECOND)), "unbinding failed")
    check(not bind(bed, address(bed, SECOND), "nvme"), "the fenced one can be bound")
    reset(bed, THIRD)
    check(bed.stream(SECOND)["eats"] == 0, "the reset of a sibling has lifted the fence")


def test_method_that_does_not_apply(bed):
    """A reset method that turns out not to apply changes nothing: a bus with three functions is no function's own"""
    check(write(bed, 1, pci(address(bed, SECOND), "reset")), "the reset failed")
    # The method can be chosen only while the function is alone on its bus.
    for device in (SECOND, THIRD):
        check(write(bed, 1, pci(address(bed, device), "remove")), "removing failed")
    check(write(bed, "bus", pci(address(bed, FIRST), "reset_method")), "the method cannot be chosen")
    check(write(bed, 1, "/sys/bus/pci/rescan"), "no rescan")
    start = found_by_sibling(bed, FIRST, SECOND)
    # Its driver would wait for the device a minute after a reset that was none.
    check(unbind(bed, address(bed, FIRST)), "unbinding failed")
    check(not write(bed, 1, pci(address(bed, FIRST), "reset")), "the bus was reset")
    check(not dmesg(bed, "reset while fenced", start), "the IOMMU believes in a reset")
    check(not bind(bed, address(bed, FIRST), "nvme") and bed.stream(FIRST)["eats"] == 0, "the fence has ended")
    check(write(bed, "default", pci(address(bed, FIRST), "reset_method")), "the methods cannot be restored")
    check(write(bed, 1, pci(address(bed, FIRST), "reset")), "the reset failed")
    check(bind(bed, address(bed, FIRST), "nvme"), "binding failed")


def test_another_domain(bed):
    """Nothing is attached to the group of a fenced device, and an attach is what one waits for that was reset since"""
    folder, functions = group(bed, address(bed, FIRST)), (FIRST, SECOND, THIRD)
    found_by_sibling(bed, SECOND, FIRST)
    bed.run(f"for f in {' '.join(address(bed, each) for each in functions)}; do "
            "echo $f > /sys/bus/pci/drivers/nvme/unbind; done", check=False)
    check(not write(bed, "identity", f"{folder}/type"), "another domain was attached")
    start = mark(bed)
    check(write(bed, 1, pci(address(bed, SECOND), "reset")), "the reset failed")
    check(not unfenced(bed, start), "the reset alone has lifted the fence")
    check(write(bed, "identity", f"{folder}/type"), "no other domain can be attached")
    check(unfenced(bed, start) == [address(bed, SECOND)], f"unfenced: {unfenced(bed, start)}")
    check(write(bed, "DMA", f"{folder}/type"), "the domain cannot be put back")
    for device in functions:
        check(bind(bed, address(bed, device), "nvme"), f"{device} cannot be bound")
    for device in functions:
        check(bed.stream(device)["eats"] == 1, f"STE.EATS of {device} is not set")
        bed.text(f"{VERIFY} fill {disk(bed, device)} && {VERIFY} read {disk(bed, device)} 1 1")


def wedge_and_reset(bed, wedged, healthy):
    """I/O everywhere, some wedge at once: they are fenced, nobody else is, nobody's I/O fails."""
    start = mark(bed)
    with readers(bed, *wedged, *healthy, threads=2):
        before = {device: bed.stream(device) for device in wedged}
        books = counters(bed)
        for device in wedged:
            bed.wedge(device, "until-reset")
        for device in wedged:
            wait_fenced(bed, device, start)
        # Each CPU may have a batch of its own on its way when the first verdict comes.
        timeouts = {device: bed.stream(device)["timeouts"] - before[device]["timeouts"] for device in wedged}
        check(all(1 <= count <= 2 * CPUS for count in timeouts.values()), str(timeouts))
        errors = counters(bed)["cmdq-errors"] - books["cmdq-errors"]
        check(errors <= CPUS * (1 + len(wedged)), f"{errors} timeouts on {CPUS} CPUs for {len(wedged)} wedged devices")
        for device in healthy:
            progress(bed, device)
        # The flush that found out may have been of a page that none of them had cached: other scenarios insist on some.
        for device in wedged:
            overwritten, _ = bed.scribble(device)
            check(overwritten == 0, f"{device}: {overwritten} pages overwritten")
        check(sorted(fenced(bed, start)) == sorted(address(bed, device) for device in wedged),
              f"wedged: {wedged}; fenced: {fenced(bed, start)}")
        reset(bed, *wedged)
    lines = dmesg(bed, "smmuv3|fence", start)
    check(len(lines) <= 4 * len(wedged), f"a fence is to be a handful of lines: {lines}")


def test_one_domain_many_cpus(bed):
    """Both functions that wedge under everybody's I/O are fenced, the third reads on"""
    wedge_and_reset(bed, (FIRST, THIRD), (SECOND,))


def test_below_a_switch(bed):
    """Of two disks below a switch, the one that wedges is fenced"""
    wedge_and_reset(bed, (LEFT,), (RIGHT,))


def test_several_domains(bed):
    """Devices of three domains that wedge at once are all fenced, and a healthy one in each of them reads on"""
    wedge_and_reset(bed, ("nvme0", SECOND, RIGHT), ("nvme1", FIRST, LEFT))


def test_all_of_a_domain(bed):
    """When all the devices of a domain wedge, all are fenced, and all come back"""
    wedge_and_reset(bed, (FIRST, SECOND, THIRD), ("nvme1",))


def test_bus_reset_of_three(bed):
    """A reset of the bus cures those of its functions that are fenced, and leaves the healthy one as it was"""
    start = mark(bed)
    port = port_of(bed, address(bed, FIRST))
    with readers(bed, FIRST, SECOND, THIRD):
        bed.wedge(FIRST, "until-reset")
        bed.wedge(SECOND, "until-reset")
        wait_fenced(bed, FIRST, start)
        wait_fenced(bed, SECOND, start)
        check(write(bed, 1, pci(port, "reset_subordinate")), "the reset failed")
        wait_for("the fences to end", lambda: len(unfenced(bed, start)) == 2)
        check([bed.stream(device)["eats"] for device in (FIRST, SECOND, THIRD)] == [1, 1, 1], "STE.EATS is not set")
