# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that take a device out of the system, and those that run programs."""

import os

import fakekernel
from lib.bench import DEV, QUICK, alive, check, equal, recovered, test
from lib.messages import ATTEMPT_FAILED, ISOLATED, PROTECTED, RECOVERED, STEP_DONE, STEP_FAILED
from test_sriov import VFS, as_before, network_card

NEIGHBOUR = "0000:01:00.1"
AWAY = ["unbind", "remove", "rescan", "bind"]
CYCLE = ["slot-power-cycle", "bind"]


def done(b, device=DEV):
    return [r["SMMU_RAS_STEP"] for r in b.kernel.records(STEP_DONE, device)]


def scans(b):
    return [what for name, what in b.kernel.writes if what == "rescan"]


def script(b, name, text):
    """A program, owned by who runs the tests."""
    b.file(name, "#!/bin/sh\n" + text, 0o755)
    return f"{b.root}/{name}"


def said(b, text):
    return [r["MESSAGE"] for r in b.kernel.journal if text in r.get("MESSAGE", "")]


def mount(b, device):
    """A file system on a disk of the device."""
    device.has("nvme/nvme0/nvme0n1", "block", {"dev": "259:0"})
    os.symlink(f"../../devices/pci0000:00/{device.name}/nvme/nvme0/nvme0n1", f"{b.kernel.sys}/class/block/nvme0n1")
    b.file("proc/self/mountinfo", "30 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n")


# --- remove, rescan --------------------------------------------------------------------------------


@test
def removed_and_found_again(b):
    b.policy(steps=AWAY)
    device = b.kernel.add(DEV)
    device.write("driver_override", "virtio-pci")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(done(b), AWAY + ["verify"], "steps")
    equal([what for what in b.steps() if what != "bind"], ["unbind", "remove", "driver_override"], "writes")
    equal(scans(b), ["rescan"], "scans")
    equal(device.read("driver_override"), "virtio-pci", "driver_override")
    # It is the same one: its next fence counts, and what was owed to it is given.
    b.kernel.fence(DEV)
    recovered(b, device, 2)
    equal(b.state()["recoveries"].__len__(), 2, "recoveries that count for the rate limit")


@test
def the_kernels_choice_of_driver_is_undone(b):
    """vfio-pci had it by driver_override, which the new device does not have."""
    b.policy(steps=AWAY, protect=False)
    device = b.kernel.add(DEV)
    device.unbind()
    device.write("driver_override", "vfio-pci")
    device.bind("vfio-pci")
    device.home = "vfio-pci"
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(device.read("driver_override"), "vfio-pci", "driver_override")


@test
def another_card_after_the_scan_is_not_touched(b):
    b.policy(steps=AWAY, attempts=3, backoff=QUICK)
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold("0000:01/rescan")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a scan")
    device.device_id = "0x0011"
    b.kernel.release(hold)
    b.kernel.wait(lambda: b.state() is None, "the end of its record")
    equal(b.steps(), ["unbind", "remove"], "what was done to the place")
    b.kernel.wait(lambda: said(b, "another device is in its place"), "a record of it")


@test
def a_device_that_does_not_come_back_is_looked_for_again(b):
    b.policy(steps=["unbind", "remove", {"step": "rescan", "timeout": "100ms"}, "bind"], attempts=1000, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.lost = True
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ATTEMPT_FAILED, DEV, 2)
    failures = b.kernel.records(STEP_FAILED, DEV)
    check("it has not come back after 100ms" in failures[0]["MESSAGE"], failures[0]["MESSAGE"])
    with b.kernel.lock:
        device.lost = False
    recovered(b, device)
    equal(b.steps().count("remove"), 1, "removals")
    check(said(b, "left out, the device is not in the system"), "it is said")


