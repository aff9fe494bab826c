// SPDX-License-Identifier: GPL-2.0-or-later
/* What the daemon may ask its spawner for, and what is refused. */
#include <errno.h>

#include "job-message.h"
#include "unit.h"

static struct programs programs;
static struct policy *policy;

static const char policy_text[] =
	"{\"rules\": [{\"name\": \"r\", \"steps\": [{\"step\": \"exec\", \"exec\": [\"/bin/ab\", "
	"\"c\"]}, \"reset\"], \"hooks\": {\"before\": [{\"exec\": [\"/bin/a\", \"bc\"]}]}}]}";

static void setup(void)
{
	char error[POLICY_ERROR_SIZE];

	policy = policy_new();
	ck_assert_int_eq(
		policy_parse(policy, "test", policy_text, strlen(policy_text), true, error), 0);
	ck_assert_int_eq(policy_finish(policy), 0);
	ck_assert_int_eq(programs_add(&programs, policy), 0);
}

static void teardown(void)
{
	programs_clear(&programs);
	policy = policy_unref(policy);
}

static struct job a_job(void)
{
	const struct rule *rule = policy_rule(policy, "r");
	struct job job = {
		.bus = "pci",
		.dev = "0000:01:00.0",
		.identity = "12 0x1b36 0x0010 - - -",
		.fence_id = UINT64_MAX,
		.reset_methods = "flr bus",
		.protect = PROTECT_ALL,
		.step_timeout = TIMEOUT_MAX,
		.rule = "Häßlich \"r\"",
		.reason = 1,
		.attempt = 2,
		.attempts = 3,
		.note = "two\nlines",
		.prepared = true,
		.driver = "nvme",
		.driver_override = "a b/c",
		.reset_method = "flr pm",
		.functions = {.block = 1, .net = 2, .nvme = 3, .virtio = 4},
		.vfs = {.n = 2, .autoprobe = true, .drivers = "0-0 igbvf -;1-1 - vfio-pci;"},
		.slot = "1-2",
		.away = true,
	};

	job.steps[job.n_steps++] = hook_step(&rule->before[0]);
	for (size_t i = 0; i < rule->n_steps; i++)
		job.steps[job.n_steps++] = rule->steps[i];
	job.steps[job.n_steps++] = (struct step){.kind = STEP_WAIT, .wait = 7, .timeout = 8};
	job.steps[job.n_steps++].kind = STEP_VERIFY;
	return job;
}

static void assert_same(const struct job *a, const struct job *b)
{
	struct job_message x;
	struct job_message y;

	ck_assert_int_eq(job_encode(&x, a), 0);
	ck_assert_int_eq(job_encode(&y, b), 0);
	ck_assert_mem_eq(&x, &y, sizeof(x));
}

START_TEST(comes_back_as_it_was)
{
	struct job job = a_job();
	struct job_message message;
	const char *field;
	struct job got;

	ck_assert_int_eq(job_encode(&message, &job), 0);
	ck_assert_int_eq(job_decode(&got, &message, &programs, &field), 0);
	assert_same(&job, &got);
	ck_assert_str_eq(got.dev, job.dev);
	ck_assert_str_eq(got.reset_methods, "flr bus");
	ck_assert_str_eq(got.vfs.drivers, job.vfs.drivers);
	ck_assert_str_eq(got.note, job.note);
	ck_assert_uint_eq(got.fence_id, UINT64_MAX);
	ck_assert_ptr_null(got.result);
	ck_assert(got.away && got.prepared && got.vfs.autoprobe && !got.hooks_only);
	ck_assert_uint_eq(got.n_steps, 5);
	ck_assert_uint_eq(got.steps[3].wait, 7);
	/* Word by word, and of the spawner's own memory. */
	ck_assert_ptr_ne(got.steps[0].command, job.steps[0].command);
	ck_assert_str_eq(got.steps[0].command->argv[0], "/bin/a");
	ck_assert_str_eq(got.steps[0].command->argv[1], "bc");
	ck_assert_str_eq(got.steps[1].command->argv[0], "/bin/ab");
	ck_assert_ptr_null(got.steps[1].command->argv[2]);
}
END_TEST

