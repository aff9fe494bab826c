# SPDX-License-Identifier: GPL-2.0-or-later
"""org.smmuras1 on a system bus: what can be read, what may be changed and by whom, and buses that come and go."""

import os
import signal
import subprocess

import fakekernel
from lib.bench import DEV, check, equal, recovered, test
from lib.bus import DENIED, DEVICE, ERROR, MANAGER, NAME, ROOT, Bus, Lines, path_of
from lib.machine import give_up
from lib.messages import ASKED, ISOLATED

PROPERTIES = {
    "Name": "s", "Bus": "s", "State": "s", "Reason": "s", "Driver": "s", "Iommu": "s", "Group": "u",
    "StreamIds": "au", "FenceId": "t", "FenceTime": "t", "FenceCount": "t", "Suppressed": "t", "Recovery": "s",
    "Attempts": "u", "Rule": "s", "Step": "s", "Note": "s", "Since": "t", "Next": "t", "History": "a(usitts)",
}


def hold_in_reset(b, device=DEV):
    """Fences the device, and stops the recovery in its reset."""
    hold = b.kernel.hold(f"{device}/reset")
    b.kernel.fence(device)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    return hold


def isolated(b, bus):
    """A device that was given up, and that the next reset would cure."""
    device = give_up(b)
    bus.wait_on_bus()
    device.reset_result = 0
    return device


@test
def the_bus_shows_a_recovery(b):
    with Bus(b) as bus:
        bus.start()
        device = b.kernel.add(DEV)
        b.start()
        bus.wait_on_bus()
        equal(bus.objects(), {}, "objects")
        equal(bus.get(ROOT, MANAGER, "KernelSupport", "Fenced", "PolicyRefused"), [True, 0, False], "properties")
        monitor = bus.monitor(f"type='signal',sender='{NAME}'")
        hold = hold_in_reset(b)
        path = path_of(DEV)
        monitor.wait(lambda lines: any("InterfacesAdded" in line for line in lines), "a new object")
        found = {k: v["type"] for k, v in bus.objects(user=True)[path][DEVICE].items()}
        equal(found, PROPERTIES, "properties of a device")
        state, reason, recovery, step, name, attempts, driver = bus.get(
            path, DEVICE, "State", "Reason", "Recovery", "Step", "Name", "Attempts", "Driver", user=True)
        equal([state, reason, recovery, step], ["fenced", "atc-timeout", "running", "reset"], "state")
        equal([name, attempts, driver], [DEV, 1, device.home], "name, attempts, driver")
        equal(bus.get(ROOT, MANAGER, "Fenced", "Recovering", "Isolated"), [1, 1, 0], "numbers")
        equal([entry[1] for entry in bus.get(path, DEVICE, "History")], ["unbind"], "history")
        b.kernel.release(hold)
        recovered(b, device)

        def told():
            return {k: v for change in bus.changes(monitor, path) for k, v in change.items()}

        monitor.wait(lambda _: told().get("Recovery") == "idle" and told().get("State") == "active", "the end")
        steps = ["unbind", "reset", "reattach", "bind", "verify"]
        equal([entry[1] for entry in told()["History"]], steps, "history that was told")
        monitor.wait(lambda _: bus.changes(monitor, ROOT) and bus.changes(monitor, ROOT)[-1].get("Recovering") == 0,
                     "the numbers of the manager")
        # What did not change is not told.
        check(not any("Name" in c or "Iommu" in c for c in bus.changes(monitor, path)), "more than what changed")


@test
def the_bus_can_be_introspected(b):
    with Bus(b) as bus:
        bus.start()
        b.kernel.add(DEV)
        b.start()
        bus.wait_on_bus()
        hold = hold_in_reset(b)
        text = bus.busctl("introspect", NAME, ROOT, user=True)
        for word in (".Recover", ".Isolate", ".Reload", ".Version", ".PolicyFiles", "ObjectManager"):
            check(word in text, f"{word} is not in {text}")
        xml = bus.call(path_of(DEV), "org.freedesktop.DBus.Introspectable", "Introspect")["data"][0]
        check('<arg type="b" name="force" direction="in"/>' in xml, xml)
        check(path_of(DEV) in bus.busctl("tree", "--list", NAME), "no such path in the tree")
        bus.busctl("introspect", NAME, path_of("0000:09:00.0"), error="Unknown object")
        b.kernel.release(hold)


