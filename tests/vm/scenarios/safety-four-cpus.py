# SPDX-License-Identifier: GPL-2.0-or-later
"""The same proof on four CPUs."""

from testbed import proof, proof_vfio
from testbed.scenario import other

safety = other("safety")
BED = safety.BED | {"smp": 4}
FLAVOURS = safety.FLAVOURS if proof.FULL else ("strict", "irqs-off", "hardirq", "sva")
globals().update(proof.flavour_tests(FLAVOURS, proof.untouched, (1, 8)))
if proof.FULL:
    globals().update(proof_vfio.tests(proof_vfio.untouched, range(1, 9)))
