// SPDX-License-Identifier: GPL-2.0-or-later
#include "programs.h"

#include <errno.h>

/* Nobody gains by two that are alike: both would be the policy's. */
uint64_t program_id(const struct command *command)
{
	uint64_t id = HASH_INIT;

	/* With the NUL: {"a", "b"} is not {"ab"}. */
	for (size_t i = 0; command->argv[i]; i++)
		id = hash_bytes(id, command->argv[i], strlen(command->argv[i]) + 1);
	return id ? id : 1;
}

static void command_free(struct command *command)
{
	for (size_t i = 0; command->argv[i]; i++)
		free(command->argv[i]);
	free(command);
}

void programs_clear(struct programs *programs)
{
	struct command *next;

	for (struct command *c = programs->first; c; c = next) {
		next = c->next;
		command_free(c);
	}
	*programs = (struct programs){.first = NULL};
}

static size_t command_size(const struct command *command)
{
	size_t size = sizeof(*command) + sizeof(command->argv[0]);

	for (size_t i = 0; command->argv[i]; i++)
		size += sizeof(command->argv[0]) + strlen(command->argv[i]) + 1;
	return size;
}

static int add_copy(struct programs *programs, const struct command *command)
{
	size_t size = command_size(command);
	struct command *copy;
	size_t n = 0;

	if (programs->n == PROGRAMS_MAX || programs->size + size > PROGRAMS_SIZE_MAX)
		return -E2BIG;
	while (command->argv[n])
		n++;
	copy = calloc(1, sizeof(*copy) + (n + 1) * sizeof(copy->argv[0]));
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		copy->argv[i] = strdup(command->argv[i]);
		if (!copy->argv[i]) {
			command_free(copy);
			return -ENOMEM;
		}
	}
	copy->next = programs->first;
	programs->first = copy;
	programs->n++;
	programs->size += size;
	return 0;
}

static int add_all(struct programs *programs, const struct policy *policy)
{
	for (const struct command *c = policy->commands; c; c = c->next) {
		int r = programs_find(programs, program_id(c)) ? 0 : add_copy(programs, c);

		if (r < 0)
			return r;
	}
	return 0;
}

int programs_add(struct programs *programs, const struct policy *policy)
{
	int r = add_all(programs, policy);

	if (r != -E2BIG)
		return r;
	/* Those of the policy in force matter more than what an earlier one named. */
	programs_clear(programs);
	return add_all(programs, policy);
}

const struct command *programs_find(const struct programs *programs, uint64_t id)
{
	for (const struct command *c = programs->first; c; c = c->next)
		if (program_id(c) == id)
			return c;
	return NULL;
}
