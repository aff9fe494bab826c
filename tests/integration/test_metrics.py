# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics: what smmu-rasctl prints, what the daemon keeps for node_exporter, and what config/monitoring makes of it."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess

from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.messages import ISOLATED

MONITORING = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../../config/monitoring")


def parse(text):
    """Samples by their name with labels, and the type of each metric."""
    samples, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            check(name not in types, f"{name} is described twice")
            types[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            check(name not in samples, f"{name} is there twice")
            samples[name] = float(value)
    return samples, types


def textfile(b):
    try:
        with open(f"{b.root}/run/metrics.prom") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def wait_for(b, name, value):
    b.kernel.wait(lambda: parse(textfile(b))[0].get(name) == value, f"{name} to become {value}")


@test
def metrics_tell_of_a_recovery_and_of_isolation(b):
    b.policy(attempts=2, backoff=QUICK)
    good, bad = b.kernel.add(DEV), b.kernel.add("0000:02:00.0")
    bad.reset_result = 25
    b.start()
    b.kernel.fence(DEV)
    recovered(b, good)
    b.kernel.fence(bad.name)
    b.wait_record(ISOLATED)
    wait_for(b, 'smmu_ras_recoveries_total{result="exhausted"}', 1)
    samples, types = parse(textfile(b))
    for name, value in {
        f'smmu_ras_fences_total{{device="{DEV}",reason="atc-timeout"}}': 1,
        'smmu_ras_recoveries_total{result="recovered"}': 1,
        "smmu_ras_recovery_attempts_total": 3,
        "smmu_ras_recovery_attempt_failures_total": 1,
        'smmu_ras_step_failures_total{step="reset"}': 2,
        "smmu_ras_recovery_duration_seconds_count": 1,
        'smmu_ras_fenced_devices{state="fenced"}': 1,
        'smmu_ras_recovery_devices{state="isolated"}': 1,
        "smmu_ras_daemon_running": 1,
        "smmu_ras_kernel_support": 1,
        "smmu_ras_policy_refused": 0,
    }.items():
        equal(samples[name], value, name)
    equal([n for n in samples if n.startswith("smmu_ras_device_info")],
          ['smmu_ras_device_info{device="0000:02:00.0",driver="virtio-pci",state="fenced",reason="atc-timeout",'
           'recovery="isolated"}'], "devices")
    equal(types["smmu_ras_fences_total"], "counter", "type")
    # smmu-rasctl has the same, in the newer format.
    text = b.ctl("metrics").stdout
    check(text.endswith("\n# EOF\n"), "the end of OpenMetrics")
    equal(parse(text)[0], samples, "samples of smmu-rasctl")
    equal(parse(text)[1]["smmu_ras_fences"], "counter", "type of smmu-rasctl's")
    # Killed or stopped, the next daemon goes on counting.
    for number, running in ((signal.SIGKILL, 1), (signal.SIGTERM, 0)):
        b.kill(number)
        equal(parse(textfile(b))[0]["smmu_ras_daemon_running"], running, "after the end of the daemon")
        equal(parse(b.ctl("metrics").stdout)[0]["smmu_ras_daemon_running"], 0, "as smmu-rasctl sees it")
        b.start()
    b.kernel.fence(DEV)
    recovered(b, good, 2)
    wait_for(b, 'smmu_ras_recoveries_total{result="recovered"}', 2)


@test
def metrics_without_daemon_and_family(b):
    samples, _ = parse(b.ctl("metrics").stdout)
    equal([samples["smmu_ras_daemon_running"], samples["smmu_ras_kernel_support"]], [0, 0], "metrics")


metrics_without_daemon_and_family.has_family = False


@test
def monitoring_uses_metrics_that_there_are(b):
    b.kernel.add(DEV)
    b.kernel.fence(DEV)
    _, types = parse(b.ctl("metrics").stdout)
    known = set()
    for name, kind in types.items():
        suffixes = {"counter": ["_total"], "info": ["_info"], "histogram": ["_bucket", "_sum", "_count"]}
        known |= {name + suffix for suffix in suffixes.get(kind, [""])}
    used = {}
    for path in glob.glob(f"{MONITORING}/*.yml") + glob.glob(f"{MONITORING}/*.json"):
        with open(path) as f:
            text = f.read()
        for name in re.findall(r"\bsmmu_ras_\w+", text):
            used.setdefault(name, path)
    check(len(used) > 10, f"{len(used)} names of metrics")
    equal({n: p for n, p in used.items() if n not in known}, {}, "metrics that nobody writes")
    with open(f"{MONITORING}/README.md") as f:
        described = set(re.findall(r"\bsmmu_ras_\w+", f.read()))
    missing = {n for n in known if re.sub("_(bucket|sum|count)$", "", n) not in described}
    equal(missing, set(), "metrics that README.md does not describe")
    with open(f"{MONITORING}/smmu-ras.dashboard.json") as f:
        dashboard = json.load(f)
    ids = [panel["id"] for panel in dashboard["panels"]]
    equal(len(ids), len(set(ids)), "panels with a number of their own")


@test
def node_problem_detector_hears_of_isolation(b):
    b.policy(attempts=1)
    bad = b.kernel.add(DEV)
    bad.reset_result = 25
    env = dict(b.env, SMMU_RASCTL=f"{os.environ.get('SMMU_RAS_BINARIES', 'build/tests')}/smmu-rasctl")

    def npd(what):
        done = subprocess.run([f"{MONITORING}/npd-smmu-ras", what], env=env, capture_output=True, text=True)
        equal(len(done.stdout.splitlines()), 1, f"lines of {done.stdout!r}")
        return done.returncode

    equal([npd("devices"), npd("daemon"), npd("nonsense")], [0, 1, 2], "without the daemon")
    b.start()
    equal([npd("devices"), npd("daemon")], [0, 0], "while all is well")
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    b.wait_state("isolated")
    equal([npd("devices"), npd("daemon")], [1, 0], "with an isolated device")
    env["SMMU_RASCTL"] = "/nowhere"
    equal(npd("devices"), 2, "without smmu-rasctl")
    with open(f"{MONITORING}/npd-smmu-ras.json") as f:
        config = json.load(f)
    conditions = {c["type"] for c in config["conditions"]}
    equal({r["condition"] for r in config["rules"]}, conditions, "conditions of rules")


@test
def promtool_understands_all_of_it(b):
    # A large package: `make deps-lint` installs it, and then this says something.
    if not shutil.which("promtool"):
        return
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    wait_for(b, 'smmu_ras_recoveries_total{result="recovered"}', 1)
    done = subprocess.run(["promtool", "check", "metrics"], input=textfile(b), capture_output=True, text=True)
    equal([done.returncode, done.stdout, done.stderr], [0, "", ""], "promtool check metrics")
    for words in (["check", "rules", "smmu-ras.rules.yml"], ["test", "rules", "smmu-ras.rules.test.yml"]):
        done = subprocess.run(["promtool", *words], cwd=MONITORING, capture_output=True, text=True)
        equal(done.returncode, 0, f"promtool {words}: {done.stdout}{done.stderr}")
