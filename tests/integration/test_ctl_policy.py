# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasctl policy and simulate."""

import json
import os
import subprocess

from lib.bench import BINARIES, DEV, QUICK, check, equal, recovered, test
from lib.schema import CONFIG


@test
def policy_check_is_fit_for_editors(b):
    b.policy([{"name": "one", "match": {"vendor": "8086"}}, {"name": "two", "match": {"class": "0108*"}}])
    check("2 rules" in b.ctl("policy", "check").stdout, "check")
    b.file("bad.json", '{\n  "rules": [{ "mtach": {} }]\n}')
    b.file("good.json", "{}")
    done = b.ctl("policy", "check", f"{b.root}/bad.json", f"{b.root}/good.json", status=1)
    error = f'{b.root}/bad.json:2:15: error: rules[0].mtach: unknown key "mtach"; did you mean "match"?\n'
    equal(done.stderr, error, "error")
    check("good.json: good" in done.stdout, done.stdout)
    # Another system's policy, whoever owns it.
    os.makedirs(f"{b.root}/other/etc/smmu-rasd/policy.d", mode=0o777)
    b.file("other/etc/smmu-rasd/policy.d/1.json", '{"rules": [{"name": "there"}]}', 0o666)
    check("1 rule" in b.ctl("policy", "check", "--root", f"{b.root}/other").stdout, "--root")
    # Programs of another machine.
    for name in ("gpu-node", "hypervisor-vfio", "nvme-storage"):
        example = f"{CONFIG}/examples/{name}.json"
        check("No such file" in b.ctl("policy", "check", example, status=1).stderr, "on this machine")
        b.ctl("policy", "check", "--root=/", example)
        b.ctl("simulate", "--policy", example, f"{CONFIG}/examples/simulate-events.json")


@test
def policy_explain_says_why_not_the_others(b):
    b.policy([{"name": "one", "match": {"vendor": "8086"}}, {"name": "two", "match": {"class": "0108*"}}])
    b.kernel.add(DEV)
    text = b.ctl("policy", "explain", DEV).stdout
    check('no   one' in text and 'it wants vendor "8086", and this is "1b36"' in text, text)
    check("yes  two" in text and "not asked: default" in text and "It is not fenced now" in text, text)
    text = b.ctl("policy", "explain", "--vendor=0x8086", "--class=020000").stdout
    check("yes  one" in text and "not fenced now" not in text, text)
    b.ctl("policy", "explain", status=2)


@test
def policy_show_has_all_rules(b):
    b.policy([{"name": "one", "match": {"driver": ["a", "b"]}, "attempts": 7}], name="etc/policy.d/x.json")
    b.policy([{"name": "two", "match": {}, "action": "isolate"}])
    text = b.ctl("policy", "show").stdout
    check(text.index("one (") < text.index("two (") < text.index("default ("), text)
    check("driver a or b" in text and "7, each step" in text and "isolate: it stays fenced" in text, text)


def simulate(b, events, *args, status=0):
    b.file("events.json", json.dumps(events) if not isinstance(events, str) else events)
    done = b.ctl("simulate", "--json", *args, f"{b.root}/events.json", status=status)
    return json.loads(done.stdout) if status == 0 else done.stderr


def words(simulated, device=DEV):
    return [e["event"] for e in simulated["timeline"] if e["device"] == device]


def end(simulated, device=DEV):
    return next(d["end"] for d in simulated["devices"] if d["device"] == device)


@test
def simulate_does_what_the_daemon_does(b):
    """The same story, once simulated and once for real."""
    b.policy(attempts=3, backoff=QUICK)
    device = b.kernel.add(DEV)
    device.failures = 1
    simulated = simulate(
        b,
        {
            "devices": [{"device": DEV, "driver": "virtio-pci"}],
            "events": [{"event": "fenced", "device": DEV, "results": {"reset": ["fail", "ok"]}}],
        },
    )
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    done = [(s["attempt"], s["step"], s["error"] == 0) for s in b.state()["history"]]
    attempt, made = 0, []
    for e in simulated["timeline"]:
        attempt += e["event"] == "attempt"
        if e["event"] == "step":
            made.append((attempt, e["text"].split()[0], "done" in e["text"]))
    equal(made, done, "steps")
    equal(end(simulated), "well", "end")


