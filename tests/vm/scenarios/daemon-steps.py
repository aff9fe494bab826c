# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasd's rarer steps on real buses and drivers: devices that come back as new ones, the power of a slot, last
resorts, programs in the sandbox of the service, virtual functions, swap, and lost events."""

import json

from testbed.agent import Agent
from testbed.bed import patience
from testbed.daemon import busy, cursor, pid, records, rules, wait_record, well
from testbed.guest import address, disk, driver, not_active, pci, port_of
from testbed.proof import attempt, ready
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "e1000e,igb,virtio-net:2,nvme,ats-test:4"}
CARD, PF, NET, OTHER_NET = "e1000e0", "igb0", "virtio-net0", "virtio-net1"
FLOODED = [f"ats-test{number}" for number in range(4)]  # without a driver: fenced by hand
PROGRAMS = "/usr/local/lib/smmu-ras-test"
NEW_DEVICE = r"pci {}: \[[0-9a-f]{{4}}:[0-9a-f]{{4}}\] type 00"  # what the kernel says when it finds one


def peer(bed, device):
    return bed.device(device)["net"].rpartition(".")[0] + ".2"


def ping(bed, device):
    return bed.run(f"ping -q -c 2 -i 0.2 -W 1 {peer(bed, device)}", check=False).returncode == 0


def network(bed, *devices):
    for device in devices:
        wait_for(f"the network of {device}", lambda device=device: ping(bed, device))


def find_out(bed, device, mode="until-reset"):
    """Wedges a network card and has that found out, without waiting."""
    bed.wedge(device, mode)
    send(bed, device)


def send(bed, device):
    bed.text(f"ping -c 5 -i 0.2 -W 1 {peer(bed, device)} >/dev/null 2>&1 </dev/null &")


def attribute(bed, device, name):
    return bed.text(f"cat {pci(address(bed, device), name)}")


def put(bed, device, name, value):
    bed.text(f"echo '{value}' > {pci(address(bed, device), name)}")


def steps(bed, since, device):
    return [each["SMMU_RAS_STEP"] for each in records(bed, since, device, "STEP_DONE")]


def rule(bed, device, *steps, **more):
    return {"name": "test", "match": {"address": address(bed, device)}, "attempts": 1} \
        | ({"steps": list(steps)} if steps else {}) | more


def ready_for_power(bed, device):
    """Prepares a slot whose card comes back with its power: QEMU deletes what is in a slot that is switched off.

    It does that once the power indicator is off as well, which the kernel does a second after the power. Here the
    indicator is off before, so a new card can be there when that second is over and the kernel looks again.
    """
    port = port_of(bed, address(bed, device))
    bed.text(f"setpci -s {port} CAP_EXP+18.w=300:300")


def wedged_and_replaced(bed, device):
    """Wedges a card for ever and has that found out; when its power is off, puts one of the same kind into the slot."""
    bed.wedge(device, "forever")
    line = next(each for each in bed.state["command"] if f",id={device}," in each and ",bus=" in each)
    with bed.qmp() as qmp:
        qmp.socket.settimeout(90 * patience())
        # QEMU tells of what happens from now on.
        send(bed, device)
        qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == device)
        said = qmp.command("human-monitor-command", **{"command-line": f"device_add {line}"})
    check(not said, f"the card cannot be put back: {said}")


def test_removed(bed):
    """A card of e1000e is reset, removed, found again and bound, with its driver_override and order of resets"""
    name = address(bed, CARD)
    put(bed, CARD, "driver_override", "e1000e")
    put(bed, CARD, "reset_method", "bus pm")
    network(bed, CARD)
    taken = ["unbind", "reset", "remove", "rescan", "bind", "verify"]
    rules(bed, rule(bed, CARD, *taken))
    start, since = mark(bed), cursor(bed)
    find_out(bed, CARD)
    wait_record(bed, since, CARD, "RECOVERED")
    well(bed, CARD, "e1000e")
    check(steps(bed, since, CARD) == taken, f"steps {steps(bed, since, CARD)}")
    check(dmesg(bed, NEW_DEVICE.format(name), start), "the kernel did not find it anew")
    check(attribute(bed, CARD, "driver_override") == "e1000e", "driver_override is lost")
    check(attribute(bed, CARD, "reset_method") == "bus pm", f"resets by {attribute(bed, CARD, 'reset_method')}")
    network(bed, CARD)
    rules(bed)


def test_e1000e(bed):
    """The shipped steps recover it under traffic, by a reset other than FLR, and its driver_override stays"""
    since = cursor(bed)
    find_out(bed, CARD)
    wait_record(bed, since, CARD, "RECOVERED")
    well(bed, CARD, "e1000e")
    check(steps(bed, since, CARD) == ["unbind", "reset", "reattach", "bind", "verify"], f"{steps(bed, since, CARD)}")
    check(attribute(bed, CARD, "driver_override") == "e1000e", "driver_override is lost")
    check(attribute(bed, CARD, "reset_method") == "bus pm", f"resets by {attribute(bed, CARD, 'reset_method')}")
    network(bed, CARD)


def test_power_cycle(bed):
    """A card that no reset helps works again when its slot was switched off and on, and has its driver_override"""
    name = address(bed, OTHER_NET)
    network(bed, OTHER_NET)
    put(bed, OTHER_NET, "driver_override", "virtio-pci")
    rules(bed, rule(bed, OTHER_NET, "unbind", "slot-power-cycle", "bind", "verify"))
    ready_for_power(bed, OTHER_NET)
    start, since = mark(bed), cursor(bed)
    wedged_and_replaced(bed, OTHER_NET)
    wait_record(bed, since, OTHER_NET, "RECOVERED")
    well(bed, OTHER_NET, "virtio-pci")
    check(dmesg(bed, NEW_DEVICE.format(name), start), "the kernel did not find it anew")
    check(attribute(bed, OTHER_NET, "driver_override") == "virtio-pci", "driver_override is lost")
    network(bed, OTHER_NET)
    rules(bed)


def test_last_resort_power(bed):
    """on_exhausted slot-power-cycle: after its one attempt a card that is wedged for ever gets another one's power"""
    network(bed, PF)
    rules(bed, rule(bed, PF, on_exhausted="slot-power-cycle"))
    ready_for_power(bed, PF)
    since = cursor(bed)
    wedged_and_replaced(bed, PF)
    done = wait_record(bed, since, PF, "RECOVERED")
    check(done["SMMU_RAS_ATTEMPT"] == "1" and len(records(bed, since, PF, "RECOVERED")) == 1, str(done))
    check(steps(bed, since, PF)[-3:] == ["slot-power-cycle", "bind", "verify"], f"steps {steps(bed, since, PF)}")
    well(bed, PF, "igb")
    network(bed, PF)
    rules(bed)


