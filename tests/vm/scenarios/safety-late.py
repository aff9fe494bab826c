# SPDX-License-Identifier: GPL-2.0-or-later
"""The same proof where the SMMU waits longer for a device than Linux does: no verdict is no positive answer."""

from testbed import proof
from testbed.guest import WITHOUT_DAEMON

BED = {"kernel": "patched", "devices": "group/ats-test*3/ats-test*3,ats-test:2", "append": WITHOUT_DAEMON,
       "atc_timeout": 2500}


def test_slow(bed):
    """A device that answers in less time than the SMMU waits, but later than Linux does, is no danger either"""
    devices = proof.in_one_domain(bed)
    for flavour in ("strict", "hardirq"):
        proof.untouched_unheard(bed, flavour, devices[:1], devices, "slow:1600")


globals().update(proof.flavour_tests(("strict", "hardirq", "sva"), proof.untouched_unheard, (1, 2)))
