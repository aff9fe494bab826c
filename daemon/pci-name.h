/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI addresses as people write them. */
#ifndef SMMU_RAS_PCI_NAME_H
#define SMMU_RAS_PCI_NAME_H

#include <stdint.h>

#include "util.h"

struct pci_address {
	uint32_t domain;
	uint8_t bus;
	uint8_t device;
	uint8_t function;
};

/* "ffffffff:ff:1f.7" and its NUL. */
#define PCI_NAME_SIZE 17

/*
 * Reads what people paste: "01:00.0", "0000:01:00.0", or a sysfs path that ends in one.
 * Returns 0, or -EINVAL.
 */
int pci_address_parse(const char *text, struct pci_address *ret);

/* Writes the kernel's name for it, such as "0000:01:00.0". Returns @buf. */
const char *pci_address_format(const struct pci_address *address, char buf[static PCI_NAME_SIZE]);

#endif
