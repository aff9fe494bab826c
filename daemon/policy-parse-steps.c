// SPDX-License-Identifier: GPL-2.0-or-later
/* "steps", "hooks" and "on_exhausted": what is done, and which programs are run. */
#include "policy-parse.h"

#include <errno.h>

#define ARGUMENTS_MAX	  64
#define ARGUMENT_SIZE_MAX 4096
#define COMMANDS_MAX	  1024

/* --- programs -------------------------------------------------------------------------------- */

/* Remembers where @path stands, for messages when the program is looked at, and run. */
static char *command_origin(struct context *c, const struct json_path *path)
{
	char where[128];
	char *origin = NULL;
	unsigned int line = 1;
	unsigned int column = 1;

	json_locate(c->text, path, false, &line, &column);
	if (asprintf(&origin, "%s:%u:%u: %s", c->file, line, column,
		     json_path_format(path, where, sizeof(where))) < 0)
		return NULL;
	return origin;
}

static int check_argument(struct context *c, const struct json_path *path, json_t *value,
			  bool first)
{
	const char *s;

	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	s = json_string_value(value);
	if (strlen(s) > ARGUMENT_SIZE_MAX)
		return fail(c, path, "longer than %d bytes", ARGUMENT_SIZE_MAX);
	if (first && s[0] != '/')
		return fail(c, path,
			    "\"%s\" is not an absolute path; programs are run without a shell and "
			    "without a search path",
			    SHOWN(s));
	return 0;
}

static size_t count_commands(const struct policy *policy)
{
	size_t n = 0;

	for (const struct command *command = policy->commands; command; command = command->next)
		n++;
	return n;
}

/* Reads ["/path/of/program", "argument", ...]. */
static int parse_command(struct context *c, const struct json_path *path, json_t *value,
			 const struct command **ret)
{
	size_t n = json_array_size(value); /* 0 for what is no list */
	struct json_path first = {.parent = path, .index = 0};
	struct command *command;

	if (n == 0 || n > ARGUMENTS_MAX)
		return fail(c, path,
			    "expected a program and its arguments, 1 to %d strings such as "
			    "[\"/usr/local/sbin/tell\", \"now\"]",
			    ARGUMENTS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.parent = path, .index = i};
		int r = check_argument(c, &at, json_array_get(value, i), i == 0);

		if (r < 0)
			return r;
	}
	if (count_commands(c->policy) >= COMMANDS_MAX)
		return fail(c, path, "more than %d programs", COMMANDS_MAX);
	command = calloc(1, sizeof(*command) + (n + 1) * sizeof(command->argv[0]));
	if (!command)
		return no_memory(c);
	command->next = c->policy->commands;
	c->policy->commands = command;
	command->origin = command_origin(c, &first);
	if (!command->origin)
		return no_memory(c);
	for (size_t i = 0; i < n; i++) {
		command->argv[i] = strdup(json_string_value(json_array_get(value, i)));
		if (!command->argv[i])
			return no_memory(c);
	}
	*ret = command;
	return 0;
}

/* --- steps ----------------------------------------------------------------------------------- */

static const char *const step_names[] = {"unbind", "reset",  "bind",   "reattach",	   "verify",
					 "wait",   "remove", "rescan", "slot-power-cycle", "exec"};

static int parse_step_name(struct context *c, const struct json_path *path, json_t *value,
			   void *target)
{
	struct step *step = target;
	const char *name;

	if (!json_is_string(value))
		return fail(c, path, "expected the name of a step, found %s", type_name(value));
	name = json_string_value(value);
	for (enum step_kind kind = 0; kind < _STEP_KIND_MAX; kind++) {
		if (streq(name, step_name(kind))) {
			step->kind = kind;
			return 0;
		}
	}
	return fail_unknown(c, path, false, "step", name, step_names, ARRAY_SIZE(step_names));
}

static int parse_step_timeout(struct context *c, const struct json_path *path, json_t *value,
			      void *target)
{
	struct step *step = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &step->timeout);
}

static int parse_step_for(struct context *c, const struct json_path *path, json_t *value,
			  void *target)
{
	struct step *step = target;

	return parse_span(c, path, value, 1, TIMEOUT_MAX, &step->wait);
}

static int parse_step_exec(struct context *c, const struct json_path *path, json_t *value,
			   void *target)
{
	struct step *step = target;

	return parse_command(c, path, value, &step->command);
}

static const struct member step_members[] = {
	{"step", parse_step_name}, {"timeout", parse_step_timeout}, {"for", parse_step_for},
	{"exec", parse_step_exec}, {"description", parse_text},
};