@test
def an_operator_recovers_and_isolates_over_the_bus(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("yes")
        device = isolated(b, bus)
        path = path_of(DEV)
        equal(bus.get(path, DEVICE, "Recovery"), "isolated", "recovery")
        # As people paste it, with or without its domain.
        bus.call(ROOT, MANAGER, "Recover", "sb", "01:00.0", "false")
        recovered(b, device)
        record = b.wait_record(ASKED)
        equal(record["SMMU_RAS_UID"], str(os.geteuid()), "who asked")
        device.reset_result = 25
        hold = hold_in_reset(b)
        bus.call(path, DEVICE, "Isolate")
        b.kernel.release(hold)
        message = b.wait_record(ISOLATED, count=2)["MESSAGE"]
        check(f"left isolated, as an operator asked. To go on: smmu-rasctl recover {DEV}" in message, message)
        device.reset_result = 0
        bus.call(path, DEVICE, "Recover", "b", "true")
        recovered(b, device, 2)


@test
def isolate_in_the_preparations_does_nothing_to_the_device(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("yes")
        b.policy(attempts=3)
        device = b.kernel.add(DEV)
        # Who reads it waits for us.
        os.unlink(f"{device.path}/driver_override")
        os.mkfifo(f"{device.path}/driver_override")
        b.start()
        bus.wait_on_bus()
        b.kernel.fence(DEV)
        with open(f"{device.path}/driver_override", "wb") as f:
            bus.call(path_of(DEV), DEVICE, "Isolate")
            f.write(b"(null)\n")
        b.wait_record(ISOLATED)
        b.wait_state("isolated")
        equal(b.steps(), [], "steps")
        equal((device.driver, b.state()["begun"]), (device.home, False), "the device")


@test
def requests_that_cannot_be_met_say_why(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("yes")
        b.kernel.add("0000:02:00.0")
        b.start()
        bus.wait_on_bus()

        def refused(device, error):
            # busctl prints the sentence, a monitor the name.
            monitor = bus.monitor("type='error'")
            text = bus.busctl("call", NAME, ROOT, MANAGER, "Recover", "sb", device, "false", error="Call failed")
            monitor.wait(lambda lines: any(ERROR + error in line for line in lines), f"error {error}, not {text}")

        refused("0000:07:00.0", "NoSuchDevice")
        refused("../../etc", "NoSuchDevice")
        refused("02:00.0", "NotFenced")


@test
def a_device_that_is_being_recovered_is_busy(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("yes")
        device = b.kernel.add(DEV)
        b.start()
        bus.wait_on_bus()
        hold = hold_in_reset(b)
        bus.busctl("call", NAME, path_of(DEV), DEVICE, "Recover", "b", "false", error="recovered already")
        b.kernel.release(hold)
        recovered(b, device)


@test
def others_than_root_need_polkit(b):
    with Bus(b) as bus:
        bus.start()
        device = isolated(b, bus)
        path = path_of(DEV)
        calls = (
            ("call", NAME, ROOT, MANAGER, "Recover", "sb", DEV, "false"),
            ("call", NAME, ROOT, MANAGER, "Isolate", "s", DEV),
            ("call", NAME, ROOT, MANAGER, "Reload"),
            ("call", NAME, path, DEVICE, "Recover", "b", "true"),
            ("call", NAME, path, DEVICE, "Isolate"),
        )
        steps = len(b.steps())
        for call in calls:
            bus.busctl(*call, user=True, error=DENIED)
        bus.busctl("set-property", NAME, path, DEVICE, "Note", "s", "x", user=True, error="not writable")
        bus.start_polkit("no")
        for call in calls:
            bus.busctl(*call, user=True, error=DENIED)
        bus.polkit_says("challenge")
        # Whether a password may be asked for is the caller's to say, and polkit is told so.
        bus.busctl("--allow-interactive-authorization=no", *calls[0], user=True, error="This needs a password")
        bus.busctl("--allow-interactive-authorization=no", "call", NAME, ROOT, MANAGER, "Recover", "sb", DEV,
                   "true", user=True, error="This needs a password")
        bus.polkit.wait(lambda lines: len(lines) == 8, "seven questions")
        asked = [line.split() for line in bus.polkit.lines[1:]]
        equal([a[1].removeprefix(NAME + ".") for a in asked],
              ["recover", "isolate", "reload", "recover-force", "isolate", "recover", "recover-force"],
              "actions that polkit was asked about")
        equal([a[2] for a in asked], [DEV, DEV, "-", DEV, DEV, DEV, DEV], "devices that polkit was told of")
        equal([a[3] for a in asked], ["1"] * 5 + ["0"] * 2, "interaction")
        equal(len(b.steps()), steps, "steps")
        equal(b.kernel.records(ASKED), [], "requests")
        bus.polkit_says("yes")
        bus.busctl(*calls[0], user=True)
        recovered(b, device)
        if os.geteuid() == 0:
            equal(b.wait_record(ASKED)["SMMU_RAS_UID"], "65534", "who asked")


@test
def root_does_not_need_polkit(b):
    if os.geteuid() != 0:
        return
    with Bus(b) as bus:
        bus.start()
        device = isolated(b, bus)
        bus.call(ROOT, MANAGER, "Recover", "sb", DEV, "false")
        recovered(b, device)


@test
def a_polkit_that_does_not_answer_holds_up_nobody(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("hang")
        device = b.kernel.add(DEV)
        b.start()
        bus.wait_on_bus()
        hold = hold_in_reset(b)
        waiting = [Lines(bus.command("--timeout=60", "call", NAME, ROOT, MANAGER, "Isolate", "s", DEV, user=True),
                         stderr=subprocess.DEVNULL) for _ in range(3)]
        bus.polkit.wait(lambda lines: len(lines) == 4, "three questions")
        equal(bus.get(path_of(DEV), DEVICE, "Recovery"), "running", "recovery")
        b.kernel.release(hold)
        recovered(b, device)
        for process in waiting:
            process.stop()


@test
def what_a_user_lets_wait_holds_up_nobody(b):
    with Bus(b) as bus:
        bus.start()
        device = isolated(b, bus)
        bus.start_polkit("hang")
        recover = ("call", NAME, ROOT, MANAGER, "Recover", "sb", DEV, "false")
        waiting = [subprocess.Popen(bus.command("--timeout=60", *recover, user=True), stderr=subprocess.DEVNULL)
                   for _ in range(32)]
        bus.polkit.wait(lambda lines: len(lines) == 33, "the questions")
        bus.busctl(*recover, user=True, error="Too many calls wait")
        # Without root there is only one user.
        if os.geteuid() == 0:
            bus.busctl(*recover)
            recovered(b, device)
        for process in waiting:
            process.kill()
            process.wait()


@test
def the_policy_is_read_again_over_the_bus(b):
    with Bus(b) as bus:
        bus.start()
        bus.start_polkit("yes")
        b.policy()
        b.start()
        bus.wait_on_bus()
        equal(bus.get(ROOT, MANAGER, "PolicyFiles"), [f"{b.root}/etc/policy.json"], "files")
        monitor = bus.monitor(f"type='signal',sender='{NAME}'")
        b.file("etc/policy.json", '{"defaults": {"atempts": 3}}')
        bus.busctl("call", NAME, ROOT, MANAGER, "Reload", error="atempts")
        monitor.wait(lambda _: any(c.get("PolicyRefused") for c in bus.changes(monitor, ROOT)), "the refusal")
        check("atempts" in bus.get(ROOT, MANAGER, "PolicyError"), "the error")
        b.policy()
        bus.call(ROOT, MANAGER, "Reload")
        equal(bus.get(ROOT, MANAGER, "PolicyRefused", "PolicyError"), [False, ""], "after it was mended")


@test
def the_bus_may_come_later_and_go(b):
    device = b.kernel.add(DEV)
    with Bus(b) as bus:
        b.start()
        b.kernel.fence(DEV)
        recovered(b, device)
        for count in (2, 3):
            bus.start()
            bus.wait_on_bus()
            check(path_of(DEV) in bus.objects(), "the device of before")
            bus.stop()
            b.kernel.fence(DEV)
            recovered(b, device, count)


@test
def a_daemon_that_is_started_again_has_its_objects(b):
    with Bus(b) as bus:
        bus.start()
        device = isolated(b, bus)
        for number in (signal.SIGKILL, signal.SIGTERM):
            b.kill(number)
            b.kernel.wait(lambda: not bus.on_bus(), "its end on the bus")
            b.start()
            bus.wait_on_bus()
            equal(bus.get(path_of(DEV), DEVICE, "Recovery"), "isolated", "recovery")
        monitor = bus.monitor(f"type='signal',sender='{NAME}'")
        b.kernel.remove(device.name)
        monitor.wait(lambda lines: any("InterfacesRemoved" in line for line in lines), "the end of the object")
        equal(bus.objects(), {}, "objects")


def rss(b):
    with open(f"/proc/{b.daemon.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@test
def a_thousand_fenced_devices_and_a_bus_that_does_not_read(b):
    with Bus(b) as bus:
        bus.start()
        b.policy(action="isolate")
        b.hurry()
        names = [f"{i // 256:04x}:{i % 256:02x}:00.0" for i in range(1000)]
        for i, name in enumerate(names):
            b.kernel.add(name, group=i)
        b.start()
        bus.wait_on_bus()
        for name in names[:500]:
            b.kernel.fence(name)
        b.kernel.wait(lambda: len(b.kernel.records(ISOLATED)) == 500, "isolation")
        equal(len(bus.objects()), 500, "objects")
        before = rss(b)
        bus.daemon.process.send_signal(signal.SIGSTOP)
        for _ in range(10):
            for name in names[500:]:
                b.kernel.fence(name)
        b.kernel.wait(lambda: len(b.kernel.records(ISOLATED)) >= 1000, "isolation without a bus")
        check(rss(b) - before < 24 << 20, f"{(rss(b) - before) >> 10} KiB more")
        bus.daemon.process.send_signal(signal.SIGCONT)
        # The connection that it has given up may still be there for a moment, and its name with it.
        objects = bus.objects_once(lambda objects: len(objects) == 1000)
        equal({o[DEVICE]["Recovery"]["data"] for o in objects.values()}, {"isolated"}, "recovery")
        equal(bus.get(ROOT, MANAGER, "Fenced", "Isolated"), [1000, 1000], "numbers")
