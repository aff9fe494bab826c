# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices of the random rounds (rounds.py): their traffic, what is known of them, and what is done to them."""

import collections
import threading

from .proof import PROOF, number
from .scenario import check

VERIFY = "/usr/local/lib/testbed/verify-io"
# Where a kernel with checkers would do nothing but I/O otherwise, each reader begins a read so often, two of them
# together, and ping sends a packet: somebody waits for an answer when a device wedges, and the rounds get on.
PACE_MS = 200


class Device:
    """One device under test, its traffic, and what is known of it."""

    def __init__(self, rounds, known):
        self.rounds, self.bed, self.agent = rounds, rounds.bed, rounds.agent
        self.id, self.kind, self.address = known["id"], known["kind"], known["address"]
        self.net = known["net"]
        self.driver = self.agent.ask("link", path=f"{self.path}/driver")
        self.counts, self.process, self.before, self.late, self.filled = {}, None, 0, 0, False
        self.readers = None

    @property
    def path(self):
        return f"/sys/bus/pci/devices/{self.address}"

    def start_traffic(self):
        # It yields to whatever recovers a device: what is to be fast is the round.
        if self.net:
            # -p: ping looks at every byte that comes back.
            pause = PACE_MS / 1000 if self.rounds.slow else 0.05
            line = f"while :; do nice -n 19 ping -n -q -c 50 -i {pause} -W 1 -s 1400 -p a5c3 {self.host} 2>&1; done | " \
                   "grep --line-buffered -i 'wrong data\\|dump'"
            self.process = self.bed.start(line)
        else:
            self.disk = self.find_disk()
            if not self.filled:  # once for all: it has to keep what was written
                self.agent.sh(f"{VERIFY} fill /dev/{self.disk}")
                self.filled = True
            how = f"2 1000000 {PACE_MS}" if self.rounds.slow else "1 1000000"
            self.process = self.bed.start(f"echo $$; exec nice -n 19 {VERIFY} read /dev/{self.disk} {how}")
            self.readers = self.process.stdout.readline().strip()  # the number of their process
        self.said, self.counts = collections.deque(maxlen=3), {}
        threading.Thread(target=self._listen, args=(self.process, self.counts, self.said), daemon=True).start()

    @property
    def host(self):
        return self.net.replace("0/24", "2")

    def find_disk(self):
        """The name of the disk: not always the same after a bind, as who still has it open keeps the old one taken."""
        places = f"{self.path}/nvme/nvme*/nvme*n* {self.path}/virtio*/block/*"
        self.rounds.wait(f"{self.id}: the disk", lambda: self.agent.sh(f"ls -d {places} 2>/dev/null").strip())
        return self.agent.sh(f"ls -d {places} 2>/dev/null").strip().rpartition("/")[2]

    def start_again(self):
        """New readers, after the driver was unbound: the old ones have seen errors, as they should, and nothing else."""
        if not self.net:
            self.data_is_right(errors_allowed=True)
            # Not by the disk's name: two disks that are bound at once may exchange theirs, and the other's readers be new.
            self.agent.sh(f"kill -TERM {self.readers}")
            self.process.wait(timeout=60)
            self.start_traffic()

    @staticmethod
    def _listen(process, counts, said):
        for line in process.stdout:
            said.append(line.strip())
            if line.startswith("reads "):
                words = line.split()
                counts |= dict(zip(words[::2], map(int, words[1::2])))

    def data_is_right(self, errors_allowed):
        if self.net:
            check(not self.said, f"{self.id}: wrong data came back: {list(self.said)}")
        else:
            check(self.process.poll() is None, f"{self.id}: the readers have ended: {list(self.said)}")
            check(not self.counts.get("wrong"), f"{self.id}: wrong data was read: {self.counts}")
            check(errors_allowed or not self.counts.get("errors"), f"{self.id}: reads failed: {self.counts}")

    def mark(self):
        self.before = self.counts.get("reads", 0)

    def works(self):
        """Waits until data flow again, since mark()."""
        if self.net:
            self.rounds.wait(f"{self.id}: an answer over the network",
                             lambda: self.agent.ask("sh", command=f"ping -n -c 1 -W 1 {self.host}")[0] == 0)
        else:
            self.rounds.wait(f"{self.id}: the readers to read on", lambda: self.counts.get("reads", 0) > self.before,
                             why=self.where_readers_are)

    def where_readers_are(self):
        """What there is to see of readers that do not read: of them, of the disk's queues, and of the device."""
        said = f"they {'have ended' if self.process.poll() is not None else 'are there'}: {list(self.said)}\n"
        said += self.bed.run(f"head -n 30 /proc/{self.readers}/task/*/stack /sys/block/{self.disk}/inflight "
                             f"{self.path}/virtio*/status {self.path}/enable; setpci -s {self.address} COMMAND; "
                             "grep ITS-PCI /proc/interrupts", check=False, timeout=60).stdout
        with self.bed.qmp() as qmp:
            for path in [each["path"] for each in qmp.command("x-query-virtio") if f"/{self.id}/" in each["path"]]:
                of_device = qmp.command("x-query-virtio-status", path=path)
                said += str({name: of_device[name] for name in ("status", "broken", "isr")}) + "\n"
                for number in range(of_device["num-vqs"]):
                    said += str(qmp.command("x-query-virtio-queue-status", path=path, queue=number)) + "\n"
        return said

    def write(self, name, value, timeout=90):
        path = name if name.startswith("/") else f"{self.path}/{name}"
        self.agent.ask("write", timeout, path=path, value=value)

    def bind(self, on=True):
        self.write(f"/sys/bus/pci/drivers/{self.driver}/{'bind' if on else 'unbind'}", self.address)

    def port(self):
        return self.agent.sh(f"basename $(dirname $(readlink -f {self.path}))").strip()

    def state(self):
        return self.agent.ask("fences").get(self.address, {}).get("state", "active")

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Function(Device):
    """A function of pci-ats-test: it does what its driver's proofs tell it, and nothing between them."""

    def __init__(self, rounds, known):
        super().__init__(rounds, known)
        self.domain = self.agent.ask("link", path=f"{self.path}/iommu_group")

    def start_traffic(self):
        pass

    def start_again(self):
        pass

    def works(self):
        """What prove() says of its domain, at the end of each round."""

    def data_is_right(self, errors_allowed):
        pass


def prove(agent, flavour, members, wedged=(), mode="until-reset"):
    """Has a page taken back from all functions of a domain, of which some wedge: it is untouched, who wedged is cut off
    before the flush has returned, and all others do their DMA."""
    line = (f"flavour={flavour} first={members[0].address} wedge={','.join(each.address for each in wedged)} "
            f"mode={number(mode)}")
    code, said = agent.ask("sh", 300, command=f"echo {line} > {PROOF} && cat {PROOF}")
    check(code == 0, f"{line}: {said}")
    result = dict(word.partition("=")[::2] for word in said.split())
    want = {"damaged": 0, "written": 0, "violations": 0, "late": 0, "devices": len(members), "wedged": len(wedged),
            "cut_off": len(wedged), "healthy": len(members) - len(wedged)}
    check(all(result.get(name) == str(value) for name, value in want.items()), f"{line}: {said}\nis to be {want}")