@test
def a_device_that_never_comes_back_is_told_of(b):
    b.policy(steps=["unbind", "remove", {"step": "rescan", "timeout": "20ms"}, "bind"], attempts=2, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.lost = True
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED, DEV)
    check("it has not come back" in record["MESSAGE"], record["MESSAGE"])
    b.wait_state("isolated")
    # Nobody finds it: the next dump ends its story.
    b.kill()
    b.start()
    b.kernel.wait(lambda: b.state() is None, "the end of its record")


@test
def killed_while_the_device_is_away(b):
    b.policy(steps=AWAY, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.write("driver_override", "virtio-pci")
    b.start()
    hold = b.kernel.hold("0000:01/rescan")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a scan")
    equal(b.state()["away"], True, "away, in the record")
    b.kill()
    b.kernel.holds.remove(hold)
    check(not os.path.exists(f"{b.kernel.sys}/bus/pci/devices/{DEV}"), "it is away")
    b.start()
    recovered(b, device)
    equal(device.read("driver_override"), "virtio-pci", "driver_override")
    equal(b.steps().count("remove"), 1, "removals")


@test
def killed_after_the_device_has_come_back(b):
    b.policy(steps=AWAY, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.probed_by = None  # only new_id had bound it
    b.start()
    hold = b.kernel.hold(f"{DEV}/bind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a bind")
    b.kill()
    b.kernel.holds.remove(hold)
    b.start()
    b.kernel.wait(lambda: device.driver == device.home, "its driver")
    b.kernel.wait(lambda: not b.state() or b.state()["state"] == "idle", "the end of its story")
    equal(b.steps().count("remove"), 1, "removals")


@test
def nothing_that_is_in_use_is_removed(b):
    b.policy(steps=["remove", "rescan", "bind"])
    device = b.kernel.add(DEV)
    mount(b, device)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(PROTECTED, DEV)
    check("/srv" in record["MESSAGE"], record["MESSAGE"])
    equal(b.steps(), [], "writes")


# --- slot-power-cycle ------------------------------------------------------------------------------


def in_a_slot(b, driver):
    """The device, and another function in the same slot."""
    device, neighbour = b.kernel.add(DEV), b.kernel.add(NEIGHBOUR, driver=driver)
    b.kernel.slot("7", "0000:01:00")
    return device, neighbour


def power(b):
    return [what for name, what in b.kernel.writes if name == "slot 7"]


def keeps_its_power(b, kind, words):
    """The recovery of the device ends in a record of the @kind, before its slot is switched off."""
    b.kernel.fence(DEV)
    message = b.wait_record(kind, DEV)["MESSAGE"]
    check(f"{NEIGHBOUR}{words}" in message, message)
    check("would keep it" not in message, f"advice about a neighbour's driver: {message}")
    equal(power(b), [], "power")


@test
def a_slot_is_switched_off_and_on(b):
    b.policy(steps=CYCLE)
    device, neighbour = in_a_slot(b, "snd")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(power(b), ["power=0", "power=1"], "power")
    equal(neighbour.driver, "snd", "the driver of the other function")
    check(said(b, "slot-power-cycle done"), "it is said")


@test
def without_a_slot_there_is_no_power_cycle(b):
    b.policy(steps=CYCLE, attempts=1)
    b.kernel.add(DEV)
    b.kernel.slot("7", "0000:01:00", power=False)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED, DEV)
    check("in no slot whose power can be switched" in record["MESSAGE"], record["MESSAGE"])


@test
def a_neighbour_that_would_lose_its_override_keeps_its_power(b):
    b.policy(steps=CYCLE)
    _, neighbour = in_a_slot(b, "special")
    neighbour.write("driver_override", "special")
    b.start()
    keeps_its_power(b, PROTECTED, ' is in the same slot and would lose its driver_override "special"')


@test
def a_neighbour_that_would_lose_virtual_functions_keeps_its_power(b):
    b.policy(steps=CYCLE)
    _, neighbour = in_a_slot(b, "igb")
    neighbour.can_have_vfs(["0000:01:10.0"])
    neighbour.set_vfs(1)
    b.start()
    keeps_its_power(b, PROTECTED, " is in the same slot and would lose its virtual functions")


@test
def a_slot_with_something_in_use_keeps_its_power(b):
    b.policy(steps=CYCLE)
    _, neighbour = in_a_slot(b, "nvme")
    mount(b, neighbour)
    b.start()
    keeps_its_power(b, PROTECTED, ", in the same slot, is in use by")


@test
def a_slot_whose_device_has_not_come_back_keeps_its_power_for_the_others(b):
    b.policy(steps=["unbind", "remove", {"step": "rescan", "timeout": "20ms"}, "bind"], attempts=1, backoff=QUICK,
             on_exhausted="slot-power-cycle")
    device, neighbour = in_a_slot(b, "nvme")
    mount(b, neighbour)
    device.lost = True
    b.start()
    keeps_its_power(b, ISOLATED, ", in the same slot, is in use by")


@test
def a_slot_whose_device_was_removed_keeps_its_power_for_the_others(b):
    b.policy(steps=["unbind", "remove", "slot-power-cycle", "bind"], attempts=1)
    _, neighbour = in_a_slot(b, "nvme")
    mount(b, neighbour)
    b.start()
    keeps_its_power(b, ISOLATED, ", in the same slot, is in use by")


@test
def a_neighbour_that_is_fenced_on_purpose_stays_fenced(b):
    b.policy([{"name": "keep", "match": {"address": NEIGHBOUR}, "action": "isolate"},
              {"name": "cycle", "steps": CYCLE}])
    _, neighbour = in_a_slot(b, "snd")
    b.start()
    b.kernel.fence(NEIGHBOUR)
    b.wait_state("isolated", NEIGHBOUR)
    keeps_its_power(b, PROTECTED, ", in the same slot, was left fenced on purpose")
    equal(neighbour.state, fakekernel.FENCED, "the neighbour")


@test
def a_neighbour_that_waits_for_its_virtual_functions_gets_them_first(b):
    b.policy([{"name": "slow", "match": {"address": NEIGHBOUR}, "attempts": 2, "backoff": "1h"},
              {"name": "cycle", "steps": CYCLE, "attempts": 1}])
    _, neighbour = in_a_slot(b, "igb")
    neighbour.can_have_vfs(["0000:01:10.0"])
    neighbour.set_vfs(1)
    neighbour.reset_result = 25
    b.start()
    b.kernel.fence(NEIGHBOUR)
    b.wait_record(ATTEMPT_FAILED, NEIGHBOUR)
    b.wait_state("backoff", NEIGHBOUR)
    # Nothing in sysfs tells of them now.
    neighbour.set_vfs(0)
    keeps_its_power(b, STEP_FAILED, ", in the same slot, waits to be put back itself")


@test
def killed_while_the_slot_is_off(b):
    b.policy(steps=CYCLE, backoff=QUICK)
    device = b.kernel.add(DEV)
    b.kernel.slot("7", "0000:01:00")
    b.start()
    hold = b.kernel.hold("slot 7/power=1")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "power on")
    b.kill()
    b.kernel.holds.remove(hold)
    b.start()
    recovered(b, device)
    equal(power(b), ["power=0", "power=1", "power=1"], "power")


