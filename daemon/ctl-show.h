/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of show that other verbs use. */
#ifndef SMMU_RAS_CTL_SHOW_H
#define SMMU_RAS_CTL_SHOW_H

#include "ctl-story.h"
#include "ctl-topology.h"

/*
 * What kernel and daemon know about PCI device @name, into @story; @m has .daemon and .policy, and
 * gets .family. Returns CTL_OK, CTL_NO_FAMILY, or CTL_NO_DEVICE, CTL_FAILURE with the kernel's
 * reason in @text of @size bytes. @story is filled in any case.
 */
int show_read(const char *name, struct story *story, struct machine *m, char *text, size_t size);

/* Prints the story of @story on stdout; @t and @s are about the same device. */
void show_print(const struct story *story, const struct machine *m, const struct topology *t,
		const struct device_subject *s);

/* What the policy sees of the device; of one that is not fenced, as if it were by a time-out. */
void show_subject(struct device_subject *s, const struct story *story);

/* The steps of @rule, "unbind, reset, bind". Returns @buf. */
const char *show_steps(const struct rule *rule, char *buf, size_t size);

/*
 * Does somebody use the device? @text of @size bytes gets a sentence in any case: "in use by
 * filesystem /srv (nvme0n1)", or that nobody is known to.
 */
bool show_users(const char *dev, char *text, size_t size);

#endif
