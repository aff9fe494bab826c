# SPDX-License-Identifier: GPL-2.0-or-later
"""Attempts, rate limits and descriptors are counted right."""

import os
import resource
import signal

from fakekernel import FENCED
from lib.bench import DEV, QUICK, check, equal, recovered, test
from lib.machine import killed_in
from lib.messages import ISOLATED, POLICY_LOADED, RECOVERED
from test_metrics import wait_for


@test
def rate_limit(b):
    b.policy(rate_limit={"count": 2, "window": "1h"})
    device = b.kernel.add(DEV)
    b.start()
    for i in (1, 2):
        b.kernel.fence(DEV)
        recovered(b, device, i)
    b.kernel.fence(DEV)
    record = b.wait_record(ISOLATED)
    check("left isolated (too often: recovered 2 times within 1h" in record["MESSAGE"], record["MESSAGE"])
    check(f"To recover it once more: smmu-rasctl recover {DEV}" in record["MESSAGE"], record["MESSAGE"])
    equal(device.state, FENCED, "state")


@test
def a_reload_does_not_lift_the_rate_limit(b):
    b.policy(rate_limit={"count": 1, "window": "1h"})
    device = b.kernel.add(DEV)
    b.start()
    b.kernel.fence(DEV)
    recovered(b, device)
    b.kernel.fence(DEV)
    b.wait_record(ISOLATED)
    n = len(b.steps())
    b.daemon.send_signal(signal.SIGHUP)
    b.wait_record(POLICY_LOADED, None, 2)
    # Another device's recovery takes longer than ours would need to begin.
    other = b.kernel.add("0000:02:00.0")
    b.kernel.fence(other.name)
    recovered(b, other)
    equal(b.steps()[n:], [], "steps")
    b.policy(rate_limit={"count": 2, "window": "1h"})
    b.daemon.send_signal(signal.SIGHUP)
    recovered(b, device, 2)


@test
def a_new_fence_after_a_restart_has_all_its_attempts(b):
    b.policy(attempts=1)
    device, hold = killed_in(b, "reset")
    b.kernel.release(hold)
    b.kernel.fence(DEV)
    b.start()
    recovered(b, device)


@test
def no_descriptors_for_a_worker_cost_no_attempt(b):
    b.policy(attempts=1, backoff=QUICK)
    device = b.kernel.add(DEV)
    b.start()
    # The descriptor for the event loop's timers is there from the first recovery on.
    b.kernel.fence(DEV)
    recovered(b, device)
    # What it opens for a moment, to write a file, is not among those that are always open.
    wait_for(b, 'smmu_ras_recoveries_total{result="recovered"}', 1)
    open_fds = {int(fd) for fd in os.listdir(f"/proc/{b.daemon.pid}/fd")}
    used = next(n for n in range(1024) if n not in open_fds)
    before = resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    b.kernel.fence(DEV)
    b.kernel.wait(
        lambda: any("cannot start a worker" in r["MESSAGE"] for r in b.kernel.journal), "a worker that does not start"
    )
    resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE, before)
    recovered(b, device, 2)
    equal(b.wait_record(RECOVERED, DEV, 2)["SMMU_RAS_ATTEMPT"], "1", "attempt")


def mapped_text(pid):
    """{file: [mapped kB, kB of it in memory]} for what a process has mapped to execute."""
    files, name = {}, None
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            words = line.split()
            if "-" in words[0]:
                name = words[5] if words[1].startswith("r-x") and len(words) > 5 and words[5].startswith("/") else None
            elif name and words[0] in ("Size:", "Rss:"):
                files.setdefault(name, [0, 0])[words[0] == "Rss:"] += int(words[1])
    return files


@test
def the_daemon_and_its_libraries_stay_in_memory(b):
    # As in the unit file, or as near as those come who may not have it so; the program and its libraries fit into 8 MiB.
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError:
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < 8 << 20:
            return
    b.policy()
    device = b.kernel.add(DEV)
    b.start()
    with open(f"/proc/{b.daemon.pid}/status", encoding="ascii") as status:
        locked = next(int(line.split()[1]) for line in status if line.startswith("VmLck:"))
    check(locked > 1000, f"{locked} kB are locked")
    files = mapped_text(b.daemon.pid)
    check(any("libsystemd" in name for name in files), f"libraries in {files}")
    equal({name: kb for name, kb in files.items() if kb[0] != kb[1]}, {}, "files of which a part is not in memory")
    # Nor does it keep the daemon from its work.
    b.kernel.fence(DEV)
    recovered(b, device)
