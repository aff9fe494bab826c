// SPDX-License-Identifier: GPL-2.0-or-later
/* Jobs as the daemon asks its spawner for them: what is taken is whole, and leads nowhere else. */
#include "fuzz.h"
#include "job-message.h"

#define KNOWN                                                                                      \
	"{\"rules\": [{\"name\": \"r\", \"steps\": [{\"step\": \"exec\", \"exec\": [\"/x\"]}]}]}"

static struct programs programs;

static void learn(void)
{
	char error[POLICY_ERROR_SIZE];
	struct policy *policy = policy_new();

	FUZZ_INSIST(policy && policy_parse(policy, "x", KNOWN, strlen(KNOWN), true, error) == 0);
	FUZZ_INSIST(policy_finish(policy) == 0 && programs_add(&programs, policy) == 0);
	policy_unref(policy);
}

static void insist_component(const char *s)
{
	FUZZ_INSIST(!strchr(s, '/') && !strchr(s, '\n') && s[0] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct job_message message = {0};
	struct job_message again;
	const char *field = NULL;
	struct job job;

	if (!programs.n)
		learn();
	memcpy(&message, data, size < sizeof(message) ? size : sizeof(message));
	/* A hash of 64 bits is not found by chance. */
	for (size_t i = 0; i < JOB_STEPS_MAX; i++)
		if (message.steps[i].program == 1)
			message.steps[i].program = program_id(programs.first);
	if (job_decode(&job, &message, &programs, &field) < 0) {
		FUZZ_INSIST(field);
		return 0;
	}
	FUZZ_INSIST(!field);
	insist_component(job.bus);
	insist_component(job.dev);
	insist_component(job.driver);
	insist_component(job.slot);
	FUZZ_INSIST(job.n_steps > 0 && job.n_steps <= JOB_STEPS_MAX);
	for (size_t i = 0; i < job.n_steps; i++) {
		bool runs = job.steps[i].kind == STEP_EXEC || job.steps[i].kind == STEP_HOOK;

		FUZZ_INSIST(job.steps[i].kind <= STEP_HOOK);
		FUZZ_INSIST(runs ? job.steps[i].command == programs.first : !job.steps[i].command);
		FUZZ_INSIST(!job.hooks_only || job.steps[i].kind == STEP_HOOK);
	}
	/* Said again, it is the same job. */
	FUZZ_INSIST(job_encode(&again, &job) == 0);
	FUZZ_INSIST(job_decode(&job, &again, &programs, &field) == 0);
	return 0;
}
