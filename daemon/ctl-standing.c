// SPDX-License-Identifier: GPL-2.0-or-later
/* The policy on disk, held against the one that the daemon goes by. */
#include <errno.h>

#include "ctl-story.h"

static enum standing find_standing(const struct machine *m)
{
	struct policy_force force;

	if (!m->daemon || policy_force_load(&force) < 0)
		return STANDING_UNKNOWN;
	if (!m->policy)
		return m->policy_hidden ? STANDING_UNKNOWN : STANDING_BAD;
	if (force.refused || force.origin != FORCE_FILES)
		return STANDING_REFUSED;
	return force.digest == policy_digest(m->policy) ? STANDING_IN_FORCE : STANDING_CHANGED;
}

void machine_read_policy(struct machine *m)
{
	int r = policy_load(&m->policy, m->policy_error);

	if (r < 0)
		m->policy = NULL;
	/* Who may not read it knows no mistake of it. */
	m->policy_hidden = r == -EACCES;
	m->standing = find_standing(m);
}

bool machine_policy_stale(const struct machine *m)
{
	return m->standing == STANDING_CHANGED || m->standing == STANDING_REFUSED;
}

/* What the daemon goes by. */
static void by_text(const struct policy_force *force, char *buf, size_t size)
{
	if (force->origin == FORCE_NOTHING)
		str_copy(buf, size, "has none to go by: it leaves all devices fenced");
	else if (force->read)
		snprintf(buf, size, "goes by the one that it read at %s",
			 CTL_TIME_TEXT(force->read));
	else
		str_copy(buf, size, "goes by the last good one");
}

const char *machine_policy_text(const struct machine *m, char *buf, size_t size)
{
	static const char reload[] = "To have it read again: systemctl reload smmu-rasd";
	struct policy_force force = {.origin = FORCE_FILES};
	uint64_t changed;
	char by[96];

	buf[0] = '\0';
	if (policy_force_load(&force) < 0)
		return buf;
	by_text(&force, by, sizeof(by));
	switch (m->standing) {
	case STANDING_CHANGED:
		changed = policy_changed(m->policy);
		/* Files may bring an older time along. */
		if (changed > force.read)
			snprintf(buf, size,
				 "The policy on disk was changed at %s; smmu-rasd still %s. %s",
				 CTL_TIME_TEXT(changed), by, reload);
		else
			snprintf(buf, size,
				 "The policy on disk is another one by now; smmu-rasd still %s. %s",
				 by, reload);
		break;
	case STANDING_REFUSED:
		snprintf(
			buf, size,
			"The policy on disk is good now, but smmu-rasd had to refuse it at %s, and "
			"%s. %s",
			CTL_TIME_TEXT(force.refused), by, reload);
		break;
	case STANDING_BAD:
		snprintf(buf, size,
			 "Until it is mended, and systemctl reload smmu-rasd is run, smmu-rasd %s",
			 by);
		break;
	case STANDING_UNKNOWN:
	case STANDING_IN_FORCE:
		break;
	}
	return buf;
}

json_t *machine_policy_json(const struct machine *m)
{
	static const char *const standings[] = {
		[STANDING_UNKNOWN] = NULL,	[STANDING_IN_FORCE] = "in-force",
		[STANDING_CHANGED] = "changed", [STANDING_REFUSED] = "refused",
		[STANDING_BAD] = "mistake",
	};
	struct policy_force force = {.origin = FORCE_FILES};
	char digest[POLICY_DIGEST_SIZE] = "";

	if (m->standing != STANDING_UNKNOWN)
		(void)policy_force_load(&force);
	if (force.digest)
		policy_digest_text(force.digest, digest);
	return json_pack("{s:s?, s:o, s:o, s:o}", "standing", standings[m->standing], "read",
			 ctl_json_time(force.read), "refused", ctl_json_time(force.refused),
			 "digest", ctl_json_text(digest));
}
