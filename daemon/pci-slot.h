/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Physical slots, as /sys/bus/pci/slots names them (Documentation/ABI/testing/sysfs-bus-pci).
 * Everything here only reads, and what it reads needs no lock of a device.
 */
#ifndef SMMU_RAS_PCI_SLOT_H
#define SMMU_RAS_PCI_SLOT_H

#include "util.h"

/*
 * The slot that device @dev of @bus is in, or the nearest one above it; with @power only one whose
 * power can be switched. Returns 0 with its name in @buf; -ENOENT, with "" in @buf, when there is
 * none; or -errno.
 */
int pci_slot_find(const char *bus, const char *dev, bool power, char *buf, size_t size);

/*
 * Hands the name of every slot whose power can be switched and that device @dev of @bus is in, or
 * below, to @handler; the nearest one comes first. Returns 0, -ENOENT for a device that is not
 * there, or -errno.
 */
int pci_slot_powers(const char *bus, const char *dev,
		    void (*handler)(const char *slot, void *userdata), void *userdata);

/*
 * Hands the name of every PCI device in @slot, or below something in it, to @handler until that
 * returns false. Returns 0 when all were handed out, 1 when @handler stopped it, or -errno.
 */
int pci_slot_devices(const char *slot, bool (*handler)(const char *dev, void *userdata),
		     void *userdata);

#endif
