# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel of Python: devices in a temporary sysfs, and the iommu-ras family on a socket.

It speaks real generic netlink bytes (the numbers are those of include/uapi/linux/iommu_ras.h) and
does to a device what the kernel does: a fence blocks, only a successful reset sanitizes, only an
attach unfences. A test can hold any write to sysfs for as long as it likes, which is how it stands
still at a boundary between two steps; nothing here sleeps to be in time.
"""

import array
import errno
import fcntl
import fnmatch
import mmap
import os
import random
import select
import shutil
import socket
import struct
import termios
import threading
import time

FAMILY = 0x21
GROUP = 7
NOTIFY_GROUP = 16
GENL_ID_CTRL = 0x10
JOIN = 0xFFFE

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 1, 2, 4, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200

CTRL_CMD_NEWFAMILY, CTRL_CMD_DELFAMILY, CTRL_CMD_GETFAMILY = 1, 2, 3

ACTIVE, FENCED, SANITIZED = 1, 2, 3
REASONS = {"atc-timeout": 1, "sync-timeout": 2, "reset-failed": 3, "administrative": 4}

CMD_GET, CMD_FENCE, CMD_REATTACH = 1, 2, 3
NTF_FENCED, NTF_SANITIZED, NTF_UNFENCED, NTF_REMOVED = 4, 5, 6, 7


def attr(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + b"\0" * (-len(data) % 4)


def attr_u32(kind, value):
    return attr(kind, struct.pack("=I", value))


def attr_u64(kind, value):
    return attr(kind, struct.pack("=Q", value))


def attr_str(kind, value):
    return attr(kind, value.encode() + b"\0")


def parse_attrs(data):
    attrs = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        attrs[kind] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return attrs


def message(kind, flags, seq, payload):
    data = struct.pack("=IHHII", 16 + len(payload), kind, flags, seq, 0) + payload
    return data + b"\0" * (-len(data) % 4)


def genl(kind, flags, seq, cmd, attrs):
    return message(kind, flags, seq, struct.pack("=BBH", cmd, 1, 0) + attrs)


def unread(sock):
    """Bytes, with what the kernel keeps of them, that the other end has not read yet."""
    size = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, size)
    return size[0]


def closed(sock):
    """Whether the other end has ended, noticed or not."""
    if sock.fileno() < 0:
        return True
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


# Seconds until something that is waited for is taken for something that never comes.
PATIENCE = float(os.environ.get("SMMU_RAS_TEST_PATIENCE", "60"))
# Milliseconds that anything here, or in the programs under test (fake-host.c), may be late.
JITTER = float(os.environ.get("SMMU_RAS_TEST_JITTER", "0"))


def dawdle():
    if JITTER and random.random() < 0.5:
        time.sleep(random.random() * JITTER / 1000)


def put(path, text, mode=0o644):
    """Who reads it meanwhile has the old text or the new one, as from the kernel."""
    new = f"{path}.{threading.get_ident()}.put"
    with open(new, "w") as f:
        f.write(text)
    os.chmod(new, mode)
    os.replace(new, path)


class Arrival(threading.Event):
    """Something that a test waits for, and then goes on at its own pace."""

    def wait(self, timeout=PATIENCE):
        happened = super().wait(timeout)
        dawdle()
        return happened


class Device:
    def __init__(self, kernel, name, driver, group, methods):
        self.kernel = kernel
        self.name = name
        self.group = group
        self.home = driver  # for tests to compare with
        self.state = ACTIVE
        self.fence_id = 0
        self.reason = "atc-timeout"
        self.fence_time = 0
        self.fence_count = 0
        self.event_seq = 0
        self.supported = methods.split()
        self.reset_result = 0  # errno of the next resets
        self.failures = 0  # so many of the next resets fail
        self.refences = 0  # how often it wedges again, right after it is unfenced
        self.offspring = []  # (path below the device, class, {attribute: text}) that its driver makes
        self.barren = False  # its driver makes nothing of it
        self.vfs = None  # the names of the virtual functions that it can have
        self.probed_by = driver  # who takes it when the kernel finds it
        self.lost = False  # nobody finds it any more, once it is removed
        self.device_id = "0x0010"
        self.path = f"{kernel.sys}/devices/pci0000:00/{name}"
        self.appear()

    def appear(self):
        """The kernel has found it, and knows nothing about an earlier life."""
        kernel = self.kernel
        os.makedirs(self.path)
        os.makedirs(f"{kernel.sys}/class/pci_bus/{self.name[:7]}", exist_ok=True)
        os.makedirs(f"{kernel.sys}/kernel/iommu_groups/{self.group}", exist_ok=True)
        os.symlink(f"../../../kernel/iommu_groups/{self.group}", f"{self.path}/iommu_group")
        self.write("vendor", "0x1b36")
        self.write("device", self.device_id)
        self.write("class", "0x010802")
        self.write("driver_override", "(null)")
        self.write("reset_method", " ".join(self.supported))
        self.write("reset", "")
        if self.vfs is not None:
            self.can_have_vfs(self.vfs)
        os.symlink(f"../../../devices/pci0000:00/{self.name}", f"{kernel.sys}/bus/pci/devices/{self.name}")
        self.state = ACTIVE
        self.fence_id = 0
        self.fence_count = 0
        self.event_seq = 0
        if self.probed_by:
            self.bind(self.probed_by)

    def vanish(self):
        if self.driver:
            self.unbind()
        os.unlink(f"{self.kernel.sys}/bus/pci/devices/{self.name}")
        # Not deleted: the next directory is to have another inode, as in the kernel.
        os.rename(self.path, f"{self.path}.gone{time.monotonic_ns()}")

    def write(self, name, text):
        put(f"{self.path}/{name}", text + "\n")

    def read(self, name):
        with open(f"{self.path}/{name}") as f:
            return f.read().strip()

    @property
    def driver(self):
        try:
            return os.path.basename(os.readlink(f"{self.path}/driver"))
        except FileNotFoundError:
            return None

    def bind(self, driver):
        os.makedirs(f"{self.kernel.sys}/bus/pci/drivers/{driver}", exist_ok=True)
        os.symlink(f"../../../bus/pci/drivers/{driver}", f"{self.path}/driver")
        if not self.barren:
            self.bear()

    def unbind(self):
        os.unlink(f"{self.path}/driver")
        for path, *_ in self.offspring:
            shutil.rmtree(f"{self.path}/{path.split('/')[0]}", ignore_errors=True)
        self.set_vfs(0)

    def has(self, path, subsystem, attributes=None):
        """What its driver makes of it, now and whenever it is bound: has("nvme/nvme0", "nvme")."""
        self.offspring.append((path, subsystem, attributes or {}))
        self.bear()

    def bear(self):
        for path, subsystem, attributes in self.offspring:
            os.makedirs(f"{self.path}/{path}", exist_ok=True)
            for name, text in attributes.items():
                self.write(f"{path}/{name}", text)
            # By this it is found, and then it has its attributes.
            if not os.path.lexists(f"{self.path}/{path}/subsystem"):
                os.symlink(f"/sys/class/{subsystem}", f"{self.path}/{path}/subsystem")
        self.kernel.announce()

    def can_have_vfs(self, names):
        self.vfs = names
        self.write("sriov_numvfs", "0")
        self.write("sriov_drivers_autoprobe", "1")

    def set_vfs(self, n, driver="virtio-pci"):
        """Makes or removes its virtual functions; @driver is who takes those that nobody else is to have."""
        if self.vfs is None:
            return
        have = int(self.read("sriov_numvfs"))
        for i, name in enumerate(self.vfs):
            if i < have and n == 0:
                self.kernel.remove(name)
                shutil.rmtree(f"{self.kernel.sys}/devices/pci0000:00/{name}")
                os.unlink(f"{self.path}/virtfn{i}")
            elif i < n and have == 0:
                probed = self.read("sriov_drivers_autoprobe") == "1"
                vf = self.kernel.add(name, driver=driver if probed else None)
                os.symlink(f"../{self.name}", f"{vf.path}/physfn")
                os.symlink(f"../{name}", f"{self.path}/virtfn{i}")
        self.write("sriov_numvfs", str(n))

    def may_be_probed(self):
        """As pci_device_can_probe() in Linux has it: a virtual function that is meant for nobody in particular is not
        bound, not even by hand, while nobody is to probe such functions."""
        physfn = f"{self.path}/physfn"
        if not os.path.islink(physfn) or self.read("driver_override") not in ("", "(null)"):
            return True
        owner = self.kernel.devices[os.path.basename(os.readlink(physfn))]
        path = f"{owner.path}/sriov_drivers_autoprobe"
        return not os.path.exists(path) or owner.read("sriov_drivers_autoprobe") == "1"

    def attrs(self, seq):
        data = b""
        if seq:
            data += attr_u64(2, seq)
        if self.fence_id:
            data += attr_u64(3, self.fence_id)
        data += attr_str(4, "pci") + attr_str(5, self.name) + attr_str(6, "smmu3.0x9050000")
        data += attr_u32(7, self.group) + attr_u32(8, 0x100) + attr_u32(8, 0x101)
        if self.driver:
            data += attr_str(9, self.driver)
        data += attr_u32(10, REASONS[self.reason]) + attr_u32(11, self.state)
        data += attr_u64(12, self.fence_time) + attr_u32(13, self.fence_count) + attr_u64(14, 0)
        return data


class Hold:
    """A write to sysfs, or a netlink command, that stands still until the test lets it go."""

    def __init__(self, pattern, done):
        self.pattern = pattern
        self.done = done  # it has happened, and only the answer is held
        self.arrived = Arrival()
        self.waiting = []  # (connection, action)


class Kernel:
    def __init__(self, root, path, has_family=True):
        self.root = root
        self.sys = f"{root}/sys"
        self.has_family = has_family
        self.devices = {}
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.seq = 0
        self.fences = 0
        self.writes = []  # (device, attribute) in the order in which they began
        self.journal = []  # dicts
        self.holds = []
        self.away = {}  # removed through sysfs, and found again by a scan
        self.slots = {}  # name: what its devices' names begin with
        self.drop_events = False
        self.room = 0  # bytes that wait for those who subscribe; 0: plenty
        self.congested = set()  # fds of those for whom there was none
        self.overruns = 0
        self.sk_err = {}  # fd: a byte in memory that we share with who listens
        with open(f"{root}/overrun", "wb") as f:
            f.write(b"\0")
        os.chmod(f"{root}/overrun", 0o666)
        self.boundaries = 0  # so many times something was about to be done, or had been done
        self.stop_at = None  # the one of them at which everything stands still
        self.stopped = Arrival()
        self.go_on = None
        self.dawdles = True  # if anything does
        self.dumps = 0
        self.actions = []  # called in the kernel's thread
        for name in ("bus/pci/devices", "bus/pci/drivers", "class/block", "class/net"):
            os.makedirs(f"{self.sys}/{name}")
        os.makedirs(f"{root}/proc/self/net")
        for name in ("self/mountinfo", "swaps", "self/net/route"):
            open(f"{root}/proc/{name}", "w").close()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(128)
        self.connections = {}  # fd -> [socket, purpose, groups]
        self.wake_r, self.wake_w = os.pipe()
        self.stopping = False
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    # --- for the tests ---------------------------------------------------------------------------

    def stop(self):
        self.stopping = True
        os.write(self.wake_w, b"x")
        self.thread.join()
        for connection in self.connections.values():
            connection[0].close()
        self.listener.close()
        os.close(self.wake_r)
        os.close(self.wake_w)

    def add(self, name, driver="virtio-pci", group=None, methods="flr bus"):
        with self.lock:
            device = Device(self, name, driver, group or 10 + len(self.devices), methods)
            self.devices[name] = device
            return device

    def fence(self, name, reason="atc-timeout"):
        with self.lock:
            self._fence(self.devices[name], reason)

    def remove(self, name):
        with self.lock:
            device = self.devices.pop(name)
            os.unlink(f"{self.sys}/bus/pci/devices/{name}")
            if device.state != ACTIVE:
                self._event(NTF_REMOVED, device)

    def slot(self, name, devices, power=True):
        """A slot for all devices whose names begin with @devices, such as "0000:01:00"."""
        with self.lock:
            self.slots[name] = devices
            os.makedirs(f"{self.sys}/bus/pci/slots/{name}")
            for attribute, text in (("address", devices), ("power", "1"))[: 2 if power else 1]:
                put(f"{self.sys}/bus/pci/slots/{name}/{attribute}", text + "\n")

    def hold(self, pattern, done=False):
        """Holds what fits @pattern, "0000:01:00.0/reset" or "0000:01:00.0/reattach"."""
        with self.lock:
            hold = Hold(pattern, done)
            self.holds.append(hold)
            return hold

    def release(self, hold):
        with self.lock:
            self.holds.remove(hold)
            for connection, action in hold.waiting:
                action()

    def all_is_read(self):
        """Whether those who subscribed have read all events."""
        with self.lock:
            return not any(unread(sock) for sock, _, groups in self.connections.values() if GROUP in groups)

    def family_appears(self):
        with self.lock:
            self.has_family = True
            self._send_group(NOTIFY_GROUP, self._family(0))

    def wait(self, predicate, what, timeout=PATIENCE):
        """Waits until @predicate, which looks at this kernel, holds. @what is text, or a function that makes it."""
        end = time.monotonic() + timeout
        with self.changed:
            while not predicate():
                left = end - time.monotonic()
                if left <= 0:
                    lines = "\n  ".join(r.get("MESSAGE", "") for r in self.journal[-30:])
                    text = what() if callable(what) else what
                    raise AssertionError(f"waited {timeout} s for {text}; the journal:\n  {lines}")
                # Not everything that is waited for passes through here: files are looked at again.
                self.changed.wait(min(left, 0.02))
        dawdle()

    def records(self, message_id, device=None):
        with self.lock:
            return [
                r
                for r in self.journal
                if r.get("MESSAGE_ID") == message_id
                and (device is None or r.get("SMMU_RAS_DEVICE") == device)
            ]

    # --- what the kernel does --------------------------------------------------------------------

    def _event(self, command, device):
        self.seq += 1
        device.event_seq = self.seq
        if not self.drop_events:
            self._send_group(GROUP, genl(FAMILY, 0, 0, command, device.attrs(self.seq)))
        self.changed.notify_all()

    def _fence(self, device, reason):
        self.fences += 1
        device.fence_id = self.fences
        device.reason = reason
        device.state = FENCED
        device.fence_count += 1
        device.fence_time = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._event(NTF_FENCED, device)

    def _sanitize(self, device):
        if device.state != FENCED:
            return
        device.state = SANITIZED
        self._event(NTF_SANITIZED, device)

    def _attach(self, device):
        if device.state != SANITIZED:
            return
        device.state = ACTIVE
        self._event(NTF_UNFENCED, device)
        if device.refences > 0:
            device.refences -= 1
            self._fence(device, "atc-timeout")

    def _take_away(self, device):
        self.away[device.name] = self.devices.pop(device.name)
        fenced = device.state != ACTIVE
        device.vanish()
        if fenced:
            self._event(NTF_REMOVED, device)

    def _find(self, name):
        if not self.away[name].lost:
            self.devices[name] = self.away.pop(name)
            self.devices[name].appear()

    def _switch(self, slot, value):
        path = f"{self.sys}/bus/pci/slots/{slot}/power"
        if not os.path.exists(path):
            return errno.ENOENT
        for name in [n for n in (self.devices, self.away)[value == "1"] if n.startswith(self.slots[slot])]:
            if value == "1":
                self._find(name)
            else:
                self._take_away(self.devices[name])
        put(path, value + "\n")
        return 0

    def _sysfs_write(self, path, value):
        """Returns an errno."""
        relative = os.path.relpath(path, f"{self.sys}/bus/pci")
        parts = relative.split("/")
        if parts[0] == "drivers":
            device = self.devices.get(value)
            if not device or not os.path.isdir(f"{self.sys}/bus/pci/drivers/{parts[1]}"):
                return errno.ENODEV if not device else errno.ENOENT
            if device.driver or device.state == FENCED:
                return errno.EBUSY
            if not device.may_be_probed():
                return errno.ENODEV
            device.bind(parts[1])
            self._attach(device)
            return 0
        if parts[-1] == "rescan":
            if parts[-2] != "pci" and not os.path.isdir(f"{self.sys}/class/pci_bus/{parts[-2]}"):
                return errno.ENOENT
            for name in list(self.away):
                if parts[-2] == "pci" or name.startswith(parts[-2]):
                    self._find(name)
            return 0
        if parts[0] == "slots":
            return self._switch(parts[1], value)
        device = self.devices.get(parts[1])
        if not device:
            return errno.ENOENT
        if parts[2] == "remove":
            self._take_away(device)
        elif parts[2:] == ["driver", "unbind"]:
            if not device.driver:
                return errno.ENOENT
            device.unbind()
        elif parts[2] == "reset":
            if device.reset_result:
                return device.reset_result
            if device.failures:
                device.failures -= 1
                return errno.ENOTTY
            self._sanitize(device)
            if device.driver:
                self._attach(device)
        elif parts[2] == "reset_method":
            methods = device.supported if value == "default" else value.split()
            if any(m not in device.supported for m in methods):
                return errno.EINVAL
            device.write("reset_method", " ".join(methods))
        elif parts[2] == "sriov_numvfs" and device.vfs is not None:
            if not device.driver or int(value) > len(device.vfs):
                return errno.ENOENT if not device.driver else errno.ERANGE
            if int(value) and device.read("sriov_numvfs") != "0":
                return errno.EBUSY
            device.set_vfs(int(value))
        elif parts[2] == "sriov_drivers_autoprobe" and device.vfs is not None:
            device.write("sriov_drivers_autoprobe", value)
        elif parts[2] == "driver_override":
            device.write("driver_override", value.strip() or "(null)")
        else:
            return errno.EACCES
        return 0

    def _label(self, path, value):
        parts = os.path.relpath(path, f"{self.sys}/bus/pci").split("/")
        if parts[0] == "drivers":
            return value, parts[2]
        if parts[-1] == "rescan":
            return parts[-2], "rescan"
        if parts[0] == "slots":
            return f"slot {parts[1]}", f"power={value}"
        return parts[1], parts[-1]

    def announce(self):
        """A change of some device, as the kernel's uevents tell it."""
        for sock, purpose, _ in list(self.connections.values()):
            if purpose == "U":
                self._send(sock, b"change")

    def clock_jumps(self):
        """Somebody set the wall clock, or the machine was suspended and resumed."""
        for sock, purpose, _ in list(self.connections.values()):
            if purpose == "C":
                self._send(sock, b"j")

    # --- netlink ---------------------------------------------------------------------------------

    def _family(self, seq, name="iommu-ras", family=FAMILY, group_name="events", group=GROUP):
        groups = attr(1, attr_u32(2, group) + attr_str(1, group_name))
        attrs = attr_str(2, name) + attr(1, struct.pack("=H", family)) + attr_u32(3, 1)
        return genl(GENL_ID_CTRL, 0, seq, CTRL_CMD_NEWFAMILY, attrs + attr(7, groups))

    def _send(self, sock, data):
        try:
            sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass

    def _send_group(self, group, data):
        for fd, (sock, _, groups) in list(self.connections.items()):
            if group in groups:
                self._multicast(fd, sock, data)

    def _multicast(self, fd, sock, data):
        """As af_netlink.c: who does not read is told once that it was too late, and nothing more before all is read."""
        if fd in self.congested:
            if unread(sock):
                return
            self.congested.remove(fd)
        try:
            sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self.congested.add(fd)
            self.overruns += 1
            self.sk_err[fd][0] = 1
        except OSError:
            pass

    def _join(self, connection, group):
        sock, _, groups = connection
        groups.add(group)
        with open(f"{self.root}/overrun", "r+b") as f:
            self.sk_err[sock.fileno()] = mmap.mmap(f.fileno(), 1)
        if self.room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.room)

    def _error(self, sock, seq, number, text=None, request=b""):
        payload = struct.pack("=i", -number) + request[:16].ljust(16, b"\0")
        flags = NLM_F_CAPPED
        if text:
            flags |= NLM_F_ACK_TLVS
            payload += attr_str(1, text)
        self._send(sock, message(NLMSG_ERROR, flags, seq, payload))

    def _netlink(self, connection, data):
        sock = connection[0]
        length, kind, flags, seq, _ = struct.unpack_from("=IHHII", data)
        if kind == JOIN:
            self._join(connection, *struct.unpack_from("=I", data, 16))
            return
        command = data[16]
        attrs = parse_attrs(data[20:length])
        if kind == GENL_ID_CTRL and command == CTRL_CMD_GETFAMILY:
            name = attrs[2].rstrip(b"\0").decode()
            if name == "nlctrl":
                self._send(sock, self._family(seq, "nlctrl", GENL_ID_CTRL, "notify", NOTIFY_GROUP))
                self._error(sock, seq, 0)
            elif name == "iommu-ras" and self.has_family:
                self._send(sock, self._family(seq))
                self._error(sock, seq, 0)
            else:
                self._error(sock, seq, errno.ENOENT)
            return
        assert kind == FAMILY, kind
        if flags & NLM_F_DUMP == NLM_F_DUMP:
            self.dumps += 1
            for device in self.devices.values():
                if device.state != ACTIVE:
                    data = genl(FAMILY, NLM_F_MULTI, seq, CMD_GET, device.attrs(device.event_seq))
                    self._send(sock, data)
            self._send(sock, message(NLMSG_DONE, NLM_F_MULTI, seq, struct.pack("=i", 0)))
            return
        device = self.devices.get(attrs[5].rstrip(b"\0").decode())
        if not device:
            self._error(sock, seq, errno.ENODEV, "no such device behind an IOMMU", data)
        elif command == CMD_GET:
            self._send(sock, genl(FAMILY, 0, seq, CMD_GET, device.attrs(device.event_seq)))
            self._error(sock, seq, 0)
        elif command == CMD_FENCE:
            self._fence(device, "administrative")
            self._error(sock, seq, 0)
        elif command == CMD_REATTACH:
            self._held(
                (device.name, "reattach"),
                connection,
                lambda: self._reattach(device),
                lambda result: self._error(sock, seq, *result),
            )

    def _reattach(self, device):
        if device.state == SANITIZED:
            self._attach(device)
            return (0,)
        if device.state == FENCED:
            return errno.EBUSY, "the device was not reset since it was fenced"
        return errno.EALREADY, "the device is not fenced"

    # --- connections -----------------------------------------------------------------------------

    def _boundary(self, go_on):
        """Counts one. Returns True when it is the one to stop at; then @go_on is for later."""
        self.boundaries += 1
        if self.boundaries != self.stop_at:
            return False
        self.go_on = go_on
        self.stopped.set()
        self.changed.notify_all()
        return True

    def release_boundary(self):
        with self.lock:
            self.stop_at = None
            self.go_on()

    def _performed(self, perform, answer):
        result = perform()
        if not self._boundary(lambda: answer(result)):
            answer(result)

    def _state_file(self, sock):
        """The daemon is about to replace, or has replaced, a file in /run/smmu-rasd."""
        if not self._boundary(lambda: self._send(sock, b"g")):
            self._send(sock, b"g")

    def _held(self, label, connection, perform, answer):
        self.writes.append(label)
        for hold in self.holds:
            if fnmatch.fnmatch("/".join(label), hold.pattern):
                if hold.done:
                    result = perform()
                    hold.waiting.append((connection, lambda: answer(result)))
                else:
                    hold.waiting.append((connection, lambda: answer(perform())))
                hold.arrived.set()
                break
        else:
            sock = connection[0]
            if not self._boundary(lambda: closed(sock) or self._performed(perform, answer)):
                self._performed(perform, answer)
        self.changed.notify_all()

    def _incoming(self, fd):
        connection = self.connections[fd]
        sock, purpose, _ = connection
        data = sock.recv(65536)
        if not data:
            # Who waited in a hold has died; like a real worker in the kernel, it does not take
            # back what it began. Tests that want that call release().
            for hold in self.holds:
                hold.waiting = [w for w in hold.waiting if w[0] is not connection]
            sock.close()
            del self.connections[fd]
            self.congested.discard(fd)
        elif purpose is None:
            connection[1] = data.decode()
        elif purpose == "N":
            self._netlink(connection, data)
        elif purpose == "W":
            path, value = data.decode().split("\0", 1)
            self._held(
                self._label(path, value),
                connection,
                lambda: self._sysfs_write(path, value),
                lambda result: self._send(sock, struct.pack("=i", result)),
            )
        elif purpose == "S":
            self._state_file(sock)
        elif purpose == "L":
            fields = [f for f in data.decode().split("\0") if f]
            pairs = [f.split("=", 1) for f in fields]
            # A field may have several values; journalctl finds the record by each of them.
            record = dict(pairs)
            record["devices"] = [value for name, value in pairs if name == "SMMU_RAS_DEVICE"]
            self.journal.append(record)
            self.changed.notify_all()

    def loop(self):
        while not self.stopping:
            # In the order in which they were opened: what a program did first is seen first.
            fds = [self.listener.fileno(), self.wake_r, *self.connections]
            if self.dawdles:
                dawdle()
            ready = set(select.select(fds, [], [])[0])
            with self.lock:
                if self.listener.fileno() in ready:
                    sock = self.listener.accept()[0]
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
                    self.connections[sock.fileno()] = [sock, None, set()]
                for fd in list(self.connections):
                    if fd in ready:
                        try:
                            self._incoming(fd)
                        except ConnectionResetError:
                            self.connections.pop(fd)[0].close()