def test_last_resort_remove(bed):
    """on_exhausted remove: it is gone, its fence with it, and the operator's rescan brings back the cured one"""
    name = address(bed, NET)
    network(bed, NET)
    rules(bed, rule(bed, NET, on_exhausted="remove"))
    since = cursor(bed)
    find_out(bed, NET, "forever")
    text = wait_record(bed, since, NET, "TAKEN_OUT")["MESSAGE"]
    check("taken out of the system after 1 attempt" in text and "/sys/bus/pci/rescan" in text, text)
    wait_for("the end of its record", lambda: busy(bed, NET) == "")
    check(bed.run(f"test -e {pci(name)}", check=False).returncode != 0, "it is still there")
    check(not_active(bed).get(name) not in ("fenced", "sanitized"), f"not active: {not_active(bed)}")
    bed.release(NET)
    bed.text("echo 1 > /sys/bus/pci/rescan")
    wait_for("its driver", lambda: driver(bed, name) == "virtio-pci")
    network(bed, NET)
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
    rules(bed)


def program(bed, name, text):
    """A program that a policy can name: root's alone, in a directory of root's."""
    bed.run(f"mkdir -p {PROGRAMS} && cat > {PROGRAMS}/{name} && chmod 755 {PROGRAMS}/{name}",
            stdin=f"#!/bin/sh\n{text}\n")
    return [f"{PROGRAMS}/{name}"]


def said(bed, since, device):
    return "\n".join(each["MESSAGE"] for each in records(bed, since, device))


def test_last_resort_program(bed):
    """on_exhausted exec: a program that knows another way is run in the sandbox, and the kernel confirms its success"""
    network(bed, NET)
    # The other way: here the test is who cures the device, when the program says so.
    command = program(bed, "cure", f"""
cd {pci('$SMMU_RAS_DEVICE')} && echo last resort for $SMMU_RAS_DEVICE, which had $SMMU_RAS_DRIVER
until [ -e /run/cured ]; do sleep 0.1; done
[ -e driver ] && echo $SMMU_RAS_DEVICE > driver/unbind
echo 1 > reset && echo $SMMU_RAS_DEVICE > /sys/bus/pci/drivers/$SMMU_RAS_DRIVER/bind""")
    rules(bed, rule(bed, NET, on_exhausted={"exec": command, "timeout": "50s"}))
    since = cursor(bed)
    find_out(bed, NET, "forever")
    wait_for("the program", lambda: "last resort for" in said(bed, since, NET), 60)
    check(f"{address(bed, NET)}, which had virtio-pci" in said(bed, since, NET), said(bed, since, NET))
    bed.wedge(NET, "until-reset")
    bed.text("touch /run/cured")
    wait_record(bed, since, NET, "RECOVERED")
    well(bed, NET, "virtio-pci")
    network(bed, NET)
    rules(bed)