static int parse_step(struct context *c, const struct json_path *path, json_t *value,
		      struct step *step)
{
	int r;

	if (json_is_string(value)) {
		r = parse_step_name(c, path, value, step);
	} else if (json_is_object(value)) {
		if (!json_object_get(value, "step"))
			return fail(c, path,
				    "a step needs its name, such as {\"step\": \"reset\"}");
		r = parse_object(c, path, value, step_members, ARRAY_SIZE(step_members), step);
	} else {
		return fail(c, path, "expected the name of a step or an object, found %s",
			    type_name(value));
	}
	if (r < 0)
		return r;
	if (step->kind == STEP_WAIT && step->wait == 0)
		return fail(
			c, path,
			"\"wait\" needs to know how long: {\"step\": \"wait\", \"for\": \"2s\"}");
	if (step->kind != STEP_WAIT && step->wait != 0) {
		struct json_path at = {.parent = path, .key = "for"};

		return fail_key(c, &at,
				"only the step \"wait\" has \"for\"; use \"timeout\" to "
				"limit another one");
	}
	if (step->kind == STEP_EXEC && !step->command)
		return fail(c, path,
			    "\"exec\" needs a program: {\"step\": \"exec\", \"exec\": "
			    "[\"/usr/local/sbin/mend\"]}");
	if (step->kind != STEP_EXEC && step->command) {
		struct json_path at = {.parent = path, .key = "exec"};

		return fail_key(c, &at, "only the step \"exec\" runs a program");
	}
	return 0;
}

/* What a list of steps has done to the device up to one of them. */
struct progress {
	bool unbound; /* its driver has to be bound again */
	bool away;    /* it is not in the system */
};

/* Refuses what would leave a device without its driver, or out of the system, and what cannot work.
 */
static int check_order(struct context *c, const struct json_path *path, const struct step *step,
		       struct progress *p)
{
	switch (step->kind) {
	case STEP_UNBIND:
	case STEP_RESET:
	case STEP_REATTACH:
	case STEP_VERIFY:
	case STEP_REMOVE:
	case STEP_BIND:
		if (p->away)
			return fail(c, path,
				    "the device is not there any more after \"remove\"; put "
				    "\"rescan\" between them");
		if (step->kind == STEP_UNBIND || step->kind == STEP_REMOVE)
			p->unbound = true;
		if (step->kind == STEP_BIND)
			p->unbound = false;
		p->away = step->kind == STEP_REMOVE;
		break;
	case STEP_SLOT_POWER_CYCLE:
		p->unbound = true;
		p->away = false;
		break;
	case STEP_RESCAN:
		p->away = false;
		break;
	default:
		break;
	}
	return 0;
}

int parse_steps(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	struct rule *rule = target;
	struct progress progress = {0};

	if (!json_is_array(value))
		return fail(c, path, "expected a list of steps, found %s", type_name(value));
	if (json_array_size(value) == 0 || json_array_size(value) > RULE_STEPS_MAX)
		return fail(c, path,
			    "expected 1 to %d steps; to leave a device fenced, use "
			    "\"action\": \"isolate\"",
			    RULE_STEPS_MAX);
	memset(rule->steps, 0, sizeof(rule->steps));
	rule->n_steps = 0;
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path at = {.parent = path, .index = i};
		struct step *step = &rule->steps[i];
		int r = parse_step(c, &at, json_array_get(value, i), step);

		if (r >= 0)
			r = check_order(c, &at, step, &progress);
		if (r < 0)
			return r;
		rule->n_steps++;
	}
	if (progress.away)
		return fail(c, path,
			    "the device is removed and never looked for again; add \"rescan\" and "
			    "\"bind\", or use \"on_exhausted\": \"remove\"");
	if (progress.unbound)
		return fail(c, path, "the driver is unbound and never bound again; add \"bind\"");
	return 0;
}

/* --- hooks ----------------------------------------------------------------------------------- */

static int parse_hook_exec(struct context *c, const struct json_path *path, json_t *value,
			   void *target)
{
	struct hook *hook = target;

	return parse_command(c, path, value, &hook->command);
}

static int parse_hook_timeout(struct context *c, const struct json_path *path, json_t *value,
			      void *target)
{
	struct hook *hook = target;

	return parse_span(c, path, value, USEC_PER_MSEC, TIMEOUT_MAX, &hook->timeout);
}

