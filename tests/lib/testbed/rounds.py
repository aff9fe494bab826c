# SPDX-License-Identifier: GPL-2.0-or-later
"""Random rounds: some devices wedge in some way under verified I/O, and are recovered in some way, one after the other
or all at once. One device wedged and recovered is a cycle.

In each round hardware, kernel and data have to agree: whoever wedges is fenced (the kernel says so, STE.EATS is
clear), what it writes through stale translations reaches no page, and after its recovery it is no more fenced, has
ATS back, holds no stale translation, and works. What happens depends on the seed only, as far as it is ours to say:
when a device notices is the machine's.
"""

import collections
import random
import threading
import time

from workshop.ui import Failure

from . import calm
from .agent import Agent, Refused
from .bed import patience
from .daemon import STATE
from .proof import ready
from .scenario import check
from .subjects import Device, Function, prove

DEVICES = "nvme:2,virtio-blk:2,virtio-net,igb,group/ats-test*4/ats-test*4,ats-test:2"
# A fenced disk with I/O in flight has 30 s by default, after which its driver resets it in vain and gives it up. What a
# busy host makes of 30 s is not what the rounds are about.
APPEND = ["nvme_core.io_timeout=600"]
# Wedge modes with their weights. `reset-fails` costs the minute for which Linux waits for a device after a reset.
MODES = {"until-reset": 12, "again": 5, "slow": 3, "forever": 4, "reset-late": 2, "reset-fails": 0.4, "by-hand": 2}
# The nvme driver gives a controller up for good that is fenced again while it is set up after a reset, a minute later.
NOT_FOR = {"nvme": ("again", "forever", "reset-fails")}
# All functions of pci-ats-test in a domain wedge in one way, as one page is taken from all of them.
FUNCTION_MODES = {"until-reset": 6, "slow": 1, "by-hand": 1}
# A dozen of them that write every 50 µs, as in the proof of safety, are more than one thread of QEMU's can do.
HAMMER_US = 1000
FLAVOURS = ("strict", "irqs-off", "softirq", "hardirq")
SLOW_ENOUGH = 400  # ms; the SMMU of the bed gives up after 100
# Recoveries with their weights, by kind.
IN_PLACE, BY_BUS, UNBIND, REATTACH = "reset", "bus reset", "unbind, reset, bind", "unbind, reset, reattach, bind"
DISK = {IN_PLACE: 10, BY_BUS: 5, UNBIND: 2, REATTACH: 1}
WAYS = {"nvme": DISK, "virtio-blk": DISK, "virtio-net": {UNBIND: 5, REATTACH: 3, "unbind, bus reset, bind": 3},
        "igb": {UNBIND: 5, REATTACH: 3}, "e1000e": {UNBIND: 5, REATTACH: 3},
        "ats-test": {IN_PLACE: 5, UNBIND: 3, REATTACH: 2}}
DAEMON = 0.08  # of the rounds are smmu-rasd's to recover
AT_ONCE = 0.8  # of the others recover their devices all at once


def pick(dice, weights):
    return dice.choices(list(weights), list(weights.values()))[0]


