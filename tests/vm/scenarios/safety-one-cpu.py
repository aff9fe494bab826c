# SPDX-License-Identifier: GPL-2.0-or-later
"""The same proof on one CPU, which is the one that would have to take the SMMU's interrupts.

The user of VFIO is a real-time thread: nothing that the kernel leaves to a worker is done before it has looked.
"""

from testbed import proof, proof_vfio
from testbed.scenario import other

safety = other("safety")
BED = safety.BED | {"smp": 1}
FLAVOURS = safety.FLAVOURS if proof.FULL else ("strict", "irqs-off", "hardirq", "sva")
globals().update(proof.flavour_tests(FLAVOURS, proof.untouched, (1, 8)))
globals().update(proof_vfio.tests(proof_vfio.untouched, (1, 8), realtime=True))