static int parse_hook_on_failure(struct context *c, const struct json_path *path, json_t *value,
				 void *target)
{
	static const char *const names[] = {"continue", "stop"};
	struct hook *hook = target;

	if (!json_is_string(value))
		return fail(c, path, "expected \"continue\" or \"stop\", found %s",
			    type_name(value));
	if (!one_of(json_string_value(value), names, ARRAY_SIZE(names)))
		return fail_unknown(c, path, false, "value", json_string_value(value), names,
				    ARRAY_SIZE(names));
	hook->stop = streq(json_string_value(value), "stop");
	return 0;
}

static const struct member hook_members[] = {
	{"exec", parse_hook_exec},
	{"timeout", parse_hook_timeout},
	{"description", parse_text},
	{"on_failure", parse_hook_on_failure}, /* the last one: only those before have it */
};

static int parse_hook_list(struct context *c, const struct json_path *path, json_t *value,
			   bool before, struct hook *hooks, size_t *n_hooks)
{
	if (!json_is_array(value) || json_array_size(value) > RULE_HOOKS_MAX)
		return fail(c, path,
			    "expected a list of at most %d programs, such as [{\"exec\": "
			    "[\"/usr/local/sbin/tell\"], \"timeout\": \"10s\"}]",
			    RULE_HOOKS_MAX);
	memset(hooks, 0, RULE_HOOKS_MAX * sizeof(*hooks));
	*n_hooks = 0;
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path at = {.parent = path, .index = i};
		int r = parse_object(c, &at, json_array_get(value, i), hook_members,
				     ARRAY_SIZE(hook_members) - (before ? 0 : 1), &hooks[i]);

		if (r < 0)
			return r;
		if (!hooks[i].command)
			return fail(
				c, &at,
				"a hook needs a program: {\"exec\": [\"/usr/local/sbin/tell\"]}");
		(*n_hooks)++;
	}
	return 0;
}

static int parse_before(struct context *c, const struct json_path *path, json_t *value,
			void *target)
{
	struct rule *rule = target;

	return parse_hook_list(c, path, value, true, rule->before, &rule->n_before);
}

static int parse_after(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	struct rule *rule = target;

	return parse_hook_list(c, path, value, false, rule->after, &rule->n_after);
}

static const struct member hooks_members[] = {
	{"before", parse_before},
	{"after", parse_after},
	{"description", parse_text},
};

int parse_hooks(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	return parse_object(c, path, value, hooks_members, ARRAY_SIZE(hooks_members), target);
}

/* --- on_exhausted ---------------------------------------------------------------------------- */

static const struct member exhausted_members[] = {
	{"exec", parse_step_exec},
	{"timeout", parse_step_timeout},
	{"description", parse_text},
};

static void add_exhausted_step(struct rule *rule, enum step_kind kind)
{
	rule->on_exhausted_steps[rule->n_on_exhausted_steps++] = (struct step){.kind = kind};
}

int parse_on_exhausted(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	static const char *const names[] = {"isolate", "remove", "slot-power-cycle"};
	struct rule *rule = target;

	rule->n_on_exhausted_steps = 0;
	if (json_is_object(value)) {
		struct step step = {.kind = STEP_EXEC};
		int r = parse_object(c, path, value, exhausted_members,
				     ARRAY_SIZE(exhausted_members), &step);

		if (r < 0)
			return r;
		if (!step.command)
			return fail(
				c, path,
				"it needs a program: {\"exec\": [\"/usr/local/sbin/give-up\"]}");
		rule->on_exhausted = EXHAUSTED_EXEC;
		rule->on_exhausted_steps[rule->n_on_exhausted_steps++] = step;
		return 0;
	}
	if (!json_is_string(value))
		return fail(c, path,
			    "expected \"isolate\", \"remove\", \"slot-power-cycle\" or {\"exec\": "
			    "[...]}, found %s",
			    type_name(value));
	if (!one_of(json_string_value(value), names, ARRAY_SIZE(names)))
		return fail_unknown(c, path, false, "last resort", json_string_value(value), names,
				    ARRAY_SIZE(names));
	if (streq(json_string_value(value), "remove")) {
		rule->on_exhausted = EXHAUSTED_REMOVE;
		add_exhausted_step(rule, STEP_REMOVE);
	} else if (streq(json_string_value(value), "slot-power-cycle")) {
		rule->on_exhausted = EXHAUSTED_SLOT_POWER_CYCLE;
		add_exhausted_step(rule, STEP_SLOT_POWER_CYCLE);
		add_exhausted_step(rule, STEP_BIND);
	} else {
		rule->on_exhausted = EXHAUSTED_ISOLATE;
	}
	return 0;
}