TELL = """
echo "$1 begins"
env | sed "s/^/$1 env /"
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' ' | sed "s/^/$1 /"
(echo > /etc/smmu-ras-test) 2>/dev/null && echo "$1 wrote to /etc"
echo "$1 is $(id -u) in $(pwd)"
"""


def test_hooks(bed):
    """Hooks and exec steps run as root in the sandbox, with the environment that is documented and nothing else"""
    network(bed, NET)
    tell = program(bed, "tell", TELL)
    hang = program(bed, "hang", "echo hangs; sleep 300 & sleep 300")
    hooks = {"before": [{"exec": [*tell, "first"]}, {"exec": hang, "timeout": "1s"}],
             "after": [{"exec": program(bed, "fail", "echo cannot; exit 7")}, {"exec": [*tell, "last"]}]}
    rules(bed, rule(bed, NET, "unbind", "reset", {"step": "exec", "exec": [*tell, "middle"]}, "reattach", "bind",
                    hooks=hooks))
    since = cursor(bed)
    find_out(bed, NET)
    fence = wait_record(bed, since, NET, "RECOVERED")["SMMU_RAS_FENCE_ID"]
    wait_for("the last hook", lambda: "last is 0" in said(bed, since, NET))
    text = said(bed, since, NET)
    for who, when, result in (("first", "before", None), ("middle", "step", None), ("last", "after", "recovered")):
        found = dict(line.partition(f"{who} env ")[2].split("=", 1) for line in text.splitlines()
                     if f"{who} env " in line)
        note = found.pop("SMMU_RAS_NOTE", None)
        check((note is None) == (result is None), f"{who}: note {note}")
        for own in ("PWD", "SHLVL", "_"):  # the shell's
            found.pop(own, None)
        expected = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                    "SMMU_RAS_DEVICE": address(bed, NET), "SMMU_RAS_BUS": "pci", "SMMU_RAS_DRIVER": "virtio-pci",
                    "SMMU_RAS_SLOT": bed.device(NET)["slot"].removeprefix("port"), "SMMU_RAS_RULE": "test",
                    "SMMU_RAS_REASON": "atc-timeout", "SMMU_RAS_FENCE_ID": fence, "SMMU_RAS_ATTEMPT": "1",
                    "SMMU_RAS_ATTEMPTS": "1", "SMMU_RAS_WHEN": when} | ({"SMMU_RAS_RESULT": result} if result else {})
        check(found == expected, f"{who}: {found}, not {expected}")
        for line in ("CapEff: 0000000000001000", "NoNewPrivs: 1", "Seccomp: 2", "is 0 in /"):
            check(f"{who} {line}" in text, f"{who} has not said {line}: {text}")
        check(f"{who} wrote" not in text, f"{who} could write to /etc")
    check("hang has not ended after 1s" in text and "the recovery goes on" in text, text)
    check("fail exited with status 7: cannot" in text, text)
    check(bed.run("pgrep -x sleep -a | grep 300", check=False).stdout == "", "what a hook had started still runs")
    well(bed, NET, "virtio-pci")
    network(bed, NET)


def test_veto(bed):
    """A hook that fails with on_failure stop keeps the recovery from touching the device: it stays as it is, fenced"""
    veto = {"before": [{"exec": program(bed, "veto", "echo not now; exit 1"), "on_failure": "stop"}]}
    rules(bed, rule(bed, NET, hooks=veto))
    since = cursor(bed)
    find_out(bed, NET)
    text = wait_record(bed, since, NET, "ISOLATED")["MESSAGE"]
    check("veto exited with status 1: not now" in text and "stays fenced" in text, text)
    check(driver(bed, address(bed, NET)) == "virtio-pci", "it was unbound")
    check(not_active(bed) == {address(bed, NET): "fenced"}, f"not active: {not_active(bed)}")
    check(steps(bed, since, NET) == [], f"steps {steps(bed, since, NET)}")
    rules(bed)
    bed.text(f"smmu-rasctl recover --yes {address(bed, NET)}")
    wait_record(bed, since, NET, "RECOVERED")
    well(bed, NET, "virtio-pci")
    network(bed, NET)


