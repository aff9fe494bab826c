# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock kernel, for contrast: in every flavour the page of somebody else is damaged."""

from testbed import proof, proof_vfio
from testbed.scenario import check, other

safety = other("safety")
BED = {"kernel": "stock", "devices": safety.DEVICES}


def test_healthy(bed):
    """Devices that answer do no damage: without a fault nothing is wrong"""
    proof.healthy(bed, "strict", proof.in_one_domain(bed))
    for flavour in proof.PASID_FLAVOURS:
        proof.healthy(bed, flavour, proof.alone(bed))


def test_slow(bed):
    """A device that answers too late does damage"""
    devices = proof.in_one_domain(bed)
    proof.damaged(bed, "strict", devices[:2], devices, "slow:60000")


def test_vfio(bed):
    """A disk in the hands of a VFIO user, who unmaps a page through a container and through iommufd"""
    for way in ("group", "cdev"):
        check(proof.by_vfio(bed, way) > 0, f"{way}: no damage, so the same test on our kernel proves nothing")


def test_sriov(bed):
    """A wedged virtual function does damage, and so does a wedged physical one"""
    proof.by_sriov(bed, proof.damaged)


globals().update(proof_vfio.tests(proof_vfio.damaged, (1, 8)))
globals().update(proof.flavour_tests(safety.FLAVOURS, proof.damaged, (1, 8)))
