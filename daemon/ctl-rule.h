/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of the policy, for people and in JSON. */
#ifndef SMMU_RAS_CTL_RULE_H
#define SMMU_RAS_CTL_RULE_H

#include "ctl.h"

/* The policy below --root, or that of this machine. Returns 0 or -errno with @error filled. */
int rule_load_policy(const struct ctl *ctl, struct policy **ret,
		     char error[static POLICY_ERROR_SIZE]);

/* What rule @rule does, in lines that begin with @indent blanks. */
void rule_print(const struct rule *rule, int indent);
/* What it wants of a device: "driver nvme, class 0108*"; "any device". Returns @buf. */
const char *rule_match_text(const struct rule *rule, char *buf, size_t size);
json_t *rule_to_json(const struct rule *rule);

#endif
