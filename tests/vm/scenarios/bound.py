# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver of a fenced device does, with no smmu-rasd: it neither hangs nor gives up, and goes on after a reset."""

from testbed.agent import Agent
from testbed.guest import VERIFY, WITHOUT_DAEMON, bind, driver, pci, wait_told, write
from testbed.scenario import check, dmesg, mark, wait_for

# NVMe's timeout is usually 30 s. Here it has passed before a test is over.
BED = {"kernel": "patched", "devices": "virtio-blk,virtio-net,nvme,igb",
       "append": (*WITHOUT_DAEMON, "nvme_core.io_timeout=2")}
DISK, CARD, NVME, IGB = "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"
PING_CARD, PING_IGB = (f"ping -c 2 -i 0.2 -W 1 {peer}" for peer in ("10.0.3.2", "10.0.4.2"))


def disk_of(bed):
    """Which disk belongs to the virtio-blk device: there may be none yet after a bind."""
    return "/dev/" + bed.text(f"basename {pci(DISK, 'virtio*/block/*')}")


def card_of(bed):
    """The network interface of the virtio-net device."""
    return bed.text(f"basename {pci(CARD, 'virtio*/net/*')}")


def reset(bed, device):
    check(write(bed, 1, pci(device, "reset"), timeout=60), f"the reset of {device} failed")


def let_go(bed, device):
    """Unbinds a device, which must not take long. Returns the driver."""
    name = driver(bed, device)
    check(write(bed, device, f"/sys/bus/pci/drivers/{name}/unbind", timeout=60), f"unbinding {device} failed")
    return name


def bring_back(bed, device, name):
    reset(bed, device)
    check(bind(bed, device, name), f"binding {device} failed")


def wedge(bed, name, device, provoke=None):
    """Wedges a device and has it found out. Returns a mark in the kernel's log before that."""
    start = mark(bed)
    bed.wedge(name, "until-reset")
    if provoke:
        bed.run(provoke, check=False)
    wait_for("the fence", lambda: dmesg(bed, rf"{device}: fenced: it does not", start))
    return start


def stop(bed, readers):
    bed.run("sleep 1; pkill -TERM verify-io", check=False)
    return readers.communicate(timeout=60)[0]


def fails_under_io(bed, name, device, disk, take_away):
    """Fences a disk under I/O and takes it from its driver, which fails its requests. Returns a mark before that."""
    bed.text(f"{VERIFY} fill {disk(bed)}")
    with bed.start(f"{VERIFY} read {disk(bed)} 4 100") as readers:
        start = wedge(bed, name, device)
        wait_told(bed, device)
        take_away()
        said = stop(bed, readers)
    check(readers.returncode == 1 and "wrong 0" in said, f"the readers were to see errors, and only those: {said}")
    return start


def disk_works(bed, disk):
    wait_for("the disk", lambda: bed.run(f"test -b {disk(bed)}", check=False).returncode == 0)
    bed.text(f"{VERIFY} read {disk(bed)} 2 1")


def unbound_under_io(bed, name, device, disk):
    """Unbinds a disk that is fenced under I/O, and gets it back by a reset and a bind."""
    bound_to = driver(bed, device)
    fails_under_io(bed, name, device, disk, lambda: let_go(bed, device))
    bring_back(bed, device, bound_to)
    disk_works(bed, disk)


def fenced_while_waited_for(bed, device, command, waits):
    """Fences a device while a command waits for it, as `waits` tells. Returns how the command ended, and what it said.

    Without bus mastering the device does not get at its queues, so that it certainly has in hand what it is asked for.
    """
    bed.text(f"setpci -s {device} COMMAND=0:4")
    with bed.start(command) as waiting:
        wait_for("the command to wait", lambda: bed.run(waits, check=False).returncode == 0)
        with Agent(bed) as agent:
            agent.ask("fence", device=device)
        said = waiting.communicate(timeout=60)
    return waiting.returncode, said


def test_virtio_blk_in_place(bed):
    """A virtio disk fenced under I/O is reset in place: its requests are submitted again, no reader sees an error"""
    disk = disk_of(bed)
    bed.text(f"{VERIFY} fill {disk}")
    for _ in range(3):
        with bed.start(f"{VERIFY} read {disk} 4 100") as readers:
            wedge(bed, "virtio-blk0", DISK)
            overwritten, _ = bed.scribble("virtio-blk0")
            check(overwritten == 0, f"{overwritten} pages overwritten")
            reset(bed, DISK)
            said = stop(bed, readers)
        check(readers.returncode == 0, f"the readers failed: {said}")