class Rounds:
    def __init__(self, bed, seed, say=None, modes=None):
        self.bed, self.dice, self.say = bed, random.Random(seed), say or (lambda text: None)
        self.modes = modes or MODES
        self.slow = calm.makes_slow(bed)
        self.agent = Agent(bed)
        self.agent.sh("systemctl stop smmu-rasd")
        if any(known["kind"] == "ats-test" for known in bed.state["devices"]):
            ready(bed, HAMMER_US)
        self.devices = [(Function if known["kind"] == "ats-test" else Device)(self, known)
                        for known in bed.state["devices"]]
        self.domains = collections.defaultdict(list)
        for device in self.devices:
            if isinstance(device, Function):
                self.domains[device.domain].append(device)
        self.blocked, self.cycles, self.tally = 0, 0, collections.Counter()

    def wait(self, what, condition, timeout=30, why=lambda: ""):
        """Waits for a condition; when it does not come, why() is asked for what else there is to say."""
        end = time.monotonic() + timeout * patience()
        while not condition():
            if time.monotonic() > end:
                raise Failure(f"not within {timeout * patience():.0f} s: {what}\n{why()}".rstrip())
            time.sleep(0.02)

    def start_traffic(self):
        for device in self.devices:
            device.start_traffic()
        for device in self.devices:
            device.works()

    # -- one round --

    def plan(self):
        """[(device, mode, way)], and whether they recover all at once."""
        chosen = self.dice.sample(self.devices, self.dice.randint(1, len(self.devices)))
        ways = {domain: pick(self.dice, FUNCTION_MODES) for domain in self.domains}
        daemon = self.dice.random() < DAEMON
        if daemon:  # the driver of the test functions is none that it knows
            chosen = [each for each in chosen if not isinstance(each, Function)] or \
                [each for each in self.devices if not isinstance(each, Function)][:1] or chosen
            daemon = not isinstance(chosen[0], Function)
        planned = []
        for device in chosen:
            if isinstance(device, Function):
                planned.append((device, ways[device.domain], pick(self.dice, WAYS[device.kind])))
                continue
            modes = {name: weight for name, weight in self.modes.items()
                     if name not in NOT_FOR.get(device.kind, ())} or {"until-reset": 1}
            mode, way, device.late = pick(self.dice, modes), pick(self.dice, WAYS[device.kind]), self.dice.random()
            if mode == "again":
                mode = f"again:{self.dice.randint(1, 2)}"
            if daemon:
                # What it does with a device that no reset helps is no part of this.
                mode, way = ("until-reset" if mode not in ("by-hand", "slow") else mode), "smmu-rasd"
            planned.append((device, mode, way))
        return planned, self.dice.random() < AT_ONCE

    def run(self):
        planned, at_once = self.plan()
        self.say("; ".join(f"{device.id} {mode} → {way}" for device, mode, way in planned) + at_once * " (at once)")
        times = [time.monotonic()]
        self.break_all(planned)
        for device, _, _ in planned:
            self.see_fence(device)
        times.append(time.monotonic())
        if planned[0][2] == "smmu-rasd":
            self.leave_to_daemon(planned)
        elif at_once:
            self.all_at_once([threading.Thread(target=self.noting, args=(self.recover, *each)) for each in planned])
        else:
            for each in planned:
                self.recover(*each)
        times.append(time.monotonic())
        for device in self.devices:
            device.mark()
        for members in self.domains.values():
            prove(self.agent, "strict", members)
        for device in self.devices:
            self.see_health(device)
        for device, mode, way in planned:
            self.cycles += 1
            for what in (device.kind, mode.partition(":")[0], way):
                self.tally[what] += 1
        times.append(time.monotonic())
        took = [f"{end - start:.0f} s" for start, end in zip(times, times[1:])]
        self.say(f"{self.cycles} cycles so far; fenced after {took[0]}, recovered after {took[1]}, seen to be well "
                 f"after {took[2]}")

    def all_at_once(self, threads):
        self.problems = []
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        if self.problems:
            raise self.problems[0]

    def noting(self, function, *arguments):
        """What a thread does: its failure is for who waits for it."""
        try:
            function(*arguments)
        except Exception as problem:
            self.problems.append(problem)

    def break_all(self, planned):
        """Who does I/O is found out by that; of the test functions all of a domain are at once, in one flush."""
        for device, mode, _ in planned:
            if not isinstance(device, Function) or mode == "by-hand":
                self.break_it(device, mode)
        for members in self.domains.values():
            wedged = [(device, mode) for device, mode, _ in planned if device in members and mode != "by-hand"]
            if wedged:
                devices, mode = [device for device, _ in wedged], wedged[0][1]
                mode = f"slow:{SLOW_ENOUGH}" if mode == "slow" else mode
                prove(self.agent, self.dice.choice(FLAVOURS), members, devices, mode)

    def break_it(self, device, mode):
        if mode == "by-hand":
            self.agent.ask("fence", device=device.address)
            return
        self.bed.wedge(device.id, {"slow": f"slow:{SLOW_ENOUGH}", "reset-late": "until-reset",
                                   "reset-fails": "until-reset"}.get(mode, mode))

    def see_fence(self, device):
        self.wait(f"{device.id}: the fence", lambda: device.state() == "fenced")
        self.see_blocked(device)

    def see_blocked(self, device):
        check(self.bed.stream(device.id)["eats"] == 0, f"{device.id} is {device.state()}, and its STE.EATS is set")
        overwritten, blocked = self.bed.scribble(device.id)
        check(overwritten == 0, f"{device.id}: {overwritten} pages overwritten through stale translations")
        self.blocked += blocked

    def see_health(self, device):
        before = self.bed.stream(device.id)["inv"]
        device.works()
        check(device.state() == "active", f"{device.id} is {device.state()} after its recovery")
        check(self.bed.hardware(device.id) == "off", f"{device.id}: the device is {self.bed.hardware(device.id)}")
        check(self.bed.stream(device.id)["eats"] == 1, f"{device.id}: STE.EATS is not set after its recovery")
        if not isinstance(device, Function):  # those had theirs in the proof
            self.wait(f"{device.id}: an ATC invalidation", lambda: self.bed.stream(device.id)["inv"] > before)
        overwritten, _ = self.bed.scribble(device.id)
        check(overwritten == 0, f"{device.id}: healthy, and {overwritten} pages overwritten")
        device.data_is_right(errors_allowed=False)

    # -- recovery --

    def leave_to_daemon(self, planned):
        for device, mode, _ in planned:
            if mode == "slow":
                self.bed.release(device.id)  # it answers again; that alone lifts nothing
        self.agent.sh("systemctl start smmu-rasd")
        for device, _, _ in planned:
            self.wait(f"{device.id}: smmu-rasd's recovery", lambda each=device: each.state() == "active", 60)
        for device, _, _ in planned:
            if device.net:
                self.wait(f"{device.id}: its driver",
                          lambda each=device: self.agent.ask("link", path=f"{each.path}/driver") == each.driver)
        # It has to forget them too: after five recoveries within an hour it leaves a device fenced, and a slow machine, or
        # an unlucky seed, gets to six.
        self.agent.sh(f"systemctl stop smmu-rasd; systemctl reset-failed smmu-rasd; rm -rf {STATE}")
        for device, _, _ in planned:
            if device.counts.get("errors"):  # it had to unbind
                device.start_again()

    def reset(self, device, way):
        """A reset as `way` has it; raises Refused when the kernel says that it failed."""
        if "bus reset" in way and "unbind" in way:
            device.write(f"/sys/bus/pci/devices/{device.port()}/reset_subordinate", "1", 180)
            return
        if way == BY_BUS:
            device.write("reset_method", "bus")
        try:
            device.write("reset", "1", 180)
        finally:
            if way == BY_BUS:
                device.write("reset_method", "default")

    def find_anew(self, device):
        """Linux could not give the device its configuration back after the failed reset: it has to be found anew.

        On its own bus: a look at the root bus takes the bus numbers of all ports away for a moment where Linux chose them,
        and DMA and interrupts of devices that are at work get lost then (pci_scan_bridge_extend()).
        """
        device.write("remove", "1", 180)
        check(self.bed.stream(device.id)["eats"] == 0, f"{device.id}: removed, and its STE.EATS is set")
        device.write(f"/sys/class/pci_bus/{device.address[:7]}/rescan", "1", 180)
        self.wait(f"{device.id}: its driver",
                  lambda: self.agent.ask("link", path=f"{device.path}/driver") == device.driver)

    def failing_reset(self, device, comes_back):
        """A reset from which the device does not come back, or only while Linux waits for it."""
        self.bed.wedge(device.id, "reset-fails")
        device.write("reset_method", "flr")
        try:
            number = self.agent.begin("write", path=f"{device.path}/reset", value="1")
            if comes_back:
                # Seen by the device's own eyes: Linux waits for it from the moment of the reset on.
                time.sleep(device.late)
                self.bed.release(device.id)
                self.agent.end(number, 180)
                return True
            try:
                self.agent.end(number, 180)
                raise Failure(f"{device.id}: a reset that failed is said to have succeeded")
            except Refused:
                pass
        finally:
            device.write("reset_method", "default")
        check(device.state() == "fenced", f"{device.id} is {device.state()} after a reset that failed")
        self.see_blocked(device)
        self.bed.release(device.id)
        return False

    def recover(self, device, mode, way):
        taken = "unbind" in way
        if taken:
            device.bind(False)
        self.see_refused(device, taken)
        clean = False
        if mode in ("reset-fails", "reset-late"):
            clean = self.failing_reset(device, mode == "reset-late")
        if mode == "reset-fails":
            self.find_anew(device)
            device.start_again()
            return
        if mode == "slow":
            self.bed.release(device.id)
        tries = 0
        while not clean:
            self.reset(device, way)
            tries += 1
            if mode == "forever" and tries == 1:
                # The reset is over, and the device as wedged as before: whoever uses it is fenced again.
                self.see_fence_again(device, way, taken)
                self.bed.release(device.id)
            elif mode.startswith("again") and self.bed.hardware(device.id) != "off":
                self.see_fence_again(device, way, taken)
            else:
                clean = True
        if taken:
            check(device.state() == "sanitized", f"{device.id} is {device.state()} after a reset, with no driver")
            self.see_blocked(device)
            self.come_back(device, way)
            device.start_again()

    def see_refused(self, device, taken):
        """While it is fenced and was not reset, nothing lifts the fence."""
        try:
            self.agent.ask("reattach", device=device.address)
        except Refused:
            pass
        else:
            raise Failure(f"{device.id}: reattached without a reset")
        if taken:
            try:
                device.bind()
            except Refused:
                return
            raise Failure(f"{device.id}: a driver was bound to a fenced device")

    def see_fence_again(self, device, way, taken):
        """The device is wedged, and its driver comes back to it: in an attach, a probe or later that is found out."""
        if taken:
            try:
                self.come_back(device, way)
            except Refused:
                check(device.state() == "fenced", f"{device.id} is {device.state()}, and a bind was refused")
        self.see_fence(device)
        if taken and self.agent.ask("link", path=f"{device.path}/driver"):
            device.bind(False)

    def come_back(self, device, way):
        if "reattach" in way:
            self.agent.ask("reattach", device=device.address)
        device.bind()

    def finish(self):
        """Ends the traffic; the counts of all readers."""
        self.agent.sh("pkill -TERM verify-io; pkill ping; sleep 1")
        counts = {device.id: device.counts for device in self.devices if device.counts}
        for device in self.devices:
            device.end()
        self.agent.close()
        return counts
