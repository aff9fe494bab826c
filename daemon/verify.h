/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a device function, as far as the kernel can say? A driver that is bound may still be without
 * its disk: what hung below the device before the recovery has to be there afterwards, and work.
 * All of this is for workers.
 */
#ifndef SMMU_RAS_VERIFY_H
#define SMMU_RAS_VERIFY_H

#include "state.h"

/* Counts what hangs below the device. A device that is gone has nothing. */
void functions_count(const char *bus, const char *dev, struct functions *ret);

/*
 * Waits until the device has at least @wanted, and all of it works: NVMe controllers are live,
 * virtio devices driven and not failed. Looks again whenever the kernel announces something, and
 * from time to time. Returns 0; or -ETIMEDOUT after @limit us, with @text saying what is missing.
 */
int functions_wait(const char *bus, const char *dev, const struct functions *wanted, uint64_t limit,
		   char *text, size_t size);

#endif