@test
def only_rules_of_a_slot_fit_in_it(b):
    b.policy([{"name": "bay", "match": {"slot": "7*"}, "steps": ["reset", "reattach", "bind"]}])
    device = b.kernel.add(DEV)
    other = b.kernel.add("0000:02:00.0")
    b.kernel.slot("7-1", "0000:01:00")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(b.wait_record(RECOVERED, DEV)["SMMU_RAS_RULE"], "bay", "rule")
    b.kernel.fence(other.name)
    recovered(b, other)
    equal(b.wait_record(RECOVERED, other.name)["SMMU_RAS_RULE"], "default", "rule")


# --- programs --------------------------------------------------------------------------------------


@test
def a_step_runs_a_program(b):
    program = script(b, "mend", 'env | sort > "$1"; echo first; echo second >&2; cat; pwd\n')
    b.policy(
        [{"name": "r", "match": {}, "steps": ["reset", {"step": "exec", "exec": [program, f"{b.root}/env"]}]}],
        attempts=4,
    )
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    with open(f"{b.root}/env") as f:
        env = dict(line.rstrip("\n").split("=", 1) for line in f)
    env.pop("PWD", None)
    env.pop("OLDPWD", None)
    env.pop("SHLVL", None)
    env.pop("_", None)
    equal(
        env,
        {
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SMMU_RAS_ATTEMPT": "1",
            "SMMU_RAS_ATTEMPTS": "4",
            "SMMU_RAS_BUS": "pci",
            "SMMU_RAS_DEVICE": DEV,
            "SMMU_RAS_DRIVER": "virtio-pci",
            "SMMU_RAS_FENCE_ID": "1",
            "SMMU_RAS_REASON": "atc-timeout",
            "SMMU_RAS_RULE": "r",
            "SMMU_RAS_SLOT": "",
            "SMMU_RAS_WHEN": "step",
        },
        "environment",
    )
    for line in ("exec: first", "exec: second", "exec: /"):
        check(said(b, line), f"{line!r} in the journal")