def test_physical_function(bed):
    """A fenced PF is recovered with its VFs: their number, drivers and driver_overrides are as before"""
    network(bed, PF)
    put(bed, PF, "sriov_numvfs", 3)
    first, guests, unused = (f"{PF}-vf{number}" for number in range(3))
    for device in (first, guests, unused):
        wait_for(f"the driver of {device}", lambda device=device: driver(bed, address(bed, device)) == "igbvf")
    bed.text(f"echo {address(bed, guests)} > {pci(address(bed, guests), 'driver/unbind')}")
    put(bed, guests, "driver_override", "vfio-pci")
    bed.text(f"echo {address(bed, guests)} > /sys/bus/pci/drivers/vfio-pci/bind; "
             f"echo {address(bed, unused)} > {pci(address(bed, unused), 'driver/unbind')}")
    since = cursor(bed)
    find_out(bed, PF)
    wait_record(bed, since, PF, "RECOVERED")
    well(bed, PF, "igb")
    check(attribute(bed, PF, "sriov_numvfs") == "3", f"{attribute(bed, PF, 'sriov_numvfs')} VFs")
    check(attribute(bed, PF, "sriov_drivers_autoprobe") == "1", "sriov_drivers_autoprobe")
    for device, *expected in ((first, "igbvf", "(null)"), (guests, "vfio-pci", "vfio-pci"), (unused, "", "(null)")):
        has = [driver(bed, address(bed, device)), attribute(bed, device, "driver_override")]
        check(has == expected, f"driver and driver_override of {device} are {has}")
    check(not_active(bed) == {}, f"not active: {not_active(bed)}")
    network(bed, PF)


def test_virtual_function(bed):
    """A fenced VF is recovered alone: nothing is done to its PF or to its sister"""
    device, sister = f"{PF}-vf0", f"{PF}-vf1"
    start, since = mark(bed), cursor(bed)
    name = bed.text(f"ls {pci(address(bed, device), 'net')}")
    bed.text(f"ip link set {name} up")
    bed.wedge(device, "until-reset")
    bed.text(f"ip link set {name} down")
    wait_record(bed, since, device, "RECOVERED")
    well(bed, device, "igbvf")
    check(not records(bed, since, PF) and not records(bed, since, sister), "something was done to PF or sister")
    check(not dmesg(bed, f"{address(bed, PF)}: (reset|Adding)", start), "the PF was reset")
    check(attribute(bed, PF, "sriov_numvfs") == "3" and driver(bed, address(bed, sister)) == "vfio-pci", "VFs")
    network(bed, PF)
    put(bed, PF, "sriov_numvfs", 0)


HOLDER = """
import hashlib, os, sys
data = os.urandom(24 << 20)
known = hashlib.sha256(data).digest()
print("ready", flush=True)
sys.stdin.readline()
sys.exit(hashlib.sha256(data).digest() != known)
"""


def test_swap(bed):
    """A disk with swap on it is not unbound, and the journal says why; in place it is recovered with all its data"""
    name = disk(bed, "nvme0")
    bed.text(f"mkswap {name} >/dev/null && swapon {name} && cat > /run/holder.py", stdin=HOLDER)
    rules(bed, rule(bed, "nvme0", "unbind", "reset", "reattach", "bind", "verify"))
    since = cursor(bed)
    holder = bed.start("exec systemd-run -q --scope -u holder python3 /run/holder.py", stdin=-1)
    with holder:
        check("ready" in holder.stdout.readline(), "no holder")
        group = "/sys/fs/cgroup/system.slice/holder.scope"
        bed.wedge("nvme0", "until-reset")
        bed.text(f"(echo 20M > {group}/memory.reclaim) >/dev/null 2>&1 </dev/null &")
        text = wait_record(bed, since, "nvme0", "PROTECTED")["MESSAGE"]
        check(f"swap {name}" in text and "smmu-rasctl recover" in text, text)
        check(driver(bed, address(bed, "nvme0")) == "nvme", "it was unbound")
        rules(bed)
        wait_record(bed, since, "nvme0", "RECOVERED")
        well(bed, "nvme0", "nvme")
        check(int(bed.text(f"cat {group}/memory.swap.current")) > 0, "nothing was swapped out")
        holder.communicate("\n", timeout=60)
        check(holder.returncode == 0, "what was swapped out came back as something else")
    bed.text(f"swapoff {name}")


