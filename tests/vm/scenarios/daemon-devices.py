# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasd, real drivers and their users: recovered, protected, or stuck and reported, with data verified."""

import contextlib

from testbed.daemon import busy, cursor, records, rules, wait_record, well
from testbed.drive import driving, iova, to_vfio
from testbed.guest import VERIFY, address, disk, driver, not_active, pci
from testbed.scenario import check, dmesg, mark, wait_for

BED = {"kernel": "patched", "devices": "nvme:2,virtio-blk:2,virtio-net:2,igb"}
BLOCKS = "16M"  # of a file that verify-io fills and reads
NETS = {"virtio-net0": 3, "virtio-net1": 4, "igb0": 5}
VICTIM, MAPPED = 100, 128  # pages of vfio-drive


def ping(bed, device, count=2):
    return bed.run(f"ping -q -c {count} -i 0.2 -W 1 10.0.{NETS[device]}.2", check=False).returncode == 0


def find_out(bed, *devices, mode="until-reset"):
    """Wedges network cards and has that found out, without waiting."""
    for device in devices:
        bed.wedge(device, mode)
    for device in devices:
        bed.text(f"ping -c 3 -i 0.2 -W 1 10.0.{NETS[device]}.2 >/dev/null 2>&1 </dev/null &")


@contextlib.contextmanager
def verified(bed, name, threads=2):
    """Readers of a disk or file, each byte verified, for the length of a `with` block. Afterwards none has failed."""
    bed.text(f"{VERIFY} fill {name}")
    started = bed.start(f"exec {VERIFY} read {name} {threads} 300")
    try:
        yield
        bed.run("sleep 1; pkill -TERM verify-io", check=False)
        said = started.communicate(timeout=60)[0]
    finally:
        started.kill()
    check(started.returncode == 0, f"the readers of {name} failed: {said}")


@contextlib.contextmanager
def mounted(bed, device, at):
    """An ext4 on a device, with a file for verify-io, and another one whose content is checked at the end."""
    bed.text(f"mkfs.ext4 -q -F {device} && mkdir -p {at} && mount {device} {at} && truncate -s {BLOCKS} {at}/file && "
             f"dd if=/dev/urandom of={at}/random bs=1M count=8 status=none && sha256sum {at}/random > /run/sum && sync")
    yield f"{at}/file"
    bed.text(f"echo 3 > /proc/sys/vm/drop_caches; sha256sum -c --quiet /run/sum")
    bed.text(f"umount {at} && e2fsck -fn {device}")


# Each round writes its file in random order with several requests in flight, past the page cache, and reads it all back.
FIO = ("fio --output=/run/fio --ioengine=libaio --iodepth=8 --direct=1 --numjobs=2 --size=4M --bs=4k --rw=randwrite "
       "--verify=crc32c --verify_fatal=1 --randrepeat=0 --name=job")


def test_mounted_nvme(bed):
    """An NVMe disk with a mounted ext4 is recovered in place under fio: no error, and its data are whole"""
    start, since = mark(bed), cursor(bed)
    with mounted(bed, disk(bed, "nvme0"), "/mnt") as file, verified(bed, file):
        writer = bed.start(f"until [ -e /run/enough ]; do {FIO} --directory=/mnt || exit 1; echo round; done")
        bed.wedge("nvme0", "until-reset")
        wait_record(bed, since, "nvme0", "RECOVERED")
        bed.text("touch /run/enough")
        said = writer.communicate(timeout=120)[0]
        check(writer.returncode == 0 and "round" in said, f"fio failed: {said}")
    well(bed, "nvme0", "nvme")
    check(not dmesg(bed, "I/O error|EXT4-fs (error|warning)", start), str(dmesg(bed, "error|EXT4", start)))
    check([each["SMMU_RAS_STEP"] for each in records(bed, since, "nvme0", "STEP_DONE")] == ["reset", "verify"], "steps")


