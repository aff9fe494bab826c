# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel without the family."""

from lib.bench import DEV, equal, recovered, test
from lib.messages import NO_FAMILY


@test
def waits_for_the_family(b):
    device = b.kernel.add(DEV)
    b.start()
    b.wait_record(NO_FAMILY)
    b.kernel.fence(DEV)
    b.kernel.family_appears()
    recovered(b, device)
    equal(len(b.kernel.records(NO_FAMILY)), 1, "said once")


waits_for_the_family.has_family = False
