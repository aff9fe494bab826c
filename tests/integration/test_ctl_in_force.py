# SPDX-License-Identifier: GPL-2.0-or-later
"""The policy on disk and the one in force: who edited it without a reload is told, wherever the policy is shown."""

import os
import subprocess

import fakekernel
from lib.bench import BINARIES, DEV, QUICK, check, equal, test
from lib.bus import MANAGER, ROOT, Bus
from lib.messages import POLICY_LOADED, POLICY_REFUSED
from lib.schema import conforms

RULE = [{"name": "mine", "match": {"driver": "nvme"}, "action": "isolate"}]
RELOAD = "systemctl reload smmu-rasd"
BAD = '{"rules": 3}'


def words(b, *args, status=0):
    """What it prints, without the line breaks."""
    done = b.ctl(*args, status=status)
    return " ".join((done.stdout + done.stderr).split())


def everywhere(b, *wanted):
    """In each place that shows the policy there is, or (nothing @wanted) is not, a remark."""
    for args in (["status"], ["list"], ["show", DEV], ["policy", "show"], ["policy", "explain", DEV]):
        text = words(b, *args)
        if not wanted:
            check(RELOAD not in text, f"{args}: {text}")
        for w in wanted:
            check(w in text, f"{args}: {w!r} is not in {text}")
    return conforms(b.ctl("list", "--json").stdout, "list")["policy"]["in_force"]


@test
def an_edited_policy_is_not_in_force(b):
    b.kernel.add(DEV, driver="nvme")
    b.policy(RULE)
    found = conforms(b.ctl("list", "--json").stdout, "list")["policy"]["in_force"]
    equal(found["standing"], None, "without a daemon nobody knows")
    b.start()
    b.wait_record(POLICY_LOADED)
    found = everywhere(b)
    equal(found["standing"], "in-force", "after the start")
    equal(found["digest"], conforms(b.ctl("policy", "show", "--json").stdout, "policy")["digest"], "digest")
    b.policy(RULE, attempts=7)
    changed = everywhere(b, "he policy on disk was changed at 20", "goes by the one that it read at 20", RELOAD)
    equal([changed["standing"], changed["read"]], ["changed", found["read"]], "after an edit")
    conforms(b.ctl("status", "--json").stdout, "status")
    conforms(b.ctl("show", DEV, "--json").stdout, "show")
    conforms(b.ctl("policy", "explain", DEV, "--json").stdout, "explain")
    b.kernel.fence(DEV)
    b.wait_state("isolated")
    check("was changed at" in words(b, "list"), "below a table")
    os.kill(b.daemon.pid, 1)
    b.wait_record(POLICY_LOADED, count=2)
    check(RELOAD not in words(b, "list"), "after the reload")
    # A drop-in that was taken away, or another file with an older time, is a change as well.
    b.policy(RULE)
    os.utime(f"{b.root}/etc/policy.json", (1, 1))
    os.utime(f"{b.root}/etc", (1, 1))
    os.utime(f"{b.root}/etc/policy.d", (1, 1))
    check("is another one by now" in words(b, "policy", "show"), "an older time")
    # The same bytes again are the same policy, whenever they were written.
    b.policy(RULE, attempts=7)
    check(RELOAD not in words(b, "policy", "show"), "the same again")
    b.kill()
    b.policy(RULE)
    check(RELOAD not in words(b, "policy", "show"), "of a daemon that is not there")