@test
def simulate_finishes_what_was_cut_off(b):
    """As the daemon: a reset that ends after its time, and was a success, is no attempt that failed."""
    steps = ["reset", "verify"]
    b.policy([{"name": "in-place", "match": {}, "steps": steps}], attempts=1, step_timeout="10s")
    late = {"result": "ok", "takes": "1h"}
    made = {"device": DEV, "driver": "nvme", "results": {"reset": [late, "fail"]}}
    simulated = simulate(b, {"devices": [made], "events": [{"event": "fenced", "device": DEV}]})
    equal(words(simulated), ["fenced", "rule", "attempt", "stuck", "step", "unfenced", "attempt", "step", "step",
                             "recovered"], "what happens")
    # One that failed after its time has failed.
    made["results"]["reset"] = {"result": "fail", "takes": "1h"}
    simulated = simulate(b, {"devices": [made], "events": [{"event": "fenced", "device": DEV}]})
    equal(end(simulated), "isolated", "end")


@test
def simulate_knows_all_ends(b):
    b.policy(
        [
            {"match": {"driver": "left"}, "action": "isolate"},
            {"match": {"driver": "quiet"}, "action": "ignore"},
        ],
        attempts=2,
        rate_limit={"count": 2, "window": "1h"},
    )
    drivers = ["left", "quiet", "driverless", "used", "often", "hangs", "gone"]
    devices = {f"0{n}": driver for n, driver in enumerate(drivers, 1)}
    events = [{"event": "fenced", "device": f"{n}:00.0"} for n in devices]
    events += [{"event": "fenced", "device": "05:00.0", "at": f"{t}min"} for t in (10, 20)]
    events += [{"event": "removed", "device": "07:00.0", "at": "50ms"}]
    made = [{"device": f"{n}:00.0", "driver": d} for n, d in devices.items()]
    made[3]["in_use"] = ["mounted"]
    made[2]["results"] = {"bind": "fail"}
    made[5]["results"] = {"reset": "hang"}
    simulated = simulate(b, {"devices": made, "events": events})
    ends = {d: end(simulated, f"0000:{n}:00.0") for n, d in devices.items()}
    equal(
        ends,
        {
            "left": "isolated",
            "quiet": "ignored",
            # Unfenced, but its driver was never bound again: that is no success.
            "driverless": "isolated",
            "used": "isolated",
            "often": "isolated",
            "hangs": "stuck",
            "gone": "well",
        },
        "ends",
    )
    text = " ".join(e["text"] for e in simulated["timeline"])
    check("rate limit" in text and "protected by rule" in text, text)


@test
def simulate_lets_related_devices_take_turns(b):
    b.policy()
    pair = ["0000:01:00.0", "0000:01:00.1"]
    simulated = simulate(b, {"events": [{"event": "fenced", "device": d} for d in pair]})
    begun = {e["device"]: e["at_usec"] for e in simulated["timeline"] if e["event"] == "attempt"}
    ended = {e["device"]: e["at_usec"] for e in simulated["timeline"] if e["event"] == "recovered"}
    check(begun[pair[1]] >= ended[pair[0]], simulated["timeline"])


@test
def simulate_runs_over_what_was_recorded(b):
    b.policy()
    device = b.kernel.add(DEV, driver="nvme")
    monitor = subprocess.Popen(
        ["timeout", "600", f"{BINARIES}/smmu-rasctl", "monitor", "--json"], env=b.env, stdout=subprocess.PIPE, text=True
    )
    b.kernel.wait(lambda: any(c[2] for c in b.kernel.connections.values()), "a subscription")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    lines = ""
    while '"unfenced"' not in lines:
        line = monitor.stdout.readline()
        check(line, f"the end of what was recorded: {lines}")
        lines += line
    monitor.terminate()
    monitor.wait()
    monitor.stdout.close()
    b.policy([{"match": {"driver": "nvme"}, "action": "isolate"}], name="other.json")
    equal(words(simulate(b, lines)), words(simulate(b, lines, "--policy", f"{b.root}/etc")), "a directory")
    equal(end(simulate(b, lines)), "well", "with the policy in force")
    equal(end(simulate(b, lines, "--policy", f"{b.root}/other.json")), "isolated", "with another one")


@test
def simulate_says_where_events_are_wrong(b):
    b.policy()
    for events, place in (
        ("{", "events.json:1:"),
        ('{"events": 3}', "events.json:1:12: events: "),
        ('{"events": [{"event": "fenced"}]}', "events[0]: write the device"),
        ('{"events": [{"event": "fecned", "device": "01:00.0"}]}', "events[0].event: "),
        ('{"events": [{"event": "fenced", "device": "01:00.0", "at": "soon"}]}', "events[0].at: "),
        ('{"events": [{"event": "fenced", "device": "01:00.0", "results": {"rset": "ok"}}]}', "results.rset: "),
        ('{"events": [], "devices": [{"device": "01:00.0", "colour": "red"}]}', "devices[0].colour: unknown key"),
        ('{"event": "lost"}\n{"event": \n', "events.json:2:"),
    ):
        error = simulate(b, events, status=1)
        check(place in error, f"{events}: {error}")
