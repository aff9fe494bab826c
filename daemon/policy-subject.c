// SPDX-License-Identifier: GPL-2.0-or-later
#include "pci-slot.h"
#include "policy.h"
#include "sysfs.h"

/* sysfs writes "0x8086"; rules, as lspci, write 8086. */
static void read_number(const char *bus, const char *dev, const char *attr, char *buf, size_t size)
{
	if (sysfs_read(bus, dev, attr, buf, size) < 0)
		buf[0] = '\0';
	if (strncmp(buf, "0x", 2) == 0)
		memmove(buf, buf + 2, strlen(buf + 2) + 1);
}

void device_subject_fill(struct device_subject *s, const char *bus, const char *dev,
			 const char *driver, const char *iommu, uint32_t reason)
{
	str_copy(s->address, sizeof(s->address), dev);
	read_number(bus, dev, "vendor", s->vendor, sizeof(s->vendor));
	read_number(bus, dev, "device", s->device, sizeof(s->device));
	read_number(bus, dev, "class", s->class, sizeof(s->class));
	if (driver)
		str_copy(s->driver, sizeof(s->driver), driver);
	else if (sysfs_link(bus, dev, "driver", s->driver, sizeof(s->driver)) < 0)
		s->driver[0] = '\0';
	str_copy(s->iommu, sizeof(s->iommu), iommu ? iommu : "");
	if (pci_slot_find(bus, dev, false, s->slot, sizeof(s->slot)) < 0)
		s->slot[0] = '\0';
	s->match = (struct match_subject){.values = {
						  [MATCH_ADDRESS] = s->address,
						  [MATCH_VENDOR] = s->vendor,
						  [MATCH_DEVICE] = s->device,
						  [MATCH_CLASS] = s->class,
						  [MATCH_DRIVER] = s->driver,
						  [MATCH_IOMMU] = s->iommu,
						  [MATCH_REASON] = ras_reason_name(reason),
						  [MATCH_SLOT] = s->slot,
					  }};
}