def test_virtio_blk_unbind(bed):
    """A virtio disk fenced under I/O can be unbound at once, which fails its requests, and works after reset and bind"""
    unbound_under_io(bed, "virtio-blk0", DISK, disk_of)


def test_virtio_blk_fenced_while_waited_for(bed):
    """A virtio disk that is fenced while a reset waits for its requests is reset all the same, and no reader sees an error"""
    disk = disk_of(bed)
    bed.text(f"{VERIFY} fill {disk}")
    with bed.start(f"{VERIFY} read {disk} 4 100") as readers:
        code, said = fenced_while_waited_for(
            bed, DISK, f"echo 1 > {pci(DISK, 'reset')}",
            "grep -qs blk_mq_freeze_queue_wait /proc/$(pgrep -f '/reset$' | head -1)/stack")
        check(code == 0, f"the reset failed: {said}")
        said = stop(bed, readers)
    check(readers.returncode == 0, f"the readers failed: {said}")


def test_virtio_driver_is_not_bound_to_fenced(bed):
    """A virtio driver can be taken from a fenced device under I/O, and is not bound to it again before a reset"""
    name = bed.text(f"basename {pci(DISK, 'virtio*')}")
    drivers = "/sys/bus/virtio/drivers/virtio_blk"
    start = fails_under_io(bed, "virtio-blk0", DISK, disk_of, lambda: check(
        write(bed, name, f"{drivers}/unbind", timeout=60), "unbinding failed"))
    check(not write(bed, name, f"{drivers}/bind", timeout=60), "it was bound")
    check(len(dmesg(bed, f"{name}: cannot be bound before it was reset", start)) == 1, "the log does not say why")
    reset(bed, DISK)
    check(write(bed, name, f"{drivers}/bind", timeout=60), "binding failed")
    disk_works(bed, disk_of)


def recover_card(bed):
    """Unbinds the network card, resets it and binds it again, and waits until it works."""
    bring_back(bed, CARD, let_go(bed, CARD))
    wait_for("the network", lambda: bed.run(PING_CARD, check=False).returncode == 0)


def test_virtio_net_lets_go(bed):
    """Commands to a fenced network card fail instead of hanging with the RTNL held, and it can be unbound at once"""
    card = card_of(bed)
    wedge(bed, "virtio-net0", CARD, PING_CARD)
    bed.run(f"timeout 120 ip link set {card} promisc on", check=False)
    bed.text("timeout 120 ip link add dummy9 type dummy && ip link del dummy9")  # somebody else who wants the RTNL
    recover_card(bed)


def test_virtio_net_link_goes_down(bed):
    """A fenced network card under traffic says once that it is broken and has no link, instead of a line a packet"""
    card = card_of(bed)
    start = wedge(bed, "virtio-net0", CARD, PING_CARD)
    bed.run(f"ping -q -I {card} -c 100 -i 0.01 -W 1 10.0.3.2", check=False)
    check(bed.text(f"cat /sys/class/net/{card}/carrier") == "0", "the link is up")
    said = dmesg(bed, f"virtio_net .*{card}", start)
    check(len(said) == 1 and "broken" in said[0], f"one line was to be said: {said}")
    recover_card(bed)


def test_virtio_net_command_in_hand(bed):
    """A command that a network card has in hand when it is fenced ends, and is unmapped when the card is unbound"""
    card = card_of(bed)
    # Whoever sends a command spins until it is answered: system time, in hundredths of a second.
    code, said = fenced_while_waited_for(bed, CARD, f"ip link add link {card} name vlan9 type vlan id 9",
                                         "test $(cut -d' ' -f15 /proc/$(pgrep -nx ip)/stat) -gt 50")
    check(code == 0, f"it was to end, without its answer: {said}")
    # That nothing stays mapped, and that no memory is lost, is what DMA-API debugging and kmemleak look for.
    recover_card(bed)


