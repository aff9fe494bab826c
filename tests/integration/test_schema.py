# SPDX-License-Identifier: GPL-2.0-or-later
"""config/policy.schema.json and the daemon's parser have the same opinion of a corpus of policies."""

import copy
import glob
import json
import os
import subprocess

import jsonschema

from lib.bench import BINARIES, check, equal, test

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")

STEP = {"step": "exec", "exec": ["/bin/true"]}
HOOK = {"exec": ["/bin/true"]}

# Values of a rule (and, but for name and match, of the defaults).
GOOD = [
    {"name": "n", "description": "d"},
    {"name": "x" * 63},
    *({"action": word} for word in ("recover", "isolate", "ignore")),
    {"match": {}},
    {"match": {"address": "0000:01:00.0", "vendor": "8086", "device": "0x0d57", "class": "010802"}},
    {"match": {"address": ["0000:01:*", "ffff:??:00.7"], "vendor": ["10de", "80*"], "class": "0[13]*"}},
    {"match": {"driver": "", "slot": "", "iommu": "smmu3.*"}},
    {"match": {"driver": ["a"] * 256}},
    {"match": {"reason": ["atc-timeout", "sync-timeout", "reset-failed", "administrative", "*-timeout"]}},
    {"match": {"slot": "bay [1-3]"}},
    {"steps": ["reset"]},
    {"steps": ["unbind", "reset", "reattach", "bind", "verify"]},
    {"steps": ["unbind", "reset", "remove", "rescan", "bind"]},
    {"steps": [{"step": "slot-power-cycle", "timeout": "2min"}, "bind"]},
    {"steps": [{"step": "wait", "for": "1us", "timeout": "1s", "description": "d"}, "reset"]},
    {"steps": [{**STEP, "timeout": "1d"}, "reset", {"step": "exec", "exec": ["/bin/true"] + ["a"] * 63}]},
    {"steps": ["verify"] * 16},
    {"reset_methods": ["device_specific", "acpi", "flr", "af_flr", "pm", "bus", "cxl_bus"]},
    *({"step_timeout": span} for span in ("1ms", "1min 30s", " 2 s ", "24h", "1d", "1000us")),
    *({"attempts": n} for n in (1, 1000)),
    *({"backoff": span} for span in ("1s", {}, {"first": "1s"}, {"max": "5min"}, {"first": "1s", "max": "1s"})),
    {"rate_limit": False},
    {"rate_limit": {"count": 32, "window": "30d"}},
    *({"on_exhausted": word} for word in ("isolate", "remove", "slot-power-cycle")),
    {"on_exhausted": {"exec": ["/bin/true", ""], "timeout": "3s", "description": "d"}},
    *({"protect": what} for what in (True, False, [], ["mounted", "swap", "default-route", "vfio"])),
    {"hooks": {}},
    {"hooks": {"before": [], "after": [], "description": "d"}},
    {"hooks": {"before": [{**HOOK, "timeout": "1s", "on_failure": "stop", "description": "d"}]}},
    {"hooks": {"before": [HOOK] * 8, "after": [{**HOOK, "timeout": "1s"}]}},
]

