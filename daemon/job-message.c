// SPDX-License-Identifier: GPL-2.0-or-later
#include "job-message.h"

#include <errno.h>
#include <inttypes.h>

#include "pci-name.h"

/* The words of hooks_after(); the number of one is its place. */
static const char *const job_results[] = {NULL,	      "recovered", "unfenced",
					  "isolated", "protected", "gone"};

/* --- the daemon's side ----------------------------------------------------------------------- */

static bool encode_result(struct job_message *ret, const char *result)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(job_results); i++)
		if (streq_ptr(job_results[i], result)) {
			ret->result = i;
			return true;
		}
	return false;
}

static void encode_steps(struct job_message *ret, const struct job *job)
{
	ret->n_steps = (uint32_t)job->n_steps;
	for (size_t i = 0; i < job->n_steps; i++) {
		const struct step *step = &job->steps[i];

		ret->steps[i].kind = step->kind;
		ret->steps[i].timeout = step->timeout;
		ret->steps[i].wait = step->wait;
		ret->steps[i].program = step->command ? program_id(step->command) : 0;
		ret->steps[i].may_fail = step->may_fail;
	}
}

int job_encode(struct job_message *ret, const struct job *job)
{
	memset(ret, 0, sizeof(*ret));
	if (job->n_steps > JOB_STEPS_MAX || !encode_result(ret, job->result) ||
	    !str_copy(ret->reset_methods, sizeof(ret->reset_methods),
		      job->reset_methods ? job->reset_methods : ""))
		return -EINVAL;
	encode_steps(ret, job);
	ret->fence_id = job->fence_id;
	ret->step_timeout = job->step_timeout;
	ret->protect = job->protect;
	ret->reason = job->reason;
	ret->attempt = job->attempt;
	ret->attempts = job->attempts;
	ret->functions = job->functions;
	ret->vfs = job->vfs.n;
	ret->vfs_autoprobe = job->vfs.autoprobe;
	ret->hooks_only = job->hooks_only;
	ret->prepared = job->prepared;
	ret->away = job->away;
	str_copy(ret->bus, sizeof(ret->bus), job->bus);
	str_copy(ret->dev, sizeof(ret->dev), job->dev);
	str_copy(ret->identity, sizeof(ret->identity), job->identity);
	str_copy(ret->rule, sizeof(ret->rule), job->rule);
	str_copy(ret->note, sizeof(ret->note), job->note);
	str_copy(ret->driver, sizeof(ret->driver), job->driver);
	str_copy(ret->driver_override, sizeof(ret->driver_override), job->driver_override);
	str_copy(ret->reset_method, sizeof(ret->reset_method), job->reset_method);
	str_copy(ret->vf_drivers, sizeof(ret->vf_drivers), job->vfs.drivers);
	str_copy(ret->slot, sizeof(ret->slot), job->slot);
	return 0;
}

/* --- the spawner's side ---------------------------------------------------------------------- */

/* Text that ends within its field. */
static bool is_text(const char *s, size_t size)
{
	return strnlen(s, size) < size;
}

/* What may be written to a file of sysfs: one line. */
static bool is_line(const char *s, size_t size)
{
	return is_text(s, size) && !strpbrk(s, "\n\r");
}

/* What becomes a part of a path: it leads nowhere else. "" is one. */
static bool is_component(const char *s, size_t size)
{
	return is_line(s, size) && s[0] != '.' && !strchr(s, '/');
}