@test
def a_program_that_fails_fails_the_attempt(b):
    program = script(b, "mend", "echo no luck today\nexit 3\n")
    b.policy(steps=["reset", {"step": "exec", "exec": [program]}], attempts=1)
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(STEP_FAILED, DEV)
    check("exited with status 3: no luck today" in record["MESSAGE"], record["MESSAGE"])


@test
def a_program_that_hangs_is_killed_with_its_children(b):
    program = script(b, "mend", f"sleep 1000 &\necho $! > {b.root}/child\nwait\n")
    b.policy(steps=["reset", {"step": "exec", "exec": [program], "timeout": "3s"}], attempts=1)
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(STEP_FAILED, DEV)
    check("has not ended after 3s and was killed" in record["MESSAGE"], record["MESSAGE"])
    with open(f"{b.root}/child") as f:
        child = int(f.read())
    b.kernel.wait(lambda: not alive(child), "the end of its child")


@test
def a_program_of_somebody_else_is_refused_when_it_is_run(b):
    program = script(b, "mend", f"touch {b.root}/ran\n")
    b.policy(steps=["reset", {"step": "exec", "exec": [program]}], attempts=1)
    b.kernel.add(DEV)
    b.start()
    os.chmod(program, 0o777)
    b.kernel.fence(DEV)
    record = b.wait_record(STEP_FAILED, DEV)
    check("users other than root may write" in record["MESSAGE"], record["MESSAGE"])
    check(not os.path.exists(f"{b.root}/ran"), "it was not run")


@test
def programs_die_with_the_daemon(b):
    program = script(b, "mend", f"echo $$ > {b.root}/pid.new; mv {b.root}/pid.new {b.root}/pid\nexec sleep 1000\n")
    b.policy(steps=["reset", {"step": "exec", "exec": [program]}])
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    b.kernel.wait(lambda: os.path.exists(f"{b.root}/pid"), "the program")
    with open(f"{b.root}/pid") as f:
        pid = int(f.read())
    b.kill()
    b.kernel.wait(lambda: not alive(pid), "the end of the program")


# --- virtual functions -----------------------------------------------------------------------------


@test
def drivers_of_virtual_functions_go_before_their_physical_functions(b):
    b.policy(protect=False)
    pf = network_card(b)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, pf)
    unbound = [name for name, what in b.kernel.writes if what == "unbind"]
    equal(unbound, [VFS[0], VFS[1], VFS[3], DEV], "who was unbound, in order")
    as_before(b)


@test
def virtual_functions_come_back_with_a_card_that_was_away(b):
    b.policy(steps=["remove", "rescan", "bind"], protect=False)
    pf = network_card(b)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, pf)
    as_before(b)
