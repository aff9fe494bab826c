// SPDX-License-Identifier: GPL-2.0-or-later
/* Which policy is in force, and what is done when the one on disk is bad. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "host.h"
#include "log.h"
#include "manager.h"
#include "messages.h"
#include "policy-kept.h"
#include "tell.h"

/*
 * Without a policy nobody knows what may be done to a device, but fenced devices have to be
 * watched, and drivers that an earlier daemon owes have to be given back.
 */
static int isolating_policy(struct policy **ret)
{
	struct policy *policy = policy_new();

	if (policy)
		policy->fallback = rule_new("isolate-all", "built in, for want of a good policy");
	if (!policy || !policy->fallback) {
		policy_unref(policy);
		return -ENOMEM;
	}
	policy->fallback->action = ACTION_ISOLATE;
	*ret = policy;
	return policy_finish(policy);
}

static bool kept_policy(struct policy **ret)
{
	char error[POLICY_ERROR_SIZE];
	int r = policy_load_kept(ret, error);

	if (r < 0 && r != -ENOENT)
		log_error("%s; the policy that was kept is of no use", error);
	return r >= 0;
}

/* What an earlier daemon told about the policy that was kept is true of it still. */
static void force_kept(struct manager *m, bool kept)
{
	if (policy_force_load(&m->force) < 0 || m->force.origin == FORCE_NOTHING || !kept)
		m->force = (struct policy_force){.origin = FORCE_NOTHING};
	if (kept)
		m->force.origin = FORCE_KEPT;
}

/* Nobody but people need it. */
static void tell_force(const struct manager *m)
{
	int r = policy_force_save(&m->force);

	if (r < 0)
		log_debug("Cannot write /run/smmu-rasd/policy.state: %s", strerror(-r));
}

/* Workers run only programs of a policy that their spawner has read itself. */
static void tell_spawner(struct manager *m)
{
	int r = spawner_policy(&m->spawner);

	if (r < 0)
		log_warning("The policy cannot be kept in %s, or its programs cannot be run: %s; a "
			    "daemon that is started while the policy is bad would have none. When "
			    "that is mended, run: systemctl reload smmu-rasd",
			    host_dir(HOST_KEPT), strerror(-r));
}

static int refuse_policy(struct manager *m, int r)
{
	const char *consequence = "The policy in force stays";
	struct log_record record;

	if (!m->policy) {
		bool kept = kept_policy(&m->policy);

		force_kept(m, kept);
		if (kept)
			tell_spawner(m);
		consequence = kept ? "The last good one is in force, which was kept in "
				     "/run/smmu-rasd-policy, until this is mended and systemctl "
				     "reload smmu-rasd is run"
				   : "There is no policy to start with: devices stay fenced until "
				     "this is mended and systemctl reload smmu-rasd is run";
	}
	m->force.refused = now_usec(CLOCK_REALTIME);
	tell_force(m);
	log_record_init(&record, LOG_ERR, MESSAGE_POLICY_REFUSED);
	log_record_send(&record, "%s. %s", m->policy_error, consequence);
	return m->policy ? r : isolating_policy(&m->policy);
}

int manager_load_policy(struct manager *m)
{
	struct policy *policy = NULL;
	struct log_record record;
	int r = policy_load(&policy, m->policy_error);

	m->policy_refused = r < 0;
	if (r < 0)
		return refuse_policy(m, r);
	policy_unref(m->policy);
	m->policy = policy;
	tell_spawner(m);
	m->force = (struct policy_force){.origin = FORCE_FILES,
					 .digest = policy_digest(policy),
					 .read = now_usec(CLOCK_REALTIME)};
	tell_force(m);
	policy_drop_texts(policy);
	log_record_init(&record, LOG_INFO, MESSAGE_POLICY_LOADED);
	if (policy->sources)
		log_record_send(&record, "Policy loaded from %s: %zu rule%s", policy->sources,
				policy->n_rules - 1, policy->n_rules == 2 ? "" : "s");
	else
		log_record_send(&record, "No policy file found; every device is recovered by the "
					 "built-in rule");
	return 0;
}

int manager_reload(struct manager *m)
{
	struct device *d;
	struct device *next;
	int r;

	tell_systemd("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
	r = manager_load_policy(m);
	if (r >= 0) {
		for (d = TAILQ_FIRST(&m->devices); d; d = next) {
			next = TAILQ_NEXT(d, all);
			device_policy_changed(d);
		}
	}
	m->status_dirty = true;
	m->queue_dirty = true;
	m->ready_told = false;
	manager_tell_ready(m);
	return r;
}
