# SPDX-License-Identifier: GPL-2.0-or-later
"""A physical function and its virtual functions."""

from lib.bench import DEFAULT_STEPS, DEV, QUICK, check, equal, recovered, test
from lib.messages import BEGUN, FENCED_ID, ISOLATED, STEP_DONE

import fakekernel

VFS = [f"0000:01:10.{i}" for i in range(4)]


def network_card(b, n=4):
    pf = b.kernel.add(DEV, driver="igb")
    pf.can_have_vfs(VFS)
    pf.set_vfs(n)
    # Two for guests, one for nobody, one for the host.
    for i in (0, 1):
        b.kernel.devices[VFS[i]].write("driver_override", "vfio-pci")
        b.kernel.devices[VFS[i]].unbind()
        b.kernel.devices[VFS[i]].bind("vfio-pci")
    b.kernel.devices[VFS[2]].unbind()
    return pf


def as_before(b):
    vfs = [b.kernel.devices.get(name) for name in VFS]
    equal([vf and vf.driver for vf in vfs], ["vfio-pci", "vfio-pci", None, "virtio-pci"], "drivers of the VFs")
    equal(
        [vf.read("driver_override") for vf in vfs], ["vfio-pci", "vfio-pci", "(null)", "(null)"], "driver_override"
    )
    pf = b.kernel.devices[DEV]
    equal(pf.read("sriov_numvfs"), "4", "sriov_numvfs")
    equal(pf.read("sriov_drivers_autoprobe"), "1", "sriov_drivers_autoprobe")


@test
def virtual_functions_are_put_back(b):
    b.policy(protect=False)
    pf = network_card(b)
    b.start()
    hold = b.kernel.hold(f"{DEV}/unbind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "an unbind")
    equal(b.state()["vfs"]["n"], 4, "what is in the record")
    check(not b.kernel.devices[VFS[0]].read("driver_override") == "(null)", "the VFs are there")
    b.kernel.release(hold)
    recovered(b, pf)
    as_before(b)
    # A guest's device was the host's at no time.
    binds = [(name, what) for name, what in b.kernel.writes if name in VFS and what == "bind"]
    equal(sorted({name for name, _ in binds}), [VFS[0], VFS[1], VFS[3]], "who was bound")


@test
def killed_while_the_virtual_functions_are_gone(b):
    b.policy(protect=False, backoff=QUICK)
    pf = network_card(b)
    b.start()
    hold = b.kernel.hold(f"{DEV}/sriov_numvfs")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "sriov_numvfs")
    b.kill()
    b.kernel.wait(lambda: not hold.waiting, "the end of the worker")
    b.kernel.release(hold)
    b.start()
    recovered(b, pf)
    as_before(b)
    equal(len([r for r in b.kernel.records(BEGUN) if r["SMMU_RAS_ATTEMPT"] != "1"]), 0, "attempts")


@test
def virtual_functions_that_cannot_be_put_back_are_missed(b):
    b.policy(protect=False, attempts=1)
    pf = network_card(b)
    b.start()
    hold = b.kernel.hold(f"{DEV}/unbind", done=True)
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "an unbind")
    pf.vfs = []
    b.kernel.release(hold)
    record = b.wait_record(ISOLATED)
    check("cannot put its 4 virtual functions back" in record["MESSAGE"], record["MESSAGE"])


@test
def fenced_virtual_functions_wait_for_their_physical_function(b):
    b.policy(protect=False, backoff={"first": "300ms", "max": "300ms"})
    pf = network_card(b)
    vf = b.kernel.devices[VFS[3]]
    pf.reset_result = 25
    b.start()
    # The VF is heard of first.
    hold = b.kernel.hold(f"{DEV}/reset")
    with b.kernel.lock:
        b.kernel.fence(DEV)
        b.kernel.fence(vf.name)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset of the PF")
    # Its driver is unbound: the VFs are gone, and with them what was fenced.
    b.kernel.wait(lambda: b.state(vf.name) is None, "the end of the VF's record")
    pf.reset_result = 0
    b.kernel.release(hold)
    recovered(b, pf)
    as_before(b)
    equal(b.kernel.records(BEGUN, vf.name), [], "recoveries of the VF")


@test
def in_place_the_virtual_functions_come_after_it(b):
    b.policy([{"match": {"driver": "igb"}, "steps": ["reset"]}], protect=False, backoff=QUICK, attempts=3)
    pf = network_card(b)
    vf = b.kernel.devices[VFS[3]]
    pf.failures = 2
    b.start()
    with b.kernel.lock:
        b.kernel.fence(vf.name)
        b.kernel.fence(DEV)
    b.wait_record(FENCED_ID, DEV)
    # As long as the PF fails, the VF is not begun with; its first attempt may have come before the PF's fence.
    recovered(b, pf)
    recovered(b, vf)
    order = [name for name, what in b.kernel.writes if name in (DEV, vf.name) and what == "reset"]
    equal(order[-1], vf.name, "the last one that was reset")
    equal(
        [r["SMMU_RAS_STEP"] for r in b.kernel.records(STEP_DONE, vf.name)], DEFAULT_STEPS + ["verify"], "steps"
    )
