# SPDX-License-Identifier: GPL-2.0-or-later
"""org.smmuras1 on the system bus of a real machine, with Debian's polkit: what others see of a recovery, who may ask for
one, and restarts."""

import json

from testbed.scenario import check, journal, mark, wait_for

BED = {"kernel": "patched", "devices": "virtio-net:2"}
NAME, ROOT = "org.smmuras1", "/org/smmuras1"
MANAGER, DEVICE = "org.smmuras1.Manager", "org.smmuras1.Device"
PROBE = "org.smmuras1.Test"
DEV, PATH = "0000:01:00.0", "/org/smmuras1/device/_30000_3a01_3a00_2e0"
RECOVERED = "7b78c766589a45d4973dfc23f43523d0"  # daemon/messages.h
ISOLATED = "9312bea4a1b04e45b01047338b3e7712"
ASKED = "b82759a323a84e4ab70e3d7fb7df4967"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
# What an administrator writes so that a group may recover devices, and no more.
RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.smmuras1.recover" && action.lookup("device") == "%s" && subject.isInGroup("operator"))
        return polkit.Result.YES;
});
"""


def get(bed, path, interface, name, user=""):
    return json.loads(bed.text(f"{user} busctl --json=short get-property {NAME} {path} {interface} {name}"))["data"]


def on_bus(bed):
    return NAME in bed.text("busctl list --acquired --no-legend")


def records(bed, start, message_id):
    return [e for e in journal(bed, DEV, start) if e.get("MESSAGE_ID") == message_id]


def wedge(bed, mode="until-reset"):
    bed.wedge("virtio-net0", mode)
    bed.run("ping -c 3 -i 0.2 -W 1 10.0.3.2", check=False)


def test_on_the_bus(bed):
    """The daemon, which starts before the bus does, is on it, can be introspected, and says that nothing is fenced"""
    wait_for("smmu-rasd on the bus", lambda: on_bus(bed))
    text = bed.text(f"{NOBODY} busctl introspect {NAME} {ROOT}")
    for word in (".Recover", ".Isolate", ".Reload", ".KernelSupport", ".PolicyRefused"):
        check(word in text, f"{word} is not there: {text}")
    check(get(bed, ROOT, MANAGER, "KernelSupport", NOBODY) is True, "no kernel support")
    check(get(bed, ROOT, MANAGER, "Fenced") == 0, "something is fenced")


def test_a_recovery_is_told(bed):
    """Whoever listens on the bus is told of a real recovery, from the new object to its end, and may read it all"""
    start = mark(bed)
    matches = f"--match \"type='signal',sender='{NAME}'\" --match \"type='signal',interface='{PROBE}'\""
    with bed.start(f"timeout 300 busctl --json=short monitor {matches} 2>&1 | tee /run/signals") as monitor:
        # Only what it has read shows that it listens.
        wait_for("the monitor", lambda: PROBE in bed.text(f"busctl emit / {PROBE} Ready; cat /run/signals || :"))
        wedge(bed)
        wait_for("the recovery", lambda: records(bed, start, RECOVERED), 90)
        wait_for("its end on the bus", lambda: get(bed, PATH, DEVICE, "Recovery") == "idle")
        bed.run("pkill busctl", check=False)
        said = monitor.communicate(timeout=60)[0]
    messages = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    check(any(m["member"] == "InterfacesAdded" and m["payload"]["data"][0] == PATH for m in messages), "no new object")
    told = {}
    for message in messages:
        if message["member"] == "PropertiesChanged" and message["path"] == PATH:
            told |= {name: value["data"] for name, value in message["payload"]["data"][1].items()}
    check(told.get("State") == "active" and told.get("Recovery") == "idle", f"told last: {told}")
    check([e[1] for e in told["History"]][:3] == ["unbind", "reset", "reattach"], f"history: {told['History']}")
    history = get(bed, PATH, DEVICE, "History", NOBODY)
    check(history == told["History"], f"an ordinary user reads {history}")


CHANGING = (f"{ROOT} {MANAGER} Recover sb {DEV} false", f"{ROOT} {MANAGER} Isolate s {DEV}", f"{ROOT} {MANAGER} Reload",
            f"{PATH} {DEVICE} Recover b true", f"{PATH} {DEVICE} Isolate")


def refused(bed, user, call, words):
    done = bed.run(f"{user} busctl call {NAME} {call} 2>&1", check=False)
    check(done.returncode != 0 and words in done.stdout, f"{user} {call}: {done.stdout}")


def given_up(bed):
    """Has the device fenced, and left so by root."""
    wedge(bed, "forever")
    wait_for("a fence", lambda: get(bed, PATH, DEVICE, "State") == "fenced", 60)
    bed.text(f"busctl call {NAME} {PATH} {DEVICE} Isolate")
    wait_for("isolation", lambda: get(bed, PATH, DEVICE, "Recovery") == "isolated", 120)


def test_users_may_look_only(bed):
    """polkit lets an ordinary user neither recover nor isolate, reload, or have the name; without polkit only root can"""
    wedge(bed, "forever")
    wait_for("smmu-rasd to give up", lambda: get(bed, PATH, DEVICE, "Recovery") == "isolated", 120)
    start = mark(bed)
    for call in CHANGING:
        refused(bed, NOBODY, call, "needs a password")
    check(bed.text("systemctl is-active polkit || :") == "active", "polkit was not asked")
    refused(bed, NOBODY, f"{ROOT} org.freedesktop.DBus.Properties Set ssv {MANAGER} Fenced u 7", "")
    done = bed.run(f"{NOBODY} busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus RequestName "
                   f"su {NAME} 0 2>&1", check=False)
    check(done.returncode != 0 and "ccess denied" in done.stdout, f"the name: {done.stdout}")
    done = bed.run(f"{NOBODY} smmu-rasctl recover --no-wait {DEV} 2>&1", check=False)
    check(done.returncode != 0 and "may not recover" in done.stdout, f"smmu-rasctl: {done.stdout}")
    bed.text("systemctl mask --runtime --now polkit.service 2>&1")
    refused(bed, NOBODY, CHANGING[0], "ccess denied")
    bed.text("systemctl unmask --runtime polkit.service 2>&1")
    check(not records(bed, start, ASKED), "a request was taken")


def test_a_rule_lets_a_group_recover(bed):
    """A rule in /etc/polkit-1/rules.d lets a group recover one device, and neither force that nor anything else"""
    bed.text("useradd --groups operator alice && useradd bob && cat > /etc/polkit-1/rules.d/50-smmu-ras.rules",
             stdin=RULE % DEV)
    bed.text("systemctl restart polkit.service")
    alice, bob = (f"setpriv --reuid={name} --regid={name} --init-groups" for name in ("alice", "bob"))
    bed.release("virtio-net0")
    start = mark(bed)
    refused(bed, bob, CHANGING[0], "needs a password")
    for call in CHANGING[1:]:
        refused(bed, alice, call, "needs a password")
    refused(bed, alice, f"{ROOT} {MANAGER} Recover sb 0000:02:00.0 false", "")
    bed.text(f"{alice} smmu-rasctl recover --no-wait {DEV}")
    wait_for("the recovery", lambda: records(bed, start, RECOVERED), 90)
    asked = [record["SMMU_RAS_UID"] for record in records(bed, start, ASKED)]
    check(asked == [bed.text("id -u alice")], f"asked by {asked}")
    bed.text("rm /etc/polkit-1/rules.d/50-smmu-ras.rules")


def test_root_recovers_and_isolates(bed):
    """Root leaves a device fenced and has it recovered then, over the bus, with and without polkit"""
    given_up(bed)
    check(get(bed, ROOT, MANAGER, "Isolated") == 1, "not counted")
    bed.release("virtio-net0")
    bed.text("systemctl mask --runtime --now polkit.service 2>&1")
    start = mark(bed)
    bed.text(f"busctl call {NAME} {ROOT} {MANAGER} Recover sb 01:00.0 false")
    wait_for("the recovery", lambda: records(bed, start, RECOVERED), 90)
    check(records(bed, start, ASKED)[0]["SMMU_RAS_UID"] == "0", "nobody asked")
    bed.text("systemctl unmask --runtime polkit.service 2>&1")
    given_up(bed)


def test_the_daemon_is_killed(bed):
    """Killed and started again by systemd, it is on the bus again, and knows what it knew"""
    pid = bed.text("systemctl show -P MainPID smmu-rasd")
    bed.text(f"kill -9 {pid}")
    wait_for("another daemon", lambda: bed.text("systemctl show -P MainPID smmu-rasd") not in (pid, "0"))
    wait_for("it on the bus", lambda: on_bus(bed))
    check(get(bed, PATH, DEVICE, "Recovery") == "isolated", "it has forgotten")


def test_the_bus_is_started_again(bed):
    """When the bus goes away and comes back, the daemon has not been restarted, and is on the bus again"""
    pid = bed.text("systemctl show -P MainPID smmu-rasd")
    bed.run("systemctl kill -s KILL dbus.service", check=False)
    bed.text("systemctl restart dbus.service dbus.socket")
    wait_for("smmu-rasd on the bus", lambda: bed.run(f"busctl status {NAME}", check=False).returncode == 0, 60)
    check(get(bed, PATH, DEVICE, "Recovery") == "isolated", "the device is not there")
    check(bed.text("systemctl show -P MainPID smmu-rasd") == pid, "the daemon was restarted")


def test_asking_starts_it(bed):
    """A daemon that was stopped is started by whoever asks for it, and one that is disabled is not"""
    bed.text("systemctl stop smmu-rasd")
    check(get(bed, PATH, DEVICE, "Recovery", NOBODY) == "isolated", "it did not start")
    bed.text("systemctl disable --now smmu-rasd 2>&1")
    done = bed.run(f"{NOBODY} busctl get-property {NAME} {ROOT} {MANAGER} Fenced 2>&1", check=False)
    check(done.returncode != 0, f"a disabled daemon answers: {done.stdout}")
    check(bed.text("systemctl is-active smmu-rasd || :") == "inactive", "a disabled daemon was started")