def test_virtio_blk(bed):
    """A virtio disk with I/O in flight is recovered in place, and no reader sees an error"""
    since = cursor(bed)
    with verified(bed, disk(bed, "virtio-blk0"), 4):
        bed.wedge("virtio-blk0", "until-reset")
        wait_record(bed, since, "virtio-blk0", "RECOVERED")
    well(bed, "virtio-blk0", "virtio-pci")


def test_cards(bed):
    """Two cards with traffic, of two drivers, wedged at once, are unbound, reset and bound, and work again"""
    since = cursor(bed)
    cards = {"virtio-net0": "virtio-pci", "igb0": "igb"}
    for device in cards:
        wait_for(f"the network of {device}", lambda device=device: ping(bed, device))
    find_out(bed, *cards)
    for device, name in cards.items():
        wait_record(bed, since, device, "RECOVERED")
        well(bed, device, name)
        wait_for(f"the network of {device}", lambda device=device: ping(bed, device))


def test_stacked_disk(bed):
    """A filesystem on device-mapper keeps its disk from being unbound; what could be done is said, and then works"""
    device = disk(bed, "virtio-blk1")
    bed.text(f"dmsetup create vg-data --table \"0 $(blockdev --getsz {device}) linear {device} 0\"")
    # As an operator's rule who does not know that this driver can be reset in place.
    rules(bed, {"name": "rough", "match": {"address": address(bed, "virtio-blk1")},
                "steps": ["unbind", "reset", "reattach", "bind", "verify"]})
    since = cursor(bed)
    with mounted(bed, "/dev/mapper/vg-data", "/data") as file, verified(bed, file):
        bed.wedge("virtio-blk1", "until-reset")
        said = wait_record(bed, since, "virtio-blk1", "PROTECTED")["MESSAGE"]
        check("/data (dm-0)" in said and "smmu-rasctl recover" in said and "would keep it" in said, said)
        check(driver(bed, address(bed, "virtio-blk1")) == "virtio-pci", "it was unbound")
        check(not_active(bed) == {address(bed, "virtio-blk1"): "fenced"}, str(not_active(bed)))
        check(not records(bed, since, "virtio-blk1", "STEP_DONE"), "a step was taken")
        # What it had said: a rule that resets in place.
        rules(bed)
        wait_record(bed, since, "virtio-blk1", "RECOVERED")
    well(bed, "virtio-blk1", "virtio-pci")
    bed.text("dmsetup remove vg-data")


def test_other_namespaces(bed):
    """So does one that only another mount namespace has, and swap in a file on it is told of as well"""
    device = disk(bed, "virtio-blk1")
    rules(bed, {"name": "rough", "match": {"address": address(bed, "virtio-blk1")},
                "steps": ["unbind", "reset", "bind"]})
    since = cursor(bed)
    bed.text(f"mkfs.ext4 -q -F {device}")
    with bed.start(f"exec unshare --mount sh -c 'mkdir -p /data && mount {device} /data && touch /run/inside && "
                   f"exec sleep 300'") as holder:
        wait_for("the mount", lambda: bed.run("test -e /run/inside", check=False).returncode == 0)
        check(not bed.run(f"findmnt {device}", check=False).stdout, "it is mounted here")
        bed.wedge("virtio-blk1", "until-reset")
        bed.text(f"dd if={device} of=/dev/null bs=64k count=4 iflag=direct status=none >/dev/null 2>&1 </dev/null &")
        said = wait_record(bed, since, "virtio-blk1", "PROTECTED")["MESSAGE"]
        check("mounted in another namespace" in said, said)
        rules(bed)
        wait_record(bed, since, "virtio-blk1", "RECOVERED")
        bed.text("pkill -f 'sleep 300'")
        holder.wait(30)
    well(bed, "virtio-blk1", "virtio-pci")


