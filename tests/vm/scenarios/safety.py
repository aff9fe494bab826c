# SPDX-License-Identifier: GPL-2.0-or-later
"""No page is handed back while a device that did not acknowledge its invalidation can reach it: 32 devices, one domain.

testbed/proof.py says what a try is. Other files have the same on other machines, and on the stock kernel.
"""

from testbed import proof, proof_vfio
from testbed.guest import WITHOUT_DAEMON
from testbed.scenario import check

DEVICES = "group/ats-test*8/ats-test*8/ats-test*8/ats-test*8,ats-test:8,nvme,ats-test-pf"
FLAVOURS = ("strict", "irqs-off", "softirq", "hardirq", "reclaim", "pasid", "sva", "lazy")
BED = {"kernel": "patched", "devices": DEVICES, "append": WITHOUT_DAEMON}


def test_healthy(bed):
    """Devices that answer do no damage, and are left alone"""
    proof.healthy(bed, "strict", proof.in_one_domain(bed))
    for flavour in proof.PASID_FLAVOURS:
        proof.healthy(bed, flavour, proof.alone(bed))


def test_slow(bed):
    """A device that answers late is left alone when that is in time, and fenced when it is not"""
    devices = proof.in_one_domain(bed)
    proof.untouched(bed, "strict", devices[:2], devices, "slow:40", answers=True)
    proof.untouched(bed, "strict", devices[:2], devices, "slow:400")
    proof.untouched(bed, "hardirq", devices[:2], devices, "slow:400")


def test_vfio(bed):
    """A disk in the hands of a VFIO user, who unmaps a page through a container and through iommufd"""
    for way in ("group", "cdev"):
        damage = proof.by_vfio(bed, way)
        check(not damage, f"{way}: {damage} bytes of the page were overwritten")


def test_sriov(bed):
    """A wedged virtual function does no damage and is fenced alone, and so is a wedged physical one"""
    proof.by_sriov(bed, proof.untouched)


globals().update(proof_vfio.tests(proof_vfio.untouched, (1, 8)))
globals().update(proof.flavour_tests(FLAVOURS, proof.untouched, (1, 8)))
