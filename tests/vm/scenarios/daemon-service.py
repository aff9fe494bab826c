# SPDX-License-Identifier: GPL-2.0-or-later
"""smmu-rasd as a service: its unit, its watchdog, and what happens when it is stopped, killed or cannot write."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from testbed import calm
from testbed.daemon import at_record, cursor, pid, records, rules, wait_record, well
from testbed.guest import not_active, provoke, readers
from testbed.scenario import check, dmesg, wait_for

BED = {"kernel": "patched", "devices": "nvme,virtio-net"}
UNIT = "/usr/lib/systemd/system/smmu-rasd.service"
EXPOSURE = 2.0  # systemd-analyze calls it OK
EXPECTED = ("Call trace:",)  # the kernel's report of an OOM kill has one; its own troubles begin with other words
PING = "ping -c 2 -i 0.2 -W 1 10.0.3.2"


def property_of(bed, name):
    return bed.text(f"systemctl show -p {name} --value smmu-rasd")


def restarted(bed, old):
    return wait_for("smmu-rasd to be back", lambda: property_of(bed, "ActiveState") == "active"
                    and pid(bed) not in (0, old) and pid(bed), 60)


def find_out(bed, device):
    """Has a wedged device found out, without waiting for what does it."""
    if device == "nvme0":
        provoke(bed, device)
    else:
        bed.wedge(device, "until-reset")
        bed.text(f"({PING}) >/dev/null 2>&1 </dev/null &")


def test_unit(bed):
    """systemd understands every key of the unit, and finds little that the daemon could do"""
    said = bed.run(f"systemd-analyze verify --man=no {UNIT}", check=False)
    check(said.returncode == 0 and not said.stdout + said.stderr, f"{said.stdout}{said.stderr}")
    said = bed.text("systemd-analyze security --no-pager smmu-rasd")
    level = float(re.search(r"Overall exposure level for smmu-rasd.service: ([0-9.]+)", said)[1])
    check(level <= EXPOSURE, f"exposure {level}: {said}")


def test_unit_of_this_host(bed):
    """So does the systemd of this host, which is another one than the guest's on Debian 12"""
    del bed
    if not shutil.which("systemd-analyze"):
        return
    with tempfile.TemporaryDirectory() as folder:
        # As `make install` here would make it.
        subprocess.run(["make", "-s", "-C", str(Path(__file__).parents[3]), "daemon-build", f"BUILDDIR={folder}"],
                       check=True, stdout=subprocess.DEVNULL)
        unit = Path(folder, "daemon/smmu-rasd.service")
        unit.write_text(unit.read_text().replace("/usr/sbin/smmu-rasd", f"{folder}/daemon/smmu-rasd"))
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        wrong = [line for line in said.stdout.splitlines() if "smmu-rasd" in line]
        check(not wrong, "\n".join(wrong))


def test_status(bed):
    """It started before the rest of the system, and says what it does"""
    check("no device is fenced" in property_of(bed, "StatusText"), property_of(bed, "StatusText"))
    active, basic = (int(bed.text(f"systemctl show -p ActiveEnterTimestampMonotonic --value {unit}"))
                     for unit in ("smmu-rasd.service", "sysinit.target"))
    check(0 < active <= basic, f"active after {active} us, sysinit.target was reached after {basic} us")


def test_privileges(bed):
    """Who listens and parses has no capability and runs no program; its spawner has one"""
    daemon = pid(bed)
    spawner = int(bed.text(f"pgrep -P {daemon}"))
    for number, name, caps in ((daemon, "smmu-rasd", 0), (spawner, "smmu-ras-spawn", 1 << 12)):
        status = dict(line.split(":\t", 1) for line in bed.text(f"cat /proc/{number}/status").splitlines())
        check(status["Name"] == name and status["NoNewPrivs"] == "1", f"{status['Name']}, {status['NoNewPrivs']}")
        for each in ("CapPrm", "CapEff"):
            check(int(status[each], 16) == caps, f"{name} has {each} {status[each]}")
    # One more filter than systemd's.
    filters = [int(bed.text(f"grep Seccomp_filters /proc/{each}/status").split()[1]) for each in (daemon, spawner)]
    check(filters[0] == filters[1] + 1, f"filters {filters}")