def test_nvme_waits(bed):
    """An NVMe disk that stays fenced for longer than its timeout still recovers in place, and no reader sees an error"""
    bed.text(f"{VERIFY} fill /dev/nvme0n1")
    with bed.start(f"{VERIFY} read /dev/nvme0n1 4 100") as readers:
        start = wedge(bed, "nvme0", NVME)
        bed.text("sleep 6")  # three timeouts: it is about what does not happen meanwhile
        check(not dmesg(bed, "nvme.*(timeout|controller is down|Disabling)", start), "the driver has lost patience")
        reset(bed, NVME)
        said = stop(bed, readers)
    check(readers.returncode == 0, f"the readers failed: {said}")


def test_nvme_cpu_goes_offline(bed):
    """Taking a CPU offline waits for the requests that a fenced disk has of it, and a reset has both of them go on"""
    online = "/sys/devices/system/cpu/cpu1/online"
    patience = "/sys/class/block/nvme0n1/queue/io_timeout"
    usual = bed.text(f"{VERIFY} fill /dev/nvme0n1; cat {patience}; echo 600000 > {patience}").split()[-1]
    # Without bus mastering nothing is answered, so that all of it is in hand.
    bed.text(f"setpci -s {NVME} COMMAND=0:4")
    with bed.start(f"taskset -c 1 {VERIFY} read /dev/nvme0n1 4 100") as readers:
        wait_for("four in hand", lambda: int(bed.text("cat /sys/class/block/nvme0n1/inflight").split()[0]) >= 4)
        with Agent(bed) as agent:
            agent.ask("fence", device=NVME)
        wait_told(bed, NVME)
        with bed.start(f"echo 0 > {online}") as going:
            wait_for("the CPU to wait", lambda: bed.run("grep -q '[)] D' /proc/$(pgrep -x cpuhp/1)/stat", check=False
                                                        ).returncode == 0)
            reset(bed, NVME)
            going.communicate(timeout=60)
        check(going.returncode == 0 and bed.text(f"cat {online}") == "0", "the CPU did not go offline")
        check(write(bed, 1, online), "the CPU did not come back")
        said = stop(bed, readers)
    bed.text(f"echo {usual} > {patience}")
    check(readers.returncode == 0, f"the readers failed: {said}")


def test_nvme_unbind(bed):
    """An NVMe disk fenced under I/O can be unbound at once, which fails its requests, and works after reset and bind"""
    unbound_under_io(bed, "nvme0", NVME, lambda _: "/dev/nvme0n1")


def test_nvme_failed_reset(bed):
    """After a reset that failed an NVMe disk waits for one that does not"""
    with bed.start(f"{VERIFY} read /dev/nvme0n1 4 100") as readers:
        start = wedge(bed, "nvme0", NVME)
        bed.wedge("nvme0", "reset-fails")
        failed = bed.run(f"echo flr > {pci(NVME, 'reset_method')}; echo 1 > {pci(NVME, 'reset')}", check=False,
                         timeout=180)
        check(failed.returncode != 0, "the reset is said to have succeeded")
        check(not dmesg(bed, f"{NVME}: unfenced", start), "it was unfenced")
        bed.release("nvme0")
        bed.text(f"echo default > {pci(NVME, 'reset_method')}")
        reset(bed, NVME)
        said = stop(bed, readers)
    check(readers.returncode == 0, f"the readers failed: {said}")


def wait_for_igb(bed):
    wait_for("the network", lambda: bed.run(PING_IGB, check=False).returncode == 0)


def test_igb_unbind(bed):
    """A driver that is not told of fences, as it cannot be unbound after that, is unbound and bound as ever"""
    wait_for_igb(bed)
    wedge(bed, "igb0", IGB, PING_IGB)
    bring_back(bed, IGB, let_go(bed, IGB))
    wait_for_igb(bed)


def test_reboot(bed):
    """A machine with fenced devices that their drivers wait for shuts down"""
    wedge(bed, "nvme0", NVME,
          "dd if=/dev/nvme0n1 of=/dev/null iflag=direct bs=64k count=20 >/dev/null 2>&1 </dev/null &")
    start = mark(bed)
    bed.wedge("virtio-blk0", "until-reset")
    bed.start(f"{VERIFY} read {disk_of(bed)} 1 100")  # never ends
    wait_for("the fence", lambda: dmesg(bed, rf"{DISK}: fenced: it does not", start))
    check(not dmesg(bed, "WARNING|BUG:|Call trace"), str(dmesg(bed, "WARNING|BUG:|Call trace")))
    bed.start("systemctl poweroff --force --force")
    wait_for("the machine to be off", lambda: not bed.running(), 90)
