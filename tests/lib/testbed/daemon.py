# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenarios with smmu-rasd do: its policy, its records in the journal, and things done at a certain record."""

import json
import re

from workshop.cache import ROOT

from .guest import address, driver, not_active
from .scenario import check, journalctl, wait_for

POLICY = "/etc/smmu-rasd/policy.d/10-testbed.json"
STATE = "/run/smmu-rasd/devices"

# {"RECOVERED": "7b78c7…"}
MESSAGES = dict(re.findall(r'#define MESSAGE_(\w+)\s+"([0-9a-f]{32})"', (ROOT / "daemon/messages.h").read_text()))


def rules(bed, *each, **defaults):
    """Puts rules before the shipped ones, with defaults of their own. With none, only the shipped policy is in force.

    A scenario has more recoveries within an hour than the shipped policy allows.
    """
    if each:
        defaults = {"rate_limit": {"count": 32, "window": "1h"}} | defaults
        bed.run(f"cat > {POLICY}", stdin=json.dumps({"defaults": defaults, "rules": list(each)}))
    else:
        bed.text(f"rm -f {POLICY}")
    bed.text("systemctl reload smmu-rasd")


def cursor(bed):
    """A place in the journal: its end."""
    return re.search(r"-- cursor: (.*)", journalctl(bed, "-n 0 --show-cursor"))[1]


def records(bed, since, device=None, kind=None):
    """smmu-rasd's records after that place, of one device, of one kind."""
    fields = ["_SYSTEMD_UNIT=smmu-rasd.service"]
    fields += [f"SMMU_RAS_DEVICE={address(bed, device)}"] if device else []
    fields += [f"MESSAGE_ID={MESSAGES[kind]}"] if kind else []
    text = journalctl(bed, f"-q -o json --after-cursor='{since}' {' '.join(fields)}")
    return [json.loads(line) for line in text.splitlines()]


def wait_record(bed, since, device, kind, timeout=90):
    """The first such record."""
    return wait_for(f"smmu-rasd's record {kind} about {device}", lambda: records(bed, since, device, kind), timeout)[0]


def at_record(bed, since, device, number, command):
    """Starts a shell that runs a command when smmu-rasd writes that record of a device (1: the first one)."""
    follow = f"journalctl -q -f -o cat --after-cursor='{since}' SMMU_RAS_DEVICE={address(bed, device)}"
    return bed.start(f"{follow} | (for i in $(seq {number}); do read -r line; done; {command}; pkill -P $$ journalctl)")


def pid(bed):
    return int(bed.text("systemctl show -p MainPID --value smmu-rasd"))


def well(bed, device, bound, timeout=90):
    """Waits until a device is neither fenced nor being worked on, with the driver that it had."""
    name = address(bed, device)
    wait_for(f"{device} to be well", lambda: name not in not_active(bed) and driver(bed, name) == bound
             and not busy(bed, device), timeout)
    check(bed.stream(device).get("eats") == 1, f"STE.EATS of {device} is not set")


def busy(bed, device):
    """What smmu-rasd is doing about a device: its state on disk, or "" for nothing."""
    text = bed.text(f"cat {STATE}/pci@{address(bed, device)}.json 2>/dev/null || true")
    state = json.loads(text)["state"] if text else ""
    return "" if state == "idle" else state
