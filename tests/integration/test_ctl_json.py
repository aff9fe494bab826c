# SPDX-License-Identifier: GPL-2.0-or-later
"""What smmu-rasctl prints for programs, held against its schema."""

import json
import subprocess

import fakekernel
from lib.bench import BINARIES, DEV, QUICK, check, equal, recovered, test
from lib.messages import ISOLATED
from lib.schema import CONFIG, SCHEMA, conforms

CARD = "0000:02:00.0"


@test
def json_of_all_verbs_conforms(b):
    b.policy([{"name": "card", "match": {"driver": "virtio-pci"}}], attempts=2, backoff=QUICK)
    disk = b.kernel.add(DEV, driver="nvme")
    card = b.kernel.add(CARD)
    disk.reset_result = 25
    conforms(b.ctl("--json").stdout, "list")
    equal(conforms(b.ctl("status", "--json", status=12).stdout, "status")["status"], 12, "status")
    b.start()
    b.kernel.fence(CARD)
    recovered(b, card)
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    b.wait_state("isolated")
    listed = conforms(b.ctl("list", "--json").stdout, "list")
    equal([d["verdict"] for d in listed["devices"]], ["isolated"], "verdicts")
    equal([d["device"] for d in listed["recovered"]], [CARD], "recovered")
    check(listed["recovered"][0]["outage_usec"] > 0, "an outage")
    equal(len(b.ctl("list", "--json=short").stdout.splitlines()), 1, "lines")
    shown = conforms(b.ctl("show", "--json", DEV).stdout, "show")
    equal(shown["recovery"]["why"], "exhausted", "why")
    equal([(s["attempt"], s["step"], s["error"]) for s in shown["history"]][-1], (2, "reset", 25), "history")
    check(f"smmu-rasctl recover {DEV}" in [a["command"] for a in shown["advice"]], "advice")
    conforms(b.ctl("policy", "check", "--json").stdout, "check")
    explained = conforms(b.ctl("policy", "explain", DEV, "--json").stdout, "explain")
    equal((explained["rule"], explained["tried"][0]["wanted"]), ("default", '"virtio-pci"'), "rule")
    equal(len(conforms(b.ctl("policy", "show", "--json").stdout, "policy")["rules"]), 2, "rules")
    ended = conforms(b.ctl("simulate", "--json", f"{CONFIG}/examples/simulate-events.json").stdout, "simulated")
    equal(len(ended["devices"]), 3, "devices")
    with open(f"{CONFIG}/examples/simulate-events.json") as f:
        conforms(f.read(), "events")
    b.file("etc/policy.json", '{"rules": 3}')
    checked = conforms(b.ctl("policy", "check", "--json", status=1).stdout, "check")
    equal((checked["error"]["line"], checked["error"]["column"]), (1, 11), "place")


@test
def what_is_no_utf8_is_still_json(b):
    device = b.kernel.add(DEV)
    with open(f"{device.path}/driver_override", "wb") as f:
        f.write(b"\xff\xfe\n")
    equal(conforms(b.ctl("show", "--json", DEV).stdout, "show")["driver_override"], r"\xff\xfe", "driver_override")


@test
def monitor_tells_what_the_daemon_does(b):
    device = b.kernel.add(DEV)
    monitor = subprocess.Popen(
        ["timeout", "600", f"{BINARIES}/smmu-rasctl", "monitor", "--json"], env=b.env, stdout=subprocess.PIPE, text=True
    )
    b.kernel.wait(lambda: any(fakekernel.GROUP in c[2] for c in b.kernel.connections.values()), "a subscription")
    lines = []

    def until(wanted):
        while True:
            lines.append(conforms(monitor.stdout.readline(), "monitor"))
            if wanted(lines[-1]):
                return

    # Twice, with a daemon that is killed in between.
    for i in (1, 2):
        b.start()
        until(lambda e: e["event"] == "daemon" and e["running"])
        b.kernel.fence(DEV)
        recovered(b, device, i)
        until(lambda e: e["event"] == "step" and e["step"] == "verify")
        b.kill()
        until(lambda e: e["event"] == "daemon" and not e["running"])
    steps = [e["step"] for e in lines if e["event"] == "step"]
    equal(steps, ["unbind", "reset", "reattach", "bind", "verify"] * 2, "steps")
    states = [e["event"] for e in lines if e["event"] in ("fenced", "sanitized", "unfenced")]
    equal(states, ["fenced", "sanitized", "unfenced"] * 2, "what the kernel said")
    # It ends as cleanly as it went.
    monitor.terminate()
    monitor.wait()
    monitor.stdout.close()


@test
def monitor_ends_with_its_reader(b):
    b.kernel.add(DEV)
    monitor = subprocess.Popen([f"{BINARIES}/smmu-rasctl", "monitor"], env=b.env, stdout=subprocess.PIPE)
    b.kernel.wait(lambda: any(fakekernel.GROUP in c[2] for c in b.kernel.connections.values()), "a subscription")
    monitor.stdout.close()
    # Nothing has to happen for that.
    equal(monitor.wait(fakekernel.PATIENCE), 0, "exit status")


@test
def the_schema_is_one(b):
    equal(SCHEMA["$schema"], "https://json-schema.org/draft/2020-12/schema", "draft")
    for name in SCHEMA["anyOf"]:
        check(name["$ref"].removeprefix("#/$defs/") in SCHEMA["$defs"], name)
    # A schema that lets everything pass proves nothing.
    for kind, text in (("list", "{}"), ("show", "{}"), ("monitor", '{"time": "now", "event": "fenced"}')):
        try:
            conforms(text, kind)
        except Exception as e:  # jsonschema's own class has moved between versions
            check(type(e).__name__ == "ValidationError", e)
        else:
            check(False, f"{text} is no {kind}")
    check(json.dumps(SCHEMA), "a document")