SHRINK = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
pidfd = os.pidfd_open(int(sys.argv[1]))
for number in os.listdir(f"/proc/{sys.argv[1]}/fd"):
    if not os.readlink(f"/proc/{sys.argv[1]}/fd/{number}").startswith("socket:"):
        continue
    with socket.socket(fileno=libc.syscall(438, pidfd, int(number), 0)) as found:  # pidfd_getfd
        if found.family == socket.AF_NETLINK:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel makes it the smallest there is
"""


def known(bed):
    """What smmu-rasd tells of its devices on D-Bus: {address: state} of all that are not active."""
    said = json.loads(bed.text("busctl --json=short call org.smmuras1 /org/smmuras1 org.freedesktop.DBus.ObjectManager "
                               "GetManagedObjects"))["data"][0]
    devices = [each["org.smmuras1.Device"] for each in said.values() if "org.smmuras1.Device" in each]
    return {each["Name"]["data"]: each["State"]["data"] for each in devices if each["State"]["data"] != "active"}


def agree(bed, agent):
    """Waits until the daemon knows what the kernel knows."""
    kernel = {device: each["state"] for device, each in agent.ask("fences").items()}
    wait_for("the daemon and the kernel to agree", lambda: known(bed) == kernel)
    return kernel


def test_flood(bed):
    """Events that found the daemon's socket full are made up for by a dump: its list is the kernel's"""
    agent = Agent(bed)
    names = [address(bed, device) for device in FLOODED]
    rules(bed, {"name": "by-hand", "match": {"address": names}, "action": "ignore"})

    def all_of(do, some, **more):
        for number in [agent.begin(do, device=name, **more) if do != "write" else
                       agent.begin(do, path=pci(name, "reset"), value="1") for name in some]:
            agent.end(number)

    def flood(rounds):
        for _ in range(rounds):
            all_of("fence", names)
            all_of("write", names)
            all_of("reattach", names)

    daemon = pid(bed)
    bed.text("cat > /run/shrink.py", stdin=SHRINK)
    bed.text(f"python3 /run/shrink.py {daemon}")
    since = cursor(bed)
    try:
        bed.text(f"kill -STOP {daemon}")
        # What fits into the socket is that this one is fenced, and it says so after the dump was asked for.
        all_of("fence", names[3:])
        all_of("write", names[3:])
        all_of("reattach", names[3:])
        flood(2)
        all_of("fence", names[:3])
        all_of("write", names[:1])
        bed.text(f"kill -CONT {daemon}")
        wait_for("its record of the loss", lambda: records(bed, since, kind="EVENTS_LOST"))
        kernel = agree(bed, agent)
        check(kernel == {names[0]: "sanitized", names[1]: "fenced", names[2]: "fenced"}, str(kernel))
        # And while it runs: those it was told of are known, and those it was not.
        all_of("write", names[:3])
        all_of("reattach", names[:3])
        flood(4)
        all_of("fence", names[1:])
        check(agree(bed, agent) == {name: "fenced" for name in names[1:]}, str(known(bed)))
        all_of("write", names[1:])
        all_of("reattach", names[1:])
        check(agree(bed, agent) == {}, str(known(bed)))
        check(pid(bed) == daemon, "the daemon is another one")
    finally:
        bed.run(f"kill -CONT {daemon}", check=False)
        agent.close()
        rules(bed)
        bed.text("systemctl restart smmu-rasd")  # its socket is too small for what follows


def test_ats_device(bed):
    """The ATS test device is fenced under its driver, recovered, and does its DMA again; its sisters never stop"""
    rules(bed)
    ready(bed)
    device, sisters = bed.device(FLOODED[0]), [bed.device(each) for each in FLOODED[1:]]
    before = {each["id"]: bed.stream(each["id"])["eats"] for each in sisters}
    since = cursor(bed)
    result = attempt(bed, "strict", [device], [device])
    check((result["damaged"], result["violations"], result["cut_off"], result["stale"]) == (0, 0, 1, 1), str(result))
    well(bed, FLOODED[0], "ats-test")
    wait_record(bed, since, FLOODED[0], "RECOVERED")
    check(steps(bed, since, FLOODED[0])[:2] == ["unbind", "reset"], str(steps(bed, since, FLOODED[0])))
    # Its module counts from anew: a page is mapped, cached and taken back without anything being wrong.
    for each in [device, *sisters]:
        result = attempt(bed, "strict", [], [each])
        check((result["damaged"], result["stale"], result["healthy"]) == (0, 0, 1), f"{each['id']}: {result}")
    check({each["id"]: bed.stream(each["id"])["eats"] for each in sisters} == before, "a sister lost its EATS")
    check(not any(records(bed, since, each["id"], "FENCED") for each in sisters), "a sister was fenced")