@test
def a_refused_policy_is_told_until_it_is_read_again(b):
    b.kernel.add(DEV, driver="nvme")
    b.policy(RULE)
    b.start()
    b.file("etc/policy.json", BAD)
    text = words(b, "list")
    check("goes by the one that it read at" in text and "Until it is mended" in text, text)
    os.kill(b.daemon.pid, 1)
    b.wait_record(POLICY_REFUSED)
    # Mended, but nobody has told the daemon.
    b.policy(RULE)
    equal(everywhere(b, "had to refuse it at", RELOAD)["standing"], "refused", "after it was mended")
    os.kill(b.daemon.pid, 1)
    b.wait_record(POLICY_LOADED, count=2)
    equal(everywhere(b)["standing"], "in-force", "after the reload")
    # The next daemon has only the one that was kept, and knows when it was read.
    b.file("etc/policy.json", BAD)
    b.kill()
    b.start()
    b.wait_record(POLICY_REFUSED, count=2)
    text = words(b, "list")
    check("goes by the one that it read at" in text, text)
    b.policy(RULE)
    equal(everywhere(b, "had to refuse it at", RELOAD)["standing"], "refused", "with the policy that was kept")
    # And one that has none says so.
    b.kill()
    os.unlink(f"{b.root}/kept/policy.kept")
    b.file("etc/policy.json", BAD)
    b.start()
    b.wait_record(POLICY_REFUSED, count=3)
    check("has none to go by: it leaves all devices fenced" in words(b, "list"), words(b, "list"))


@test
def a_busy_device_counts_more_than_a_bad_policy(b):
    device = b.kernel.add(DEV)
    b.policy(backoff=QUICK)
    hold = b.kernel.hold(f"{DEV}/reset")
    b.start()
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.wait_step("reset")
    b.file("etc/policy.json", BAD)
    text = words(b, "status", status=10)
    check(text.startswith("1 device is being recovered; the policy on disk has a mistake: "), text)
    conforms(b.ctl("status", "--json", status=10).stdout, "status")
    text = b.ctl("list").stdout
    equal(text.count("policy.json:1:11"), 1, f"the mistake in {text}")
    b.kernel.release(hold)
    b.wait_state("idle")
    equal(device.driver, device.home, "driver")
    text = words(b, "status", status=12)
    check(text.startswith("no device is fenced; the policy on disk has a mistake: "), text)


@test
def a_policy_that_only_root_may_read_has_no_mistake(b):
    b.kernel.add(DEV)
    b.policy(mode=0o600)
    b.start()
    other = []
    if os.geteuid() == 0:
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chmod(b.root, 0o755)
        os.chmod(f"{b.root}/kernel", 0o777)
        # By proc_locks(5) everybody sees that the daemon runs.
        lock = os.stat(f"{b.root}/run/lock")
        os.makedirs(f"{b.root}/proc", exist_ok=True)
        where = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        b.file("proc/locks", f"1: OFDLCK  ADVISORY  WRITE -1 {where} 0 EOF\n")
    else:
        os.chmod(f"{b.root}/etc/policy.json", 0)
    for verb, wanted in (("status", "all is well; "), ("list", "only root can read it")):
        done = subprocess.run([*other, f"{BINARIES}/smmu-rasctl", verb], env=b.env, capture_output=True, text=True)
        equal(done.returncode, 0, done.stdout + done.stderr)
        check(wanted in done.stdout, done.stdout)


@test
def the_bus_tells_which_policy_is_in_force(b):
    b.kernel.add(DEV)
    b.policy(RULE)
    with Bus(b) as bus:
        bus.start()
        b.start()
        bus.wait_on_bus()
        digest, read = bus.get(ROOT, MANAGER, "PolicyDigest", "PolicyTime")
        equal(digest, conforms(b.ctl("policy", "show", "--json").stdout, "policy")["digest"], "digest")
        b.policy(RULE, attempts=7)
        equal(bus.get(ROOT, MANAGER, "PolicyDigest"), digest, "digest before the reload")
        monitor = bus.monitor("type='signal',sender='org.smmuras1'")
        b.ctl("status")
        os.kill(b.daemon.pid, 1)
        monitor.wait(lambda _: any("PolicyDigest" in c for c in bus.changes(monitor, ROOT)), "the change")
        after, later = bus.get(ROOT, MANAGER, "PolicyDigest", "PolicyTime")
        check(after != digest and later > read, f"{digest} {after} {read} {later}")