START_TEST(hooks_after_come_back)
{
	static const char *const results[] = {"recovered", "unfenced", "isolated", "protected",
					      "gone"};

	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		struct job job = a_job();
		struct job_message message;
		const char *field;
		struct job got;

		job.hooks_only = true;
		job.n_steps = 1;
		job.result = results[i];
		job.reset_methods = NULL;
		job.driver[0] = '\0';
		ck_assert_int_eq(job_encode(&message, &job), 0);
		ck_assert_int_eq(job_decode(&got, &message, &programs, &field), 0);
		assert_same(&job, &got);
		ck_assert_str_eq(got.result, results[i]);
		ck_assert_ptr_null(got.reset_methods);
	}
}
END_TEST

START_TEST(what_cannot_be_said_is_not_sent)
{
	struct job_message message;
	struct job job = a_job();

	job.result = "perhaps";
	ck_assert_int_eq(job_encode(&message, &job), -EINVAL);
	job = a_job();
	job.n_steps = JOB_STEPS_MAX + 1;
	ck_assert_int_eq(job_encode(&message, &job), -EINVAL);
}
END_TEST

static void assert_refused(const struct job_message *message, int error, const char *wanted)
{
	const char *field = NULL;
	struct job got;

	ck_assert_msg(job_decode(&got, message, &programs, &field) == error, "%s: not refused",
		      wanted);
	ck_assert_str_eq(field, wanted);
}

static struct job_message a_message(void)
{
	struct job job = a_job();
	struct job_message message;

	ck_assert_int_eq(job_encode(&message, &job), 0);
	return message;
}

