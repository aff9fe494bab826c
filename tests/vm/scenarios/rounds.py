# SPDX-License-Identifier: GPL-2.0-or-later
"""A few random rounds of wedge and recovery; tests/vm/stress does as many as one has time for."""

import os
import random

from testbed import rounds
from workshop.ui import Failure

BED = {"kernel": "patched", "devices": "nvme:2,virtio-net", "append": rounds.APPEND}
ROUNDS = 10
# Without those that wait a minute for a device.
MODES = {name: weight for name, weight in rounds.MODES.items() if name != "reset-fails"}


def test_rounds(bed):
    """Hardware, kernel and data agree through random rounds of wedge and recovery"""
    seed, said = int(os.environ.get("TESTBED_SEED") or random.SystemRandom().randrange(10**6)), []
    machine = rounds.Rounds(bed, seed, say=said.append, modes=MODES)
    try:
        machine.start_traffic()
        for _ in range(ROUNDS):
            machine.run()
        machine.finish()
    except Failure as failure:
        raise Failure(f"seed {seed} (TESTBED_SEED={seed} does it again), after {machine.cycles} cycles: {said[-2:]}\n"
                      f"{failure}") from None