def test_memory(bed):
    """All of it is locked in memory: its disk may be the one that it is to recover"""
    daemon = pid(bed)
    fields = dict(line.split(":\t", 1) for line in bed.text(f"cat /proc/{daemon}/status").splitlines())
    size, locked = (int(fields[name].split()[0]) for name in ("VmSize", "VmLck"))
    # What the kernel maps into every process cannot be locked, and needs not be; nor can the page that the C library
    # has for getrandom(), which the kernel may drop (MAP_DROPPABLE).
    pages = bed.text(f"grep -E '\\[(vvar|vdso|vvar_vclock)\\]' /proc/{daemon}/maps").splitlines()
    own = sum(int(end, 16) - int(begin, 16) for begin, end in (line.split()[0].split("-") for line in pages)) // 1024
    check(own > 0 and size - locked in (own, own + 4), f"{locked} of {size} kB are locked, {own} are the kernel's")
    limit = bed.text(f"grep 'Max locked memory' /proc/{daemon}/limits").split()[3:5]
    check(limit == ["unlimited", "unlimited"], f"limit {limit}")


def test_watchdog(bed):
    """A daemon whose loop stands still is ended by its watchdog, and the next one recovers what was fenced meanwhile"""
    # With a kernel that is several times slower the bed has switched them off, for the sake of all other services.
    watchdogs = bed.text("systemctl service-watchdogs")
    limit = "30s" if calm.makes_slow(bed) else "5s"
    bed.text("mkdir -p /run/systemd/system/smmu-rasd.service.d && cd /run/systemd/system/smmu-rasd.service.d && "
             f"printf '[Service]\\nWatchdogSec={limit}\\n' > watchdog.conf && systemctl daemon-reload && "
             "systemctl restart smmu-rasd && systemctl service-watchdogs yes")
    old, since = pid(bed), cursor(bed)
    with readers(bed, "nvme0"):
        bed.text(f"kill -STOP {old}")
        bed.wedge("nvme0", "until-reset")
        restarted(bed, old)
        wait_record(bed, since, "nvme0", "RECOVERED")
    well(bed, "nvme0", "nvme")
    check(dmesg(bed, "smmu-rasd.service: Watchdog timeout"), "systemd says nothing of a watchdog")
    bed.text("rm -r /run/systemd/system/smmu-rasd.service.d; systemctl daemon-reload; systemctl restart smmu-rasd; "
             f"systemctl reset-failed smmu-rasd; systemctl service-watchdogs {watchdogs}")


def test_restart_and_reload_in_between(bed):
    """Restarted and reloaded between any two steps it finishes what was begun; the attempt is counted once"""
    for number, command in ((3, "restart"), (4, "restart"), (3, "reload"), (4, "reload")):
        since = cursor(bed)
        with at_record(bed, since, "virtio-net0", number, f"systemctl {command} smmu-rasd") as other:
            find_out(bed, "virtio-net0")
            other.wait(60)
        well(bed, "virtio-net0", "virtio-pci")
        done = records(bed, since, "virtio-net0", "RECOVERED")
        check(len(done) == 1, f"{command} after record {number}: recovered {len(done)} times")
        check(int(done[0]["SMMU_RAS_ATTEMPT"]) <= (2 if command == "restart" else 1),
              f"{command}: attempt {done[0]['SMMU_RAS_ATTEMPT']}")
        bed.text("systemctl reset-failed smmu-rasd")
    wait_for("the network", lambda: bed.run(PING, check=False).returncode == 0)


def test_killed(bed):
    """Killed at ten different records of recoveries, it comes back and finishes them; no reader sees an error"""
    rules(bed, {"name": "disk", "match": {"driver": "nvme"}, "steps": ["reset", "verify"]},
          {"name": "card", "match": {"driver": "virtio-pci"}}, backoff={"first": "100ms", "max": "1s"}, attempts=5)
    with readers(bed, "nvme0"):
        for device, driver, records_of in (("nvme0", "nvme", 4), ("virtio-net0", "virtio-pci", 6)):
            for number in range(1, records_of + 1):
                old, since = pid(bed), cursor(bed)
                with at_record(bed, since, device, number, f"kill -KILL {old}") as killer:
                    if device == "nvme0":
                        bed.wedge(device, "until-reset")
                    else:
                        find_out(bed, device)
                    killer.wait(60)
                restarted(bed, old)
                well(bed, device, driver)
                check(records(bed, since, device, "FENCED"), f"{device} was never fenced")
                bed.text("systemctl reset-failed smmu-rasd")
    check(not_active(bed) == {}, f"fenced: {not_active(bed)}")
    wait_for("the network", lambda: bed.run(PING, check=False).returncode == 0)
    rules(bed)


