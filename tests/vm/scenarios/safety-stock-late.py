# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock kernel where the SMMU waits longer for a device than Linux does: it hands the page back just the same."""

from testbed import proof

BED = {"kernel": "stock", "devices": "group/ats-test*3/ats-test*3", "atc_timeout": 2500}
globals().update(proof.flavour_tests(("strict", "hardirq"), proof.damaged, (1,)))
