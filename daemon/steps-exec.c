// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs of the policy: the step "exec", and hooks. */
#include <inttypes.h>
#include <stdarg.h>
#include <syslog.h>

#include "exec.h"
#include "steps-internal.h"

#define VARIABLES_MAX 16

/* The whole environment: nothing of the daemon's own reaches a program. */
struct environment {
	char *variables[VARIABLES_MAX + 1];
	size_t n;
	size_t used;
	char text[2048];
};

static void set(struct environment *e, const char *format, ...) _printf_(2, 3);

static void set(struct environment *e, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(e->text + e->used, sizeof(e->text) - e->used, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(e->text) - e->used || e->n == VARIABLES_MAX)
		return;
	e->variables[e->n++] = e->text + e->used;
	e->used += (size_t)n + 1;
}

static void fill(struct environment *e, const struct job *job, const struct step *step)
{
	set(e, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	set(e, "LANG=C.UTF-8");
	set(e, "SMMU_RAS_DEVICE=%s", job->dev);
	set(e, "SMMU_RAS_BUS=%s", job->bus);
	set(e, "SMMU_RAS_DRIVER=%s", job->driver);
	set(e, "SMMU_RAS_SLOT=%s", job->slot);
	set(e, "SMMU_RAS_RULE=%s", job->rule);
	set(e, "SMMU_RAS_REASON=%s", ras_reason_name(job->reason));
	set(e, "SMMU_RAS_FENCE_ID=%" PRIu64, job->fence_id);
	set(e, "SMMU_RAS_ATTEMPT=%u", job->attempt);
	set(e, "SMMU_RAS_ATTEMPTS=%u", job->attempts);
	if (job->result) {
		set(e, "SMMU_RAS_WHEN=after");
		set(e, "SMMU_RAS_RESULT=%s", job->result);
		set(e, "SMMU_RAS_NOTE=%s", job->note);
	} else {
		set(e, "SMMU_RAS_WHEN=%s", step->kind == STEP_HOOK ? "before" : "step");
	}
}

static void output(const char *line, void *userdata)
{
	struct step_context *c = userdata;

	step_say(c, LOG_INFO, "%s", line);
}

int step_exec(struct step_context *c, const struct step *step)
{
	struct environment environment = {.n = 0};
	struct exec exec = {.command = step->command,
			    .environment = environment.variables,
			    .timeout = step_timeout(c, step),
			    .output = output,
			    .userdata = c};
	int r;

	fill(&environment, c->job, step);
	r = exec_run(&exec, c->text, sizeof(c->text));
	if (r >= 0 || step->kind != STEP_HOOK)
		return r;
	if (step->may_fail) {
		step_say(c, LOG_WARNING, "it failed%s: %s",
			 c->job->result ? "" : ", and the recovery goes on", c->text);
		return step_fail(c, 0, "it failed, and the policy lets that pass");
	}
	c->vetoed = true;
	return r;
}
