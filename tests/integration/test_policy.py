# SPDX-License-Identifier: GPL-2.0-or-later
"""Policy files."""

import os
import signal

import fakekernel
from lib.bench import DEV, check, equal, recovered, test
from lib.messages import ISOLATED, POLICY_REFUSED


@test
def a_bad_policy_is_refused_and_the_old_one_stays(b):
    b.policy(steps=["reset"])
    device = b.kernel.add(DEV)
    b.start()
    b.file("etc/policy.json", '{\n  "rules": [\n    {"stpes": []}\n  ]\n}')
    b.daemon.send_signal(signal.SIGHUP)
    b.wait_notify("READY=1")
    check("RELOADING=1" in b.states, "RELOADING=1")
    record = b.wait_record(POLICY_REFUSED)
    check(
        f'{b.root}/etc/policy.json:3:6: rules[0].stpes: unknown key "stpes"; did you mean "steps"?'
        in record["MESSAGE"],
        record["MESSAGE"],
    )
    equal(record["PRIORITY"], "3", "priority")
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(b.steps(), ["reset"], "steps")


@test
def starts_with_a_bad_policy(b):
    device = b.kernel.add(DEV)
    owed = b.kernel.add("0000:02:00.0")
    b.start()
    hold = b.kernel.hold("0000:02:00.0/bind")
    b.kernel.fence(owed.name)
    check(hold.arrived.wait(fakekernel.PATIENCE), "the owed device's bind")
    b.kill()
    b.kernel.holds.remove(hold)
    # Nobody has ever had a good one.
    os.unlink(f"{b.root}/kept/policy.kept")
    b.file("etc/policy.json", "{ oops")
    b.start()
    record = b.wait_record(POLICY_REFUSED)
    equal(record["PRIORITY"], "3", "priority")
    check("policy.json:1" in record["MESSAGE"], record["MESSAGE"])
    b.kernel.fence(DEV)
    message = b.wait_record(ISOLATED, DEV)["MESSAGE"]
    check("left isolated: there is no good policy. What is wrong: smmu-rasctl policy check;" in message, message)
    equal(b.steps(DEV), [], "steps")
    with b.kernel.lock:
        b.kernel._sanitize(owed)
        b.kernel._attach(owed)
    b.kernel.wait(lambda: owed.driver == owed.home, "the owed driver")
    b.file("etc/policy.json", "{}")
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, device)
    b.wait_notify("STATUS=Watching; no device is fenced")
    check(any("policy on disk is refused" in s for s in b.states), b.states)


def bad_policy_at_start(b, **defaults):
    """A daemon that is started with a bad policy, after one that had a good one."""
    b.policy(**defaults)
    b.policy([{"name": "mine", "match": {"address": "0000:02:*"}, "action": "ignore"}], name="etc/policy.d/10-a.json")
    b.start()
    b.kill()
    b.file("etc/policy.json", '{ "oops": 1 }')
    os.unlink(f"{b.root}/etc/policy.d/10-a.json")


@test
def the_last_good_policy_is_kept(b):
    device = b.kernel.add(DEV)
    ignored = b.kernel.add("0000:02:00.0")
    bad_policy_at_start(b, steps=["reset"])
    for _ in range(2):
        b.start()
        message = b.wait_record(POLICY_REFUSED)["MESSAGE"]
        check("oops" in message and "The last good one is in force" in message, message)
        b.kill()
    b.start()
    b.kernel.fence(ignored.name)
    b.kernel.fence(DEV)
    recovered(b, device)
    equal(b.steps(), ["reset"], "steps")
    equal(b.steps(ignored.name), [], "steps of the one that the drop-in has us ignore")
    check(any("policy on disk is refused" in s for s in b.states), b.states)
    # It is what the operator wrote, and not what somebody else may have.
    b.kill()
    os.chmod(f"{b.root}/kept/policy.kept", 0o622)
    b.start()
    check("no policy to start with" in b.wait_record(POLICY_REFUSED, None, 4)["MESSAGE"], "it is not trusted")


@test
def a_kept_policy_that_is_damaged_is_of_no_use(b):
    device = b.kernel.add(DEV)
    bad_policy_at_start(b)
    with open(f"{b.root}/kept/policy.kept") as f:
        text = f.read()
    b.file("kept/policy.kept", text[:-5])
    b.start()
    check("no policy to start with" in b.wait_record(POLICY_REFUSED)["MESSAGE"], "a message")
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    equal(device.driver, device.home, "driver")


@test
def a_policy_that_others_may_write_is_refused(b):
    b.policy(mode=0o666)
    b.start()
    record = b.wait_record(POLICY_REFUSED)
    check("chmod go-w" in record["MESSAGE"], record["MESSAGE"])


@test
def precedence_of_policy_files(b):
    b.policy(name="lib/policy.json", steps=["reset", "reattach"])
    b.policy(name="etc/policy.json", action="isolate")
    os.mkdir(f"{b.root}/lib/policy.d")
    b.policy([{"match": {}, "action": "ignore"}], name="lib/policy.d/10-a.json")
    os.symlink("/dev/null", f"{b.root}/etc/policy.d/10-a.json")
    b.policy([{"name": "mine", "match": {"address": DEV}, "steps": ["reset"]}], name="etc/policy.d/20-b.json")
    device = b.kernel.add(DEV)
    other = b.kernel.add("0000:02:00.0")
    b.start()
    b.kernel.fence(DEV)
    b.kernel.fence(other.name)
    recovered(b, device)
    message = b.wait_record(ISOLATED, other.name)["MESSAGE"]
    check(f"left isolated (rule default says isolate). To recover it once: smmu-rasctl recover {other.name}" in message,
          message)
    equal(b.steps(), ["reset"], "steps")