static bool has_only(const char *s, const char *characters)
{
	return s[strspn(s, characters)] == '\0';
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* A PCI device has one name only; that of another bus is at least no path. */
static bool is_device(const char *bus, const char *dev)
{
	struct pci_address address;
	char name[PCI_NAME_SIZE];

	if (!streq(bus, "pci"))
		return has_only(dev, LOWER UPPER DIGITS "_-.:");
	return pci_address_parse(dev, &address) >= 0 &&
	       streq(pci_address_format(&address, name), dev);
}

/* As sriov.c writes and reads it: "FIRST-LAST DRIVER OVERRIDE;", and the same again. */
static bool is_vf_drivers(const char *s)
{
	while (*s) {
		char driver[RAS_NAME_SIZE];
		char override[RAS_NAME_SIZE];
		uint32_t first;
		uint32_t last;
		int n = 0;

		/* NOLINTNEXTLINE(cert-err34-c): numbers out of range do no harm */
		if (sscanf(s, "%" SCNu32 "-%" SCNu32 " %63s %63[^;];%n", &first, &last, driver,
			   override, &n) != 4 ||
		    n == 0 || !is_component(driver, sizeof(driver)))
			return false;
		s += n;
	}
	return true;
}

static const char *bad_text(const struct job_message *m)
{
#define FIELD(name, good)                                                                          \
	if (!good(m->name, sizeof(m->name)))                                                       \
		return #name;
	FIELD(bus, is_component)
	FIELD(dev, is_component)
	FIELD(identity, is_text)
	FIELD(reset_methods, is_line)
	FIELD(rule, is_text)
	FIELD(note, is_text)
	FIELD(driver, is_component)
	FIELD(driver_override, is_line)
	FIELD(reset_method, is_line)
	FIELD(vf_drivers, is_line)
	FIELD(slot, is_component)
#undef FIELD
	if (m->bus[0] == '\0' || !has_only(m->bus, LOWER DIGITS "_-"))
		return "bus";
	if (m->dev[0] == '\0' || !is_device(m->bus, m->dev))
		return "dev";
	if (!has_only(m->reset_methods, LOWER "_ "))
		return "reset_methods";
	if (!has_only(m->reset_method, LOWER "_ "))
		return "reset_method";
	return is_vf_drivers(m->vf_drivers) ? NULL : "vf_drivers";
}

static const char *bad_number(const struct job_message *m)
{
	if (m->n_steps == 0 || m->n_steps > JOB_STEPS_MAX)
		return "n_steps";
	if (m->step_timeout == 0 || m->step_timeout > TIMEOUT_MAX)
		return "step_timeout";
	if (m->protect & ~(uint32_t)PROTECT_ALL)
		return "protect";
	if (m->result >= ARRAY_SIZE(job_results))
		return "result";
	if (m->vfs_autoprobe > 1 || m->hooks_only > 1 || m->prepared > 1 || m->away > 1)
		return "a flag";
	return NULL;
}

static int decode_step(struct step *ret, const struct job_message *m, size_t i,
		       const struct programs *programs)
{
	bool runs = m->steps[i].kind == STEP_EXEC || m->steps[i].kind == STEP_HOOK;

	if (m->steps[i].kind > STEP_HOOK || m->steps[i].timeout > TIMEOUT_MAX ||
	    m->steps[i].wait > TIMEOUT_MAX || m->steps[i].may_fail > 1 ||
	    runs != (m->steps[i].program != 0))
		return -EINVAL;
	/* One that touches no device, and nothing else. */
	if (m->hooks_only && m->steps[i].kind != STEP_HOOK)
		return -EINVAL;
	*ret = (struct step){.kind = (enum step_kind)m->steps[i].kind,
			     .timeout = m->steps[i].timeout,
			     .wait = m->steps[i].wait,
			     .may_fail = m->steps[i].may_fail};
	if (runs)
		ret->command = programs_find(programs, m->steps[i].program);
	return runs && !ret->command ? -EPERM : 0;
}

int job_decode(struct job *ret, const struct job_message *m, const struct programs *programs,
	       const char **ret_field)
{
	*ret_field = bad_number(m);
	if (!*ret_field)
		*ret_field = bad_text(m);
	if (*ret_field)
		return -EINVAL;
	*ret = (struct job){
		.fence_id = m->fence_id,
		.reset_methods = m->reset_methods[0] ? m->reset_methods : NULL,
		.protect = m->protect,
		.step_timeout = m->step_timeout,
		.n_steps = m->n_steps,
		.hooks_only = m->hooks_only,
		.reason = m->reason,
		.attempt = m->attempt,
		.attempts = m->attempts,
		.result = job_results[m->result],
		.prepared = m->prepared,
		.functions = m->functions,
		.vfs = {.n = m->vfs, .autoprobe = m->vfs_autoprobe},
		.away = m->away,
	};
	*ret_field = "steps";
	for (size_t i = 0; i < m->n_steps; i++) {
		int r = decode_step(&ret->steps[i], m, i, programs);

		if (r < 0)
			return r;
	}
	/* Nothing is a success before the kernel has said so. */
	if (!m->hooks_only && ret->steps[m->n_steps - 1].kind != STEP_VERIFY)
		return -EINVAL;
	*ret_field = NULL;
	str_copy(ret->bus, sizeof(ret->bus), m->bus);
	str_copy(ret->dev, sizeof(ret->dev), m->dev);
	str_copy(ret->identity, sizeof(ret->identity), m->identity);
	str_copy(ret->rule, sizeof(ret->rule), m->rule);
	str_copy(ret->note, sizeof(ret->note), m->note);
	str_copy(ret->driver, sizeof(ret->driver), m->driver);
	str_copy(ret->driver_override, sizeof(ret->driver_override), m->driver_override);
	str_copy(ret->reset_method, sizeof(ret->reset_method), m->reset_method);
	str_copy(ret->vfs.drivers, sizeof(ret->vfs.drivers), m->vf_drivers);
	str_copy(ret->slot, sizeof(ret->slot), m->slot);
	return 0;
}
