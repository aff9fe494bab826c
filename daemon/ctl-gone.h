/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that left the system while they were fenced, as the daemon keeps them (gone.h). */
#ifndef SMMU_RAS_CTL_GONE_H
#define SMMU_RAS_CTL_GONE_H

#include "ctl-story.h"

/* Makes the story of what @record is about, and takes over what is on its heap. */
void gone_story(struct story *story, const struct device_record *record);

/* The story of the device that was last called @dev; false: none is known. */
bool gone_read(const char *bus, const char *dev, struct story *story);

/* As ctl_device_name(), for a device that sysfs does not have any more. Returns @buf. */
const char *gone_name(const struct device_record *record, char *buf, size_t size);

/* "reset was running", "was isolated by rule x": how it stood when it was removed. Returns @buf. */
const char *gone_was(const struct story *story, char *buf, size_t size);

/* What to do about it; returns how many. */
size_t gone_advice(const struct story *story, struct advice advice[static ADVICE_MAX]);

#endif
