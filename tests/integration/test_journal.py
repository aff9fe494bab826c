# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written to the journal."""

import time

from lib.bench import check, equal, test
from lib.messages import COLLAPSED, FENCED_ID, ISOLATED


@test
def a_burst_of_fences_does_not_flood_the_journal(b):
    # 1000 devices at once. None may be passed over, and those that are given up are told of one by one.
    b.policy(action="isolate")
    names = [f"{i // 256:04x}:{i % 256:02x}:00.0" for i in range(1000)]
    for name in names:
        b.kernel.add(name, group=names.index(name))
    b.hurry()
    b.start()
    begin = time.monotonic()
    for name in names:
        b.kernel.fence(name)
    b.kernel.wait(lambda: len(b.kernel.records(ISOLATED)) == len(names), "every device isolated")

    def told():
        records = [r for r in b.kernel.journal if FENCED_ID in (r.get("MESSAGE_ID"), r.get("SMMU_RAS_SUMMARY_OF"))]
        return {device for r in records for device in r["devices"]}

    b.kernel.wait(lambda: told() == set(names), "a record or summary that names each device")
    ones, summaries = b.kernel.records(FENCED_ID), b.kernel.records(COLLAPSED)
    # 100 at once, and 10 more in each second, as daemon/journal.h has it.
    most = 250 + 10 * (time.monotonic() - begin)
    check(len(ones) + len(summaries) < most, f"{len(ones)} records and {len(summaries)} summaries")
    counted = sum(int(r["SMMU_RAS_COUNT"]) for r in summaries if r["SMMU_RAS_SUMMARY_OF"] == FENCED_ID)
    equal(len(ones) + counted, len(names), "fences told of")