def test_default_route(bed):
    """A card with the default route through a bond and a VLAN is left fenced, until the route is another one's"""
    card = bed.text(f"basename {pci(address(bed, 'virtio-net1'), 'virtio*/net/*')}")
    bed.text(f"ip link add uplink type bond && ip link set {card} down && ip addr flush dev {card} && "
             f"ip link set {card} master uplink && ip link set uplink up && ip addr add 10.0.4.15/24 dev uplink && "
             f"ip link add link uplink name uplink.7 type vlan id 7 && ip link set uplink.7 up && "
             f"ip addr add 10.9.9.1/24 dev uplink.7 && ip route add default via 10.9.9.2 dev uplink.7 table 77")
    wait_for("the bond", lambda: ping(bed, "virtio-net1"))
    since = cursor(bed)
    find_out(bed, "virtio-net1")
    said = wait_record(bed, since, "virtio-net1", "PROTECTED")["MESSAGE"]
    check("the default route (uplink.7)" in said, said)
    check(driver(bed, address(bed, "virtio-net1")) == "virtio-pci", "it was unbound")
    bed.text(f"ip route del default table 77; smmu-rasctl recover --yes {address(bed, 'virtio-net1')}")
    wait_record(bed, since, "virtio-net1", "RECOVERED")
    well(bed, "virtio-net1", "virtio-pci")
    bed.text("ip link del uplink")


@contextlib.contextmanager
def guest(bed, device):
    """A VFIO user that has a device open; the daemon runs."""
    to_vfio(bed, device)
    bed.text("systemctl start smmu-rasd")
    with driving(bed) as drive:
        drive.ask("ioas", "space")
        drive.open(device, "space", "cdev")
        drive.map("space", 0, MAPPED)
        drive.start(device, 0)
        check(drive.identify(device, VICTIM), "no completion")
        yield drive


def wedge_guest(bed, drive, device):
    """Unmaps a page of a guest's while the device is wedged: it is fenced before it can write there."""
    bed.wedge(device, "until-reset")
    drive.ask("unmap", "space", iova(0), MAPPED, 0)
    check(drive.damage(VICTIM) == 0, "the device has written to a page that was unmapped")


def test_guest(bed):
    """A device that a VFIO user has open is left to it; once it is closed the daemon has nothing more to do"""
    since = cursor(bed)
    with guest(bed, "nvme1") as drive:
        wedge_guest(bed, drive, "nvme1")
        said = wait_record(bed, since, "nvme1", "PROTECTED")["MESSAGE"]
        check("a guest" in said and "vfio-pci" in said, said)
        check(driver(bed, address(bed, "nvme1")) == "vfio-pci", "it was unbound")
        check(bed.stream("nvme1")["eats"] == 0, "STE.EATS is set")
    # Closing it resets it, and the kernel lifts the fence.
    wait_for("the end of the fence", lambda: not_active(bed) == {})
    wait_for("smmu-rasd to know", lambda: busy(bed, "nvme1") == "")


def test_stuck_neighbour(bed):
    """An unbind that hangs is reported and harms no neighbour; its device is recovered when the worker returns"""
    rules(bed, {"name": "ruthless", "match": {"driver": "vfio-pci"}, "protect": [],
                "steps": [{"step": "unbind", "timeout": "3s"}, "reset", "reattach", "bind"]})
    since = cursor(bed)
    with guest(bed, "nvme1") as drive:
        wedge_guest(bed, drive, "nvme1")
        find_out(bed, "virtio-net0")
        said = wait_record(bed, since, "nvme1", "STEP_STUCK")["MESSAGE"]
        check("unbind" in said and "stays fenced" in said, said)
        wait_for("the record on disk", lambda: busy(bed, "nvme1") == "stuck")
        wait_record(bed, since, "virtio-net0", "RECOVERED")
        find_out(bed, "igb0")
        wait_record(bed, since, "igb0", "RECOVERED")
        check("stuck" in bed.text("smmu-rasctl list"), bed.text("smmu-rasctl list"))
        # Stopping and starting the daemon does not wait for it either, and the next one knows of it.
        bed.text("systemctl restart smmu-rasd", timeout=30)
        wait_for("the state", lambda: busy(bed, "nvme1") == "stuck")
        check(bed.stream("nvme1")["eats"] == 0, "STE.EATS is set")
    well(bed, "nvme1", "vfio-pci")
    check(bed.text(f"cat {pci(address(bed, 'nvme1'), 'driver_override')}") == "vfio-pci", "driver_override is lost")
    for device, name in (("virtio-net0", "virtio-pci"), ("igb0", "igb")):
        well(bed, device, name)
        wait_for(f"the network of {device}", lambda device=device: ping(bed, device))
    rules(bed)
    bed.text(f"echo > {pci(address(bed, 'nvme1'), 'driver_override')}")


