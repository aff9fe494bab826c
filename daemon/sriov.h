/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual functions of a device. Unbinding the driver of a physical function takes its virtual
 * functions away, and with them who drove them; a recovery puts both back.
 */
#ifndef SMMU_RAS_SRIOV_H
#define SMMU_RAS_SRIOV_H

#include "state.h"

/* Finds out how many the device has, and who drives them; zero for one that has none. */
void sriov_read(const char *bus, const char *dev, struct vf_setup *ret);

/* Has the device lost the virtual functions of @vfs, while its driver is there to make them? */
bool sriov_owed(const char *bus, const char *dev, const struct vf_setup *vfs);

/*
 * Puts back what is missing: the functions, their driver_override, their drivers. Does nothing when
 * there are some already: then somebody else has decided how many there shall be. Blocks.
 *
 * Returns 0, with a remark in @text ("" for none) when something is different from before; or
 * -errno with @text, when there are none now.
 */
int sriov_restore(const char *bus, const char *dev, const struct vf_setup *vfs, char *text,
		  size_t size);

#endif