# Refused by both.
BAD = [
    3, [], "x", None,
    {"nmae": "x"}, {"name": ""}, {"name": "x" * 64}, {"name": 3}, {"description": 3},
    {"action": "reboot"}, {"action": None},
    {"match": []}, {"match": {"drivr": "x"}}, {"match": {"driver": 3}}, {"match": {"driver": []}},
    {"match": {"driver": ["a", 3]}}, {"match": {"driver": ["a"] * 257}}, {"match": {"vendor": "808"}},
    {"match": {"vendor": "nvidia"}}, {"match": {"device": "12345"}}, {"match": {"class": "0108"}},
    {"match": {"class": "01x*"}}, {"match": {"address": "01:00.0"}}, {"match": {"address": "gpu"}},
    {"match": {"address": ""}}, {"match": {"reason": "heat"}}, {"match": {"vendor": ""}},
    {"steps": "reset"}, {"steps": []}, {"steps": ["verify"] * 17}, {"steps": ["resett"]}, {"steps": [3]},
    {"steps": [{}]}, {"steps": [{"step": "reset", "for": "1s"}]}, {"steps": ["wait"]}, {"steps": ["exec"]},
    {"steps": ["hook"]}, {"steps": [{"step": "hook", "exec": ["/bin/true"]}]},
    {"steps": [{"step": "wait"}]}, {"steps": [{"step": "exec"}]}, {"steps": [{"step": "exec", "exec": "/bin/true"}]},
    {"steps": [{"step": "exec", "exec": []}]}, {"steps": [{"step": "exec", "exec": ["true"]}]},
    {"steps": [{"step": "exec", "exec": ["/bin/true", 1]}]}, {"steps": [{"step": "reset", "exec": ["/bin/true"]}]},
    {"steps": [{"step": "exec", "exec": ["/bin/true"] + ["a"] * 64}]},
    {"steps": [{"step": "exec", "exec": ["/bin/true", "a" * 4097]}]},
    {"steps": [{"step": "reset", "timeout": 3}]}, {"steps": [{"step": "reset", "time": "3s"}]},
    {"reset_methods": "flr"}, {"reset_methods": []}, {"reset_methods": ["frl"]}, {"reset_methods": ["flr", "flr"]},
    {"reset_methods": [1]}, {"reset_methods": None},
    {"step_timeout": 30}, {"step_timeout": "30"}, {"step_timeout": ""}, {"step_timeout": "1w"},
    {"step_timeout": "1.5s"},
    {"step_timeout": "-1s"}, {"step_timeout": "1s, 2ms"},
    {"attempts": 0}, {"attempts": 1001}, {"attempts": 1.5}, {"attempts": "3"}, {"attempts": True}, {"attempts": -1},
    {"backoff": 3}, {"backoff": {"frist": "1s"}}, {"backoff": {"first": 1}}, {"backoff": []},
    {"rate_limit": True}, {"rate_limit": 3}, {"rate_limit": {}}, {"rate_limit": {"count": 1}},
    {"rate_limit": {"count": 33, "window": "1h"}}, {"rate_limit": {"count": 0, "window": "1h"}},
    {"rate_limit": {"count": 1, "window": "1h", "per": 1}},
    {"on_exhausted": "explode"}, {"on_exhausted": 3}, {"on_exhausted": {}}, {"on_exhausted": {"exec": ["x"]}},
    {"on_exhausted": {"exec": ["/bin/true"], "on_failure": "stop"}},
    {"protect": "mounted"}, {"protect": ["mountd"]}, {"protect": [1]}, {"protect": None},
    {"hooks": []}, {"hooks": {"befor": []}}, {"hooks": {"before": HOOK}}, {"hooks": {"before": ["/bin/true"]}},
    {"hooks": {"before": [{}]}}, {"hooks": {"before": [HOOK] * 9}},
    {"hooks": {"after": [{**HOOK, "on_failure": "stop"}]}},
    {"hooks": {"before": [{**HOOK, "on_failure": "abort"}]}}, {"hooks": {"before": [{**HOOK, "timeout": 1}]}},
]

# What a schema cannot say, or not with reason: refused by the daemon only.
PARSER_ONLY = [
    {"steps": ["unbind", "reset"]}, {"steps": ["remove", "bind"]}, {"steps": ["remove"]},
    {"steps": ["slot-power-cycle"]}, {"match": {"driver": "nvm[e"}}, {"step_timeout": "2d"}, {"step_timeout": "1us"},
    {"backoff": {"first": "2s", "max": "1s"}},
    {"rate_limit": {"count": 1, "window": "31d"}}, {"hooks": {"after": [{"exec": ["/none/such"]}]}},
    {"steps": [{"step": "exec", "exec": ["/etc"]}]},
]

