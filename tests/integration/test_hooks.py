# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs before and after a recovery."""

import os
import signal

import fakekernel
from lib.bench import DEV, QUICK, alive, check, equal, recovered, test
from lib.messages import ATTEMPT_FAILED, BEGUN, ISOLATED, POLICY_REFUSED
from test_steps import said, script

OTHER = "0000:02:00.0"


def teller(b, more=""):
    """A hook that writes down what it was told."""
    line = "$SMMU_RAS_WHEN $SMMU_RAS_DEVICE $SMMU_RAS_RESULT $SMMU_RAS_ATTEMPT $SMMU_RAS_DRIVER $SMMU_RAS_REASON"
    return script(b, "tell", f'echo {line} >> {b.root}/told\n{more}\n')


def told(b):
    try:
        with open(f"{b.root}/told") as f:
            return [" ".join(line.split()) for line in f]
    except FileNotFoundError:
        return []


@test
def hooks_frame_a_recovery(b):
    tell = teller(b)
    b.policy(hooks={"before": [{"exec": [tell]}], "after": [{"exec": [tell]}]})
    device = b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/unbind")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "an unbind")
    equal(told(b), [f"before {DEV} 1 virtio-pci atc-timeout"], "what was told before")
    b.kernel.release(hold)
    recovered(b, device)
    b.kernel.wait(lambda: len(told(b)) == 2, "the hook after")
    equal(told(b)[1], f"after {DEV} recovered 1 virtio-pci atc-timeout", "what was told after")


@test
def hooks_hear_of_each_attempt_and_of_one_end(b):
    tell = teller(b)
    b.policy(attempts=2, backoff=QUICK, hooks={"before": [{"exec": [tell]}], "after": [{"exec": [tell]}]})
    device = b.kernel.add(DEV)
    device.reset_result = 25
    b.start()
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED, DEV)
    b.kernel.wait(lambda: len(told(b)) == 3, "the hook after")
    equal([line.split()[0] for line in told(b)], ["before", "before", "after"], "hooks")
    check(" isolated 2 " in told(b)[2], told(b)[2])


@test
def hooks_of_a_rule_that_isolates_tell_of_it(b):
    tell = teller(b)
    b.policy(action="isolate", hooks={"after": [{"exec": [tell]}]})
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    b.kernel.wait(lambda: told(b), "the hook")
    equal(told(b), [f"after {DEV} isolated 0 virtio-pci atc-timeout"], "what was told")
    equal(b.steps(), [], "steps")


@test
def a_hook_that_fails_stops_nothing(b):
    bad = script(b, "bad", "echo oh no >&2\nexit 1\n")
    b.policy(hooks={"before": [{"exec": [bad]}], "after": [{"exec": [bad]}]})
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.kernel.wait(lambda: len(said(b, "exited with status 1: oh no")) == 2, "two warnings")
    check("and the recovery goes on" in said(b, "exited with status 1")[0], "it says so")


@test
def a_hook_can_stop_an_attempt(b):
    veto = script(b, "veto", f"test -e {b.root}/go || {{ echo still draining; exit 75; }}\n")
    b.policy(backoff=QUICK, attempts=1000, hooks={"before": [{"exec": [veto], "on_failure": "stop"}]})
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ATTEMPT_FAILED, DEV, 2)
    check("still draining" in record["MESSAGE"], record["MESSAGE"])
    equal(b.steps(), [], "what was done to the device")
    b.file("go", "")
    recovered(b, device)


@test
def a_hook_that_stops_all_attempts_stops_the_last_resort_too(b):
    veto = script(b, "veto", "exit 75\n")
    b.policy(
        backoff=QUICK, attempts=2, on_exhausted="remove",
        hooks={"before": [{"exec": [veto], "on_failure": "stop"}]},
    )
    b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED, DEV)
    check("exited with status 75" in record["MESSAGE"], record["MESSAGE"])
    equal(b.steps(), [], "what was done to the device")


@test
def a_hook_that_hangs_is_killed(b):
    hang = script(b, "hang", f"sleep 1000 &\necho $! >> {b.root}/children\nwait\n")
    b.policy(
        hooks={"before": [{"exec": [hang], "timeout": "3s"}], "after": [{"exec": [hang], "timeout": "3s"}]}
    )
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.kernel.wait(lambda: len(said(b, "has not ended after 3s and was killed")) == 2, "two warnings")
    with open(f"{b.root}/children") as f:
        children = [int(line) for line in f]
    equal(len(children), 2, "children")
    b.kernel.wait(lambda: not any(alive(pid) for pid in children), "the end of what they left running")


@test
def the_next_recovery_waits_for_hooks_but_not_others(b):
    wait = f"while test ! -e {b.root}/go; do sleep 0.01; done\n"
    slow = script(b, "slow", f"test $SMMU_RAS_DEVICE = {DEV} || exit 0\n{wait}")
    b.policy(rate_limit=False, hooks={"after": [{"exec": [slow]}]})
    device = b.kernel.add(DEV)
    other = b.kernel.add(OTHER)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.kernel.fence(DEV)
    b.kernel.fence(OTHER)
    recovered(b, other)
    b.wait_state("queued")
    equal(len(b.kernel.records(BEGUN, DEV)), 1, "recoveries that have begun")
    b.file("go", "")
    recovered(b, device, 2)


@test
def a_program_that_others_may_write_is_refused_with_the_policy(b):
    tell = teller(b)
    b.policy(hooks={"after": [{"exec": [tell]}]})
    b.start()
    os.chmod(tell, 0o775)
    b.daemon.send_signal(signal.SIGHUP)
    message = b.wait_record(POLICY_REFUSED)["MESSAGE"]
    check(f"users other than root may write {tell} (mode 0775)" in message, message)
    check("defaults.hooks.after[0].exec[0]" in message, message)
    os.chmod(tell, 0o755)
    os.mkdir(f"{b.root}/open")
    os.chmod(f"{b.root}/open", 0o777)
    os.symlink(f"{b.root}/open/../tell", f"{b.root}/link")
    b.policy(hooks={"after": [{"exec": [f"{b.root}/link"]}]})
    b.daemon.send_signal(signal.SIGHUP)
    message = b.wait_record(POLICY_REFUSED, count=2)["MESSAGE"]
    check(f"may write {b.root}/open (mode 0777)" in message, message)
    b.policy(hooks={"after": [{"exec": [f"{b.root}/none"]}]})
    b.daemon.send_signal(signal.SIGHUP)
    message = b.wait_record(POLICY_REFUSED, count=3)["MESSAGE"]
    check("No such file or directory" in message, message)
