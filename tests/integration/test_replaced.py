# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that vanish, and others that come to their places."""

import signal

import fakekernel
from lib.bench import DEFAULT_STEPS, DEV, QUICK, check, equal, recovered, stop, test
from lib.machine import replace, untouched
from lib.messages import ISOLATED, RECOVERED


@test
def removed_in_mid_recovery(b):
    b.kernel.add(DEV)
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kernel.remove(DEV)
    b.kernel.wait(lambda: b.state() is None, "the end of its record")
    check(not b.kernel.records(ISOLATED), "nothing is isolated")
    again = b.kernel.add("0000:09:00.0")
    b.kernel.fence(again.name)
    recovered(b, again)


@test
def another_card_in_mid_recovery_owes_nothing_to_the_old_one(b):
    b.policy(backoff=QUICK, attempts=1)
    old = b.kernel.add(DEV, driver="olddrv")
    old.write("driver_override", "olddrv")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    # It reads of both at once, before the old worker can have ended.
    stop(b.daemon.pid)
    with b.kernel.lock:
        new = replace(b, old)
        b.kernel.fence(DEV)
        # The old worker is killed in its write, which never happens.
        b.kernel.holds.remove(hold)
    b.daemon.send_signal(signal.SIGCONT)
    recovered(b, new)
    untouched(new)
    equal(b.wait_record(RECOVERED)["SMMU_RAS_ATTEMPT"], "1", "attempt")


@test
def another_card_while_the_daemon_was_dead(b):
    old = b.kernel.add(DEV, driver="olddrv")
    old.write("driver_override", "olddrv")
    b.start()
    hold = b.kernel.hold(f"{DEV}/reset")
    b.kernel.fence(DEV)
    check(hold.arrived.wait(fakekernel.PATIENCE), "a reset")
    b.kill()
    b.kernel.wait(lambda: not hold.waiting, "the end of the worker")
    b.kernel.release(hold)
    new = replace(b, old)
    n = len(b.steps())
    b.start()
    b.kernel.fence(DEV)
    recovered(b, new)
    untouched(new)
    equal(b.steps()[n:], DEFAULT_STEPS, "steps")


@test
def another_card_has_no_history(b):
    b.policy(rate_limit={"count": 1, "window": "1h"})
    old = b.kernel.add(DEV, driver="olddrv")
    b.start()
    b.kernel.fence(DEV)
    recovered(b, old)
    new = replace(b, old)
    b.kernel.fence(DEV)
    recovered(b, new, 2)
    untouched(new)
