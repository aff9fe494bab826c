// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events for smmu-rasctl simulate, and what comes of them: the daemon's own table of states, driven
 * to its end by made-up events. It has to come to an end, and whatever is asked of it may not be
 * called impossible.
 */
#include "ctl-sim.h"
#include "fuzz.h"

static const char policy_text[] =
	"{\"max_parallel\": 2, \"rules\": ["
	"{\"match\": {\"driver\": \"nvme\"}, \"steps\": [\"reset\"], \"attempts\": 2},"
	"{\"match\": {\"driver\": \"a*\"}, \"on_exhausted\": \"remove\", \"rate_limit\": false},"
	"{\"match\": {\"driver\": \"b*\"}, \"action\": \"isolate\"},"
	"{\"match\": {\"vendor\": \"8086\"}, \"action\": \"ignore\"},"
	"{\"match\": {\"reason\": \"sync-timeout\"}, \"steps\": [\"unbind\", \"remove\", "
	"\"rescan\", \"bind\"]}]}";

static const struct policy *policy(void)
{
	static struct policy *policy;
	char error[POLICY_ERROR_SIZE];

	if (policy)
		return policy;
	policy = policy_new();
	FUZZ_INSIST(policy);
	FUZZ_INSIST(policy_parse(policy, "policy", policy_text, sizeof(policy_text) - 1, true,
				 error) == 0);
	FUZZ_INSIST(policy_finish(policy) == 0);
	return policy;
}

static void tell(uint64_t at, const struct sim_device *device, const char *what, const char *text,
		 void *userdata)
{
	uint64_t *last = userdata;

	FUZZ_INSIST(at >= *last);
	*last = at;
	FUZZ_INSIST(!device || memchr(device->dev, '\0', sizeof(device->dev)));
	FUZZ_INSIST(what && text);
	FUZZ_INSIST(!streq(what, "bug"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);
	uint64_t last = 0;
	struct sim sim = {.policy = policy(), .tell = tell, .userdata = &last};
	char error[SIM_ERROR_SIZE] = "";

	if (sim_read(&sim, "fuzz.json", text, size, error) < 0)
		FUZZ_INSIST(error[0] && memchr(error, '\0', sizeof(error)));
	else
		sim_run(&sim);
	sim_clear(&sim);
	return 0;
}
