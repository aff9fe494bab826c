/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a PCI device is, and who its neighbours are. */
#ifndef SMMU_RAS_CTL_TOPOLOGY_H
#define SMMU_RAS_CTL_TOPOLOGY_H

#include <jansson.h>

#include "pci-name.h"
#include "util.h"

#define TOPOLOGY_MAX 64

struct topology_list {
	size_t n;
	bool more; /* than fit here */
	char dev[TOPOLOGY_MAX][PCI_NAME_SIZE];
};

struct topology {
	struct topology_list path;	/* from the root port to the device itself */
	struct topology_list functions; /* the others of the same device */
	struct topology_list vfs;	/* its virtual functions */
	struct topology_list group;	/* the others of its IOMMU group */
	char pf[PCI_NAME_SIZE];		/* whose virtual function it is; "" for nobody's */
	char group_name[16];
	char slot[64];
};

/* All that sysfs knows; of what is not there nothing. */
void topology_read(struct topology *t, const char *dev);

/* "root port", "switch upstream port", "endpoint", ...; "" when that may not be read. */
const char *pci_port_type(const char *dev);

#endif
