// SPDX-License-Identifier: GPL-2.0-or-later
#include "by-hand.h"

bool by_hand_takes_off_driver(const struct rule *rule)
{
	bool resets = false;
	bool unbinds = false;

	for (size_t i = 0; rule && i < rule->n_steps; i++) {
		resets = resets || rule->steps[i].kind == STEP_RESET;
		unbinds = unbinds || rule->steps[i].kind == STEP_UNBIND;
	}
	return unbinds || !resets;
}

const char *by_hand_command(const struct by_hand *h, char buf[static BY_HAND_SIZE])
{
	char unbind[256] = "";
	char end[256] = "";

	if (h->away) {
		snprintf(buf, BY_HAND_SIZE, "echo 1 > /sys/bus/%s/rescan", h->bus);
		return buf;
	}
	if (h->wanted[0] && !h->driver[0])
		snprintf(end, sizeof(end), "echo %s > /sys/bus/%s/drivers/%s/bind", h->dev, h->bus,
			 h->wanted);
	else if (!h->driver[0] || h->state == IOMMU_RAS_STATE_SANITIZED)
		snprintf(end, sizeof(end), "smmu-rasctl reattach %s", h->dev);
	/* It was reset already, or only its driver is missing. */
	if (h->state != IOMMU_RAS_STATE_FENCED) {
		snprintf(buf, BY_HAND_SIZE, "%s", end);
		return buf;
	}
	if (h->driver[0] && by_hand_takes_off_driver(h->rule)) {
		snprintf(unbind, sizeof(unbind), "echo %s > /sys/bus/%s/drivers/%s/unbind && ",
			 h->dev, h->bus, h->driver);
		snprintf(end, sizeof(end), "echo %s > /sys/bus/%s/drivers/%s/bind", h->dev, h->bus,
			 h->driver);
	}
	snprintf(buf, BY_HAND_SIZE, "%secho 1 > /sys/bus/%s/devices/%s/reset%s%s", unbind, h->bus,
		 h->dev, end[0] ? " && " : "", end);
	return buf;
}

/* --- what was tried --------------------------------------------------------------------------- */

/* The reason without the step's name, which stands before it. */
static const char *bare_note(const struct step_result *step)
{
	size_t n = strlen(step->step);

	return strncmp(step->note, step->step, n) == 0 && strncmp(step->note + n, ": ", 2) == 0
		       ? step->note + n + 2
		       : step->note;
}

/* Do the steps of the attempts that begin at @i and @j end in the same way? */
static bool same_attempt(const struct device_record *r, unsigned int i, unsigned int j)
{
	uint32_t a = r->history[i].attempt;
	uint32_t b = r->history[j].attempt;

	for (;; i++, j++) {
		bool more_a = i < r->n_history && r->history[i].attempt == a;
		bool more_b = j < r->n_history && r->history[j].attempt == b;

		if (!more_a || !more_b)
			return more_a == more_b;
		if (!streq(r->history[i].step, r->history[j].step) ||
		    (r->history[i].error < 0) != (r->history[j].error < 0) ||
		    (r->history[i].error < 0 && !streq(r->history[i].note, r->history[j].note)))
			return false;
	}
}

/* Behind the last step of the attempt that @i is of. */
static unsigned int next_attempt(const struct device_record *r, unsigned int i)
{
	uint32_t attempt = r->history[i].attempt;

	while (i < r->n_history && r->history[i].attempt == attempt)
		i++;
	return i;
}

const char *tried_text(const struct device_record *record, char buf[static BY_HAND_SIZE])
{
	struct text t = {.buf = buf, .size = BY_HAND_SIZE};
	unsigned int next;

	buf[0] = '\0';
	for (unsigned int i = 0; i < record->n_history; i = next) {
		uint32_t last = record->history[i].attempt;
		unsigned int end = next_attempt(record, i);

		next = end;
		while (next < record->n_history && same_attempt(record, i, next)) {
			last = record->history[next].attempt;
			next = next_attempt(record, next);
		}
		if (last == record->history[i].attempt)
			text_add(&t, "%sattempt %u: ", i ? "; " : "", last);
		else
			text_add(&t, "%sattempts %u to %u: ", i ? "; " : "",
				 record->history[i].attempt, last);
		for (unsigned int j = i; j < end; j++) {
			const struct step_result *step = &record->history[j];

			text_add(&t, "%s%s %s", j > i ? ", " : "", step->step,
				 step->error < 0 ? "failed" : "done");
			/* What the record says anyway is not said twice. */
			if (step->error < 0 && step->note[0] &&
			    !strstr(record->note, bare_note(step)))
				text_add(&t, " (%s)", bare_note(step));
		}
	}
	return buf;
}