def test_again(bed):
    """A card that wedges again after each of the next two resets is recovered by the third attempt"""
    rules(bed, {"name": "card", "match": {"driver": "virtio-pci"}}, backoff={"first": "100ms", "max": "1s"})
    since = cursor(bed)
    find_out(bed, "virtio-net0", mode="again:2")
    done = wait_record(bed, since, "virtio-net0", "RECOVERED")
    check(done["SMMU_RAS_ATTEMPT"] == "3", f"attempt {done['SMMU_RAS_ATTEMPT']}")
    check(len(records(bed, since, "virtio-net0", "ATTEMPT_FAILED")) == 2, "failed attempts")
    well(bed, "virtio-net0", "virtio-pci")
    wait_for("the network", lambda: ping(bed, "virtio-net0"))
    rules(bed)


def test_given_up(bed):
    """What wedges again beyond the limit, for ever, or does not come back is isolated, fenced, with one clear record"""
    rules(bed, {"name": "once", "match": {"driver": "igb"}, "attempts": 1, "reset_methods": ["flr"]},
          {"name": "card", "match": {"driver": "virtio-pci", "class": "0200*"}},
          backoff={"first": "100ms", "max": "1s"})
    since = cursor(bed)
    modes = {"virtio-net0": "again:9", "virtio-net1": "forever", "igb0": "reset-fails"}
    for device, mode in modes.items():
        find_out(bed, device, mode=mode)
    for device in modes:
        wait_record(bed, since, device, "ISOLATED", 150)
    bed.text(f"{VERIFY} fill {disk(bed, 'nvme0')} && {VERIFY} read {disk(bed, 'nvme0')} 2 1")  # the others go on
    for device, attempts in (("virtio-net0", 3), ("virtio-net1", 3), ("igb0", 1)):
        said = records(bed, since, device, "ISOLATED")
        check(len(said) == 1, f"{device} was given up {len(said)} times")
        message = said[0]["MESSAGE"]
        check(said[0]["SMMU_RAS_ATTEMPT"] == str(attempts) and f"after {attempts} attempt" in message
              and "stays fenced" in message and "nothing more is tried" in message, message)
        check(address(bed, device) in not_active(bed), f"{device} is not fenced: {not_active(bed)}")
        check(bed.stream(device).get("eats") == 0, f"STE.EATS of {device} is set")
        wait_for("the record on disk", lambda device=device: busy(bed, device) == "isolated")
    rules(bed)


def test_unplugged(bed):
    """Unplugging a card that was given up ends its fence and its story"""
    bed.unplug("virtio-net0")
    wait_for("the fence to end", lambda: address(bed, "virtio-net0") not in not_active(bed))
    wait_for("the record to go", lambda: busy(bed, "virtio-net0") == "")


def test_on_request(bed):
    """A device that was given up is recovered when the operator has cured it and says so"""
    since = cursor(bed)
    bed.release("virtio-net1")
    bed.text(f"smmu-rasctl recover --yes {address(bed, 'virtio-net1')}")
    wait_record(bed, since, "virtio-net1", "RECOVERED")
    well(bed, "virtio-net1", "virtio-pci")
