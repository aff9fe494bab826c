# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reset cures and what a failed one leaves, for the scenarios and kernel/check-deb, each with methods of its own."""

import contextlib

from .guest import address, bind, fenced, not_active, pci, unbind, unfenced, write
from .scenario import check, dmesg, mark, wait_for


def card_works(bed, device):
    """A network card answers invalidations, and its network is there."""
    wait_for(f"STE.EATS of {device}", lambda: bed.stream(device).get("eats") == 1)
    peer = bed.device(device)["net"][:-4] + "2"
    wait_for("the network", lambda: bed.run(f"ping -c 1 -W 1 {peer}", check=False).returncode == 0)


def cure_within(bed, device, name):
    """Unbinds and wedges a device, whose reset finds it out and cures it, so that there is no fence; binds the driver."""
    check(unbind(bed, address(bed, device)), "unbinding failed")
    start, before = mark(bed), bed.stream(device)["timeouts"]
    bed.wedge(device, "until-reset")
    check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
    check(bed.stream(device)["timeouts"] > before, "nothing was sent to it, so this test shows nothing")
    check(not dmesg(bed, "fence", start) and not_active(bed) == {}, f"a fence: {dmesg(bed, 'fence', start)}")
    check(bind(bed, address(bed, device), name), f"{device} cannot be bound")


def fail(bed, drivers, start, succeeding=()):
    """Unbinds these devices, {device: driver}, and has them not come back from resets at the same time: all are fenced.

    `succeeding` are those whose resets do not say so.
    """
    for device in drivers:
        check(unbind(bed, address(bed, device)), "unbinding failed")
        bed.wedge(device, "reset-fails")
    with contextlib.ExitStack() as stack:  # a minute each
        running = {device: stack.enter_context(bed.start(f"echo 1 > {pci(address(bed, device), 'reset')}"))
                   for device in drivers}
        said = {device: each.communicate(timeout=300)[0] for device, each in running.items()}
    succeeded = {device for device, each in running.items() if each.returncode == 0}
    check(succeeded == set(succeeding), f"the resets of these are said to have succeeded: {succeeded}: {said}")
    for device, name in drivers.items():
        check(not bind(bed, address(bed, device), name), f"{device} was bound")
        check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
    check(not_active(bed) == {address(bed, device): "fenced" for device in drivers}, f"{not_active(bed)}")
    check(sorted(fenced(bed, start)) == sorted(address(bed, device) for device in drivers), f"{fenced(bed, start)}")


def sanitize(bed, device):
    """Resets a fenced device that has no driver, and removes it: it is sanitized in between, and others stay as they are."""
    start, others = mark(bed), not_active(bed)
    check(others.pop(address(bed, device), None) == "fenced", f"{device} is not fenced: {not_active(bed)}")
    check(write(bed, 1, pci(address(bed, device), "reset")), f"the reset of {device} failed")
    check(not_active(bed) == others | {address(bed, device): "sanitized"}, f"{not_active(bed)}")
    check(dmesg(bed, "reset while fenced", start) and not unfenced(bed, start), "the reset has lifted the fence")
    check(bed.stream(device)["eats"] == 0, f"STE.EATS of {device} is set")
    check(write(bed, 1, pci(address(bed, device), "remove")), "removing failed")
    check(not_active(bed) == others, "its fence is still there")