FILES_GOOD = [
    {}, {"rules": []},
    {"$schema": "x", "description": "d", "max_parallel": 1024, "defaults": {}, "rules": [{}]},
]
FILES_BAD = [
    [], 3, {"rulez": []}, {"rules": {}}, {"rules": [3]}, {"max_parallel": 0}, {"max_parallel": 1025},
    {"max_parallel": "1"}, {"$schema": 1}, {"description": []}, {"defaults": []}, {"defaults": {"name": "x"}},
    {"defaults": {"match": {}}}, {"rules": [{}] * 4097},
]


def load(name):
    with open(f"{SOURCE}/{name}") as f:
        return json.load(f)


def validator():
    schema = load("config/policy.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


class Judges:
    """The schema and the daemon's parser."""

    def __init__(self, bench):
        self.bench = bench
        self.schema = validator()

    def daemon_accepts(self, policy):
        self.bench.file("p.json", json.dumps(policy))
        # 0 good, 1 refused; whatever else it is, it is no opinion.
        done = subprocess.run(
            [f"{BINARIES}/smmu-rasctl", "policy", "check", f"{self.bench.root}/p.json"],
            env=self.bench.env, capture_output=True, text=True, timeout=60,
        )
        check(done.returncode in (0, 1), f"{policy}: {done.stderr}")
        return done.returncode == 0

    def ask(self, policy):
        return self.schema.is_valid(policy), self.daemon_accepts(policy)


def with_defaults(rules):
    """The same values as a rule, and as defaults where they may be there."""
    for rule in rules:
        yield {"rules": [rule]}
        if isinstance(rule, dict) and not {"name", "match", "nmae"} & rule.keys():
            yield {"defaults": rule}


def judge(b, policies, expected):
    judges = Judges(b)
    wrong = []
    for policy in policies:
        opinions = judges.ask(policy)
        if opinions != expected:
            wrong.append(f"{json.dumps(policy)[:200]}: schema, daemon: {opinions}")
    check(not wrong, "expected " + str(expected) + ":\n" + "\n".join(wrong))


@test
def schema_and_parser_accept_the_same(b):
    judge(b, FILES_GOOD + list(with_defaults(GOOD)), (True, True))


@test
def schema_and_parser_refuse_the_same(b):
    judge(b, FILES_BAD + list(with_defaults(BAD)), (False, False))


@test
def what_only_the_parser_refuses(b):
    judge(b, list(with_defaults(PARSER_ONLY)), (True, False))


@test
def schema_fits_what_is_shipped(b):
    names = ["policy.json"]
    for path in glob.glob(f"{SOURCE}/config/examples/*.json"):
        if "simulate" not in path:
            names.append(f"examples/{os.path.basename(path)}")
    check(len(names) >= 4, f"the examples: {names}")
    for name in names:
        errors = validator().iter_errors(load(f"config/{name}"))
        equal([f"{'/'.join(map(str, e.path))}: {e.message}" for e in errors], [], f"what the schema says of {name}")


def parts(schema, path=""):
    yield path, schema
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            for name, each in value.items():
                yield from parts(each, f"{path}/{key}/{name}")
        elif key in ("oneOf", "anyOf"):
            for i, each in enumerate(value):
                yield from parts(each, f"{path}/{key}/{i}")
        elif key == "items" and isinstance(value, dict):
            yield from parts(value, f"{path}/items")


@test
def editors_find_a_description_of_every_key(b):
    schema = load("config/policy.schema.json")
    defs = schema["$defs"]
    missing = []
    for path, part in parts(schema):
        if "/properties/" not in path or path.split("/")[-2] != "properties":
            continue
        target = defs[part["$ref"].removeprefix("#/$defs/")] if "$ref" in part else {}
        if "description" not in part and "description" not in target:
            missing.append(path)
    equal(missing, [], "keys without a description")
    for path, part in parts(schema):
        # Defaults and examples would be a bad lead when they are wrong themselves.
        resolver = copy.deepcopy({k: v for k, v in part.items() if k != "$defs"})
        resolver["$defs"] = defs
        for each in part.get("examples", []) + ([part["default"]] if "default" in part else []):
            check(jsonschema.Draft202012Validator(resolver).is_valid(each), f"{path}: {each}")
