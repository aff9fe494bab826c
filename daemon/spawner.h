/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spawner: a small process beside the daemon that keeps the privileges of the service, so that
 * the daemon, which listens and parses, can give them up (confine.h). It forks a worker for each
 * job that the daemon asks for, and trusts it as little as it can: it looks at each field of a job,
 * and a program is run only when it is one of a policy that the spawner has read itself.
 *
 * It dies with the daemon, and all workers die with it. When it dies alone, the daemon ends, too.
 */
#ifndef SMMU_RAS_SPAWNER_H
#define SMMU_RAS_SPAWNER_H

#include "worker.h"

/* The daemon's end. */
struct spawner {
	pid_t pid;
	int fd;	      /* hangs up when it has ended, before any worker dies of that */
	uint64_t seq; /* of the last request */
	bool late;    /* whose answer did not come in time */
};

#define SPAWNER_NONE ((struct spawner){.fd = -1})

/*
 * Forks it. For a process that has nothing open yet but 0, 1 and 2, and has read nothing.
 * Returns 0 or -errno.
 */
int spawner_start(struct spawner *ret);

/*
 * Has it fork a worker for @job. Waits for the answer, for two seconds at most; while one is
 * late, not at all. Returns 0 with descriptors that the caller closes; -EAGAIN without an answer,
 * or without a spawner; -EPERM for a program of no policy that it has read; or -errno. The worker
 * is its child, and nothing that the caller has to reap.
 */
int spawner_worker(struct spawner *spawner, const struct job *job, struct worker *ret);

/*
 * Has it read the policy, so that workers may run the programs of it; and keep it, when it is good,
 * for the time when it is not. When it is not, the kept one is what counts. Waits as above.
 * Returns 0; or -errno when there is neither, or it could not be kept.
 */
int spawner_policy(struct spawner *spawner);

/* Lets it end, and all workers with it. */
void spawner_stop(struct spawner *spawner);

#endif