def wait_in_between(bed):
    """A rule that gives somebody time to do something between two steps of a card's recovery."""
    time = "20s" if calm.makes_slow(bed) else "3s"
    rules(bed, {"name": "disk", "match": {"driver": "nvme"}, "steps": ["reset", "verify"]},
          {"name": "card", "match": {"driver": "virtio-pci"},
           "steps": ["unbind", "reset", {"step": "wait", "for": time}, "reattach", "bind"]},
          backoff={"first": "100ms", "max": "1s"})


def recovered_once(bed, since, attempts=1):
    """What was cut off with its daemon or worker was an attempt, too."""
    well(bed, "virtio-net0", "virtio-pci")
    done = records(bed, since, "virtio-net0", "RECOVERED")
    check(len(done) == 1, f"recovered {len(done)} times")
    check(int(done[0]["SMMU_RAS_ATTEMPT"]) <= attempts, f"attempt {done[0]['SMMU_RAS_ATTEMPT']}")
    wait_for("the network", lambda: bed.run(PING, check=False).returncode == 0)


def test_out_of_memory(bed):
    """The kernel's OOM killer takes the daemon, then its spawner, then a worker in mid-recovery: it is finished"""
    wait_in_between(bed)
    for victim in ("daemon", "spawner", "worker"):
        old, since = pid(bed), cursor(bed)
        # With no driver bound, after the reset.
        with at_record(bed, since, "virtio-net0", 5, "true") as moment:
            find_out(bed, "virtio-net0")
            moment.wait(60)
        number = old
        for _ in range(("daemon", "spawner", "worker").index(victim)):
            number = int(bed.text(f"pgrep -P {number}"))
        bed.text(f"echo 1000 > /proc/{number}/oom_score_adj; echo f > /proc/sysrq-trigger")
        wait_for("the kill", lambda number=number: dmesg(bed, f"Out of memory: Killed process {number} "))
        recovered_once(bed, since, 2)
        check((restarted(bed, 0) != old) == (victim != "worker"), "the wrong one has ended")
    bed.text("systemctl reset-failed smmu-rasd")


def test_upgrade(bed):
    """A package's upgrade in mid-recovery: other files in place of those that run, and a restart by its script"""
    wait_in_between(bed)
    old, since = pid(bed), cursor(bed)
    with at_record(bed, since, "virtio-net0", 5, "true") as moment:
        find_out(bed, "virtio-net0")
        moment.wait(60)
    # As dpkg unpacks, and as the script that debhelper makes for postinst goes on.
    bed.text(f"for file in /usr/sbin/smmu-rasd {UNIT}; do cp -p $file $file.dpkg-new; echo >> $file.dpkg-new; "
             "mv $file.dpkg-new $file; done; "
             "systemctl --system daemon-reload && deb-systemd-invoke restart smmu-rasd.service", timeout=30)
    check(restarted(bed, old) != old, "it is the old one")
    check(bed.text(f"readlink /proc/{pid(bed)}/exe") == "/usr/sbin/smmu-rasd", "it runs the old file")
    recovered_once(bed, since, 2)
    check(not bed.text("systemctl list-units --failed --no-legend --plain 'smmu-rasd*'"), "a unit has failed")


SUSPEND = """
import ctypes
libc, CLOCK_BOOTTIME_ALARM = ctypes.CDLL(None), 9
# A timer that wakes the machine by its real time clock; within two seconds of it Linux does not suspend any more.
timer = libc.timerfd_create(CLOCK_BOOTTIME_ALARM, 0)
assert timer >= 0 and libc.timerfd_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 3, 0), None) == 0
with open("/sys/power/state", "w") as state:
    state.write("freeze")
"""