START_TEST(text_that_does_not_end_is_refused)
{
	struct job_message m;

#define WITHOUT_END(name)                                                                          \
	m = a_message();                                                                           \
	memset(m.name, 'a', sizeof(m.name));                                                       \
	assert_refused(&m, -EINVAL, #name)
	WITHOUT_END(bus);
	WITHOUT_END(dev);
	WITHOUT_END(identity);
	WITHOUT_END(reset_methods);
	WITHOUT_END(rule);
	WITHOUT_END(note);
	WITHOUT_END(driver);
	WITHOUT_END(driver_override);
	WITHOUT_END(reset_method);
	WITHOUT_END(vf_drivers);
	WITHOUT_END(slot);
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_refused)
{
	struct job_message m;

#define WITH(name, text)                                                                           \
	m = a_message();                                                                           \
	str_copy(m.name, sizeof(m.name), text);                                                    \
	assert_refused(&m, -EINVAL, #name)
	WITH(bus, "");
	WITH(bus, "..");
	WITH(bus, "pci/devices");
	WITH(bus, "PCI");
	WITH(dev, "");
	WITH(dev, "../0000:01:00.0");
	WITH(dev, "01:00.0");
	WITH(dev, "0000:01:00.8");
	WITH(dev, "/sys/bus/pci/devices/0000:01:00.0");
	WITH(driver, "../../../kernel");
	WITH(driver, "nvme/../x");
	WITH(driver, "nvme\n");
	WITH(driver_override, "vfio-pci\nnvme");
	WITH(slot, "../1");
	WITH(reset_methods, "flr; bus");
	WITH(reset_method, "FLR");
	WITH(vf_drivers, "0-1 igbvf");
	WITH(vf_drivers, "0-1 ../x -;");
	WITH(vf_drivers, "x");
	m = a_message();
	str_copy(m.bus, sizeof(m.bus), "platform");
	str_copy(m.dev, sizeof(m.dev), "a b");
	assert_refused(&m, -EINVAL, "dev");
}
END_TEST

START_TEST(numbers_out_of_range_are_refused)
{
	struct job_message m;

#define WITH_NUMBER(name, value, wanted)                                                           \
	m = a_message();                                                                           \
	m.name = value;                                                                            \
	assert_refused(&m, -EINVAL, wanted)
	WITH_NUMBER(n_steps, 0, "n_steps");
	WITH_NUMBER(n_steps, JOB_STEPS_MAX + 1, "n_steps");
	WITH_NUMBER(n_steps, UINT32_MAX, "n_steps");
	WITH_NUMBER(step_timeout, 0, "step_timeout");
	WITH_NUMBER(step_timeout, TIMEOUT_MAX + 1, "step_timeout");
	WITH_NUMBER(protect, PROTECT_ALL + 1, "protect");
	WITH_NUMBER(result, 6, "result");
	WITH_NUMBER(away, 2, "a flag");
	WITH_NUMBER(hooks_only, 255, "a flag");
	WITH_NUMBER(prepared, 2, "a flag");
	WITH_NUMBER(vfs_autoprobe, 2, "a flag");
	WITH_NUMBER(steps[2].kind, STEP_HOOK + 1, "steps");
	WITH_NUMBER(steps[2].timeout, TIMEOUT_MAX + 1, "steps");
	WITH_NUMBER(steps[3].wait, TIMEOUT_MAX + 1, "steps");
	WITH_NUMBER(steps[0].may_fail, 2, "steps");
	/* Something to run that runs nothing, and the other way round. */
	WITH_NUMBER(steps[0].program, 0, "steps");
	WITH_NUMBER(steps[2].program, 1, "steps");
	/* No success without the kernel's word. */
	WITH_NUMBER(steps[4].kind, STEP_BIND, "steps");
	/* A device is touched only by who says so on record. */
	WITH_NUMBER(hooks_only, 1, "steps");
}
END_TEST

START_TEST(only_programs_of_a_policy_are_run)
{
	struct job_message m = a_message();
	struct programs none = {.first = NULL};
	const char *field;
	struct job got;

	ck_assert_int_eq(job_decode(&got, &m, &none, &field), -EPERM);
	m.steps[0].program ^= 1;
	assert_refused(&m, -EPERM, "steps");
}
END_TEST

START_TEST(programs_are_told_apart)
{
	const struct command *a = policy->commands;
	const struct command *b = a->next;

	/* {"/bin/ab", "c"} and {"/bin/a", "bc"} */
	ck_assert_uint_ne(program_id(a), program_id(b));
	ck_assert_uint_eq(programs.n, 2);
	/* Nothing is there twice. */
	ck_assert_int_eq(programs_add(&programs, policy), 0);
	ck_assert_uint_eq(programs.n, 2);
}
END_TEST

/* Each file may hold few rules; a policy has many files. */
static struct policy *policy_of_many(unsigned int which, unsigned int n)
{
	char error[POLICY_ERROR_SIZE];
	struct policy *p = policy_new();

	for (unsigned int i = 0; i < n; i++) {
		char text[256];

		snprintf(
			text, sizeof(text),
			"{\"rules\": [{\"name\": \"r\", \"steps\": [{\"step\": \"exec\", \"exec\": "
			"[\"/bin/p\", \"%u\", \"%u\"]}]}]}",
			which, i);
		ck_assert_msg(policy_parse(p, "test", text, strlen(text), false, error) == 0, "%s",
			      error);
	}
	ck_assert_int_eq(policy_finish(p), 0);
	return p;
}

START_TEST(programs_are_bounded)
{
	const struct command *first = policy->commands;

	for (unsigned int i = 0; i < 5; i++) {
		struct policy *many = policy_of_many(i, 1000);

		ck_assert_int_eq(programs_add(&programs, many), 0);
		ck_assert_uint_le(programs.n, PROGRAMS_MAX);
		ck_assert_uint_le(programs.size, PROGRAMS_SIZE_MAX);
		/* Of the one in force all are there. */
		for (const struct command *c = many->commands; c; c = c->next)
			ck_assert_ptr_nonnull(programs_find(&programs, program_id(c)));
		policy_unref(many);
	}
	ck_assert_ptr_null(programs_find(&programs, program_id(first)));
}
END_TEST

Suite *job_message_suite(void)
{
	Suite *s = suite_create("job-message");
	TCase *t = tcase_create("job-message");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, comes_back_as_it_was);
	tcase_add_test(t, hooks_after_come_back);
	tcase_add_test(t, what_cannot_be_said_is_not_sent);
	tcase_add_test(t, text_that_does_not_end_is_refused);
	tcase_add_test(t, names_that_lead_elsewhere_are_refused);
	tcase_add_test(t, numbers_out_of_range_are_refused);
	tcase_add_test(t, only_programs_of_a_policy_are_run);
	tcase_add_test(t, programs_are_told_apart);
	tcase_add_test(t, programs_are_bounded);
	suite_add_tcase(s, t);
	return s;
}