def test_suspend(bed):
    """The machine is suspended in mid-recovery and resumed: the recovery goes on, and so does everything else"""
    wait_in_between(bed)
    bed.run("cat > /run/suspend.py", stdin=SUSPEND)
    old, since = pid(bed), cursor(bed)
    with readers(bed, "nvme0"):
        with at_record(bed, since, "virtio-net0", 5, "true") as moment:
            find_out(bed, "virtio-net0")
            moment.wait(60)
        bed.text("python3 /run/suspend.py")
        check(dmesg(bed, "PM: suspend exit"), "it was not suspended")
        recovered_once(bed, since)
        # Whoever is fenced after that is heard of as before.
        bed.wedge("nvme0", "until-reset")
        wait_record(bed, since, "nvme0", "RECOVERED")
    well(bed, "nvme0", "nvme")
    check(pid(bed) == old, "the daemon is another one")
    rules(bed)


def said(bed, since, begin):
    return [each for each in records(bed, since) if each["MESSAGE"].startswith(begin)]


def test_run_is_full(bed):
    """Where /run is full or takes no files it recovers all the same, and says once that a kill would be unlucky now"""
    bed.text("systemctl stop smmu-rasd; mount -t tmpfs -o size=64k tmpfs /run/smmu-rasd; systemctl start smmu-rasd")
    try:
        for fill, clear in (("dd if=/dev/zero of=/run/smmu-rasd/full bs=4k status=none 2>/dev/null; true",
                             "rm /run/smmu-rasd/full"),
                            # Nobody can make it read-only while the daemon holds its lock there.
                            ("chattr +i /run/smmu-rasd/devices", "chattr -i /run/smmu-rasd/devices")):
            since = cursor(bed)
            with readers(bed, "nvme0"):
                bed.text(fill)
                bed.wedge("nvme0", "until-reset")
                find_out(bed, "virtio-net0")
                for device in ("nvme0", "virtio-net0"):
                    wait_record(bed, since, device, "RECOVERED")
                bed.text(clear)
            wait_for("what it says about /run", lambda: said(bed, since, "/run/smmu-rasd can be written again"))
            refused = said(bed, since, "Cannot write to /run/smmu-rasd")
            check(len(refused) == 1, f"it says {len(refused)} times that it cannot write")
            for device, driver in (("nvme0", "nvme"), ("virtio-net0", "virtio-pci")):
                well(bed, device, driver)
    finally:
        bed.run("systemctl stop smmu-rasd; umount /run/smmu-rasd; systemctl start smmu-rasd", check=False)


def test_clock_jumps(bed):
    """The clock of the machine may jump by years in the middle of a recovery: the next attempt comes when it should"""
    rules(bed, {"name": "card", "match": {"driver": "virtio-pci"}}, backoff={"first": "2s", "max": "2s"})
    for years in ("+20 years", "-20 years"):
        since = cursor(bed)
        bed.wedge("virtio-net0", "again:1")
        bed.text(f"({PING}) >/dev/null 2>&1 </dev/null &")
        wait_record(bed, since, "virtio-net0", "ATTEMPT_FAILED")
        bed.text(f"date -s '{years}' >/dev/null")
        well(bed, "virtio-net0", "virtio-pci", 30)
    rules(bed)


def test_bad_policy(bed):
    """A policy with a mistake is refused with its place, and the one in force stays, also for the next fence"""
    rules(bed, {"name": "mine", "match": {"driver": "nvme"}, "steps": ["reset", "verify"]})
    bed.run("cat > /etc/smmu-rasd/policy.d/20-bad.json", stdin='{"rules": [\n  {"actoin": "ignore"}]}')
    since = cursor(bed)
    bed.run("systemctl reload smmu-rasd", check=False)
    said = wait_for("the refusal", lambda: records(bed, since, kind="POLICY_REFUSED"))[0]["MESSAGE"]
    check("20-bad.json:2:" in said and "actoin" in said, said)
    check("refused" in property_of(bed, "StatusText"), property_of(bed, "StatusText"))
    with readers(bed, "nvme0"):
        bed.wedge("nvme0", "until-reset")
        done = wait_record(bed, since, "nvme0", "RECOVERED")
    check(done["SMMU_RAS_RULE"] == "mine", f"rule {done['SMMU_RAS_RULE']}")
    bed.text("rm /etc/smmu-rasd/policy.d/20-bad.json")
    rules(bed)
    check("refused" not in property_of(bed, "StatusText"), property_of(bed, "StatusText"))
