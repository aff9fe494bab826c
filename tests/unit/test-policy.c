// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "policy.h"
#include "unit.h"

static struct policy *policy;
static char error[POLICY_ERROR_SIZE];

static void teardown(void)
{
	policy = policy_unref(policy);
}

static int parse(const char *text)
{
	policy = policy_new();
	ck_assert_ptr_nonnull(policy);
	return policy_parse(policy, "p.json", text, strlen(text), true, error);
}

static void parse_good(const char *text)
{
	ck_assert_msg(parse(text) == 0, "%s", error);
	ck_assert_int_eq(policy_finish(policy), 0);
}

/* Found by fuzzing: jansson takes it for white space behind a number. */
START_TEST(refuses_nul_bytes)
{
	static const char text[] = "{\n \"max_parallel\": 3\0,\n \"rulez\": []}";

	policy = policy_new();
	ck_assert_ptr_nonnull(policy);
	ck_assert_int_eq(policy_parse(policy, "p.json", text, sizeof(text) - 1, true, error),
			 -EINVAL);
	ck_assert_str_eq(error, "p.json:2:19: not valid JSON: a NUL byte");
}
END_TEST

START_TEST(reads_all_keys)
{
	const struct rule *rule;

	parse_good("{\"max_parallel\": 4, \"description\": \"d\", \"$schema\": \"s\", \"rules\": [{"
		   "\"name\": \"n\", \"description\": \"d\", \"action\": \"recover\","
		   "\"match\": {\"vendor\": \"0x10DE\", \"class\": [\"0302*\", \"030000\"],"
		   "\"slot\": \"1?\"},"
		   "\"steps\": [\"unbind\", {\"step\": \"reset\", \"timeout\": \"5s\"},"
		   "{\"step\": \"wait\", \"for\": \"2s\"}, \"bind\", \"verify\"],"
		   "\"reset_methods\": [\"flr\", \"bus\"], \"step_timeout\": \"1min\","
		   "\"attempts\": 7, \"backoff\": {\"first\": \"1s\", \"max\": \"5s\"},"
		   "\"rate_limit\": {\"count\": 2, \"window\": \"10min\"},"
		   "\"on_exhausted\": \"isolate\", \"protect\": [\"swap\"]}]}");
	ck_assert_uint_eq(policy->n_rules, 2);
	ck_assert_uint_eq(policy->max_parallel, 4);
	rule = policy->rules[0];
	ck_assert_str_eq(rule->name, "n");
	ck_assert_str_eq(rule->origin, "p.json:1");
	ck_assert_uint_eq(rule->n_steps, 5);
	ck_assert_int_eq(rule->steps[1].kind, STEP_RESET);
	ck_assert_uint_eq(rule->steps[1].timeout, 5000000);
	ck_assert_int_eq(rule->steps[2].kind, STEP_WAIT);
	ck_assert_uint_eq(rule->steps[2].wait, 2000000);
	ck_assert_str_eq(rule->reset_methods, "flr bus");
	ck_assert_uint_eq(rule->step_timeout, 60000000);
	ck_assert_uint_eq(rule->attempts, 7);
	ck_assert_uint_eq(rule->rate_count, 2);
	ck_assert_uint_eq(rule->rate_window, 600000000);
	ck_assert_uint_eq(rule->protect, PROTECT_SWAP);
	ck_assert_str_eq(rule->match[MATCH_VENDOR].globs[0], "10DE");
	ck_assert_uint_eq(rule->match[MATCH_CLASS].n, 2);
	ck_assert_str_eq(rule->match[MATCH_SLOT].globs[0], "1?");
	ck_assert_uint_eq(rule_backoff(rule, 1), 1000000);
	ck_assert_uint_eq(rule_backoff(rule, 2), 2000000);
	ck_assert_uint_eq(rule_backoff(rule, 3), 4000000);
	ck_assert_uint_eq(rule_backoff(rule, 4), 5000000);
	ck_assert_uint_eq(rule_backoff(rule, 900), 5000000);
}
END_TEST

START_TEST(defaults_are_inherited)
{
	parse_good("{\"defaults\": {\"attempts\": 9, \"steps\": [\"reset\"], \"reset_methods\": "
		   "[\"bus\"]}, \"rules\": [{\"attempts\": 2}, {\"steps\": [\"reattach\"]}]}");
	ck_assert_uint_eq(policy->rules[0]->attempts, 2);
	ck_assert_uint_eq(policy->rules[0]->n_steps, 1);
	ck_assert_str_eq(policy->rules[0]->reset_methods, "bus");
	ck_assert_uint_eq(policy->rules[1]->attempts, 9);
	ck_assert_int_eq(policy->rules[1]->steps[0].kind, STEP_REATTACH);
	/* The last one is for what no rule fits. */
	ck_assert_uint_eq(policy->rules[2]->attempts, 9);
	ck_assert_str_eq(policy->rules[2]->name, "default");
}
END_TEST

START_TEST(nothing_means_the_built_in_rule)
{
	const struct rule *rule;

	parse_good("{}");
	rule = policy_match(policy, &(struct match_subject){0});
	ck_assert_ptr_nonnull(rule);
	ck_assert_int_eq(rule->action, ACTION_RECOVER);
	ck_assert_uint_eq(rule->n_steps, 4);
	ck_assert_int_eq(rule->steps[0].kind, STEP_UNBIND);
	ck_assert_int_eq(rule->steps[1].kind, STEP_RESET);
	ck_assert_int_eq(rule->steps[2].kind, STEP_REATTACH);
	ck_assert_int_eq(rule->steps[3].kind, STEP_BIND);
	ck_assert_uint_eq(rule->protect, PROTECT_ALL);
}
END_TEST

static const struct {
	const char *match;
	enum match_key mismatch; /* _MATCH_MAX: it fits */
} matches[] = {
	{"{}", _MATCH_MAX},
	{"{\"address\": \"0000:01:00.0\"}", _MATCH_MAX},
	{"{\"address\": \"0000:01:*\"}", _MATCH_MAX},
	{"{\"address\": \"0000:02:*\"}", MATCH_ADDRESS},
	{"{\"vendor\": \"0x8086\", \"device\": \"0D57\"}", _MATCH_MAX},
	{"{\"vendor\": [\"10de\", \"8086\"]}", _MATCH_MAX},
	{"{\"vendor\": \"8087\"}", MATCH_VENDOR},
	{"{\"class\": \"0108*\", \"driver\": \"xhci\"}", MATCH_DRIVER},
	{"{\"class\": \"0302*\", \"driver\": \"xhci\"}", MATCH_CLASS},
	{"{\"driver\": \"\"}", MATCH_DRIVER},
	{"{\"driver\": \"nvm?\"}", _MATCH_MAX},
	{"{\"iommu\": \"smmu3.*\"}", _MATCH_MAX},
	{"{\"iommu\": \"dmar*\"}", MATCH_IOMMU},
	{"{\"reason\": \"atc-timeout\"}", _MATCH_MAX},
	{"{\"reason\": \"*-timeout\"}", _MATCH_MAX},
	{"{\"reason\": \"administrative\"}", MATCH_REASON},
	{"{\"slot\": \"bay*\"}", _MATCH_MAX},
	{"{\"slot\": [\"1\", \"2\"]}", MATCH_SLOT},
	{"{\"slot\": \"\"}", MATCH_SLOT},
};

START_TEST(matches_globs)
{
	struct match_subject subject = {.values = {"0000:01:00.0", "8086", "0d57", "010802", "nvme",
						   "smmu3.0x9050000", "atc-timeout", "bay 3"}};
	char text[256];

	snprintf(text, sizeof(text), "{\"rules\": [{\"match\": %s}]}", matches[_i].match);
	parse_good(text);
	ck_assert_int_eq(rule_mismatch(policy->rules[0], &subject), matches[_i].mismatch);
	ck_assert_ptr_eq(policy_match(policy, &subject),
			 policy->rules[matches[_i].mismatch == _MATCH_MAX ? 0 : 1]);
}
END_TEST

START_TEST(explains_why_a_rule_does_not_fit)
{
	struct match_subject subject = {
		.values = {[MATCH_DRIVER] = "nvme", [MATCH_CLASS] = "010802"}};
	struct match_result result;
	static char text[16 * 1024];
	size_t used;

	parse_good(
		"{\"rules\": [{\"match\": {\"class\": [\"0302*\", \"0300*\"], \"driver\": \"x\"}},"
		"{\"match\": {\"slot\": \"3\"}}, {\"match\": {\"driver\": \"nvme\"}}]}");
	ck_assert(!rule_explain(policy->rules[0], &subject, &result));
	ck_assert_int_eq(result.key, MATCH_CLASS);
	ck_assert_str_eq(result.name, "class");
	ck_assert_str_eq(result.wanted, "\"0302*\" or \"0300*\"");
	ck_assert_str_eq(result.value, "010802");
	ck_assert(!rule_explain(policy->rules[1], &subject, &result));
	ck_assert_str_eq(result.name, "slot");
	ck_assert_str_eq(result.wanted, "\"3\"");
	ck_assert_str_eq(result.value, "");
	ck_assert(rule_explain(policy->rules[2], &subject, &result));
	ck_assert_int_eq(result.key, _MATCH_MAX);
	ck_assert_ptr_null(result.name);
	ck_assert_str_eq(result.wanted, "");
	policy = policy_unref(policy);

	/* As many as there is room for. */
	used = (size_t)sprintf(text, "{\"rules\": [{\"match\": {\"driver\": [\"driver0\"");
	for (int i = 1; i < 200; i++)
		used += (size_t)sprintf(text + used, ",\"driver%d\"", i);
	(void)sprintf(text + used, "]}}]}");
	parse_good(text);
	ck_assert(!rule_explain(policy->rules[0], &subject, &result));
	ck_assert_int_eq(strncmp(result.wanted, "\"driver0\" or \"driver1\" or ", 26), 0);
	ck_assert_str_eq(result.wanted + strlen(result.wanted) - 16, "driver17\" or ...");
}
END_TEST

START_TEST(refuses_files_of_others)
{
	char path[256];

	unit_file("etc/policy.json", "{}");
	ck_assert_int_eq(policy_load(&policy, error), 0);
	policy = policy_unref(policy);
	snprintf(path, sizeof(path), "%s/etc/policy.json", unit_host_root());
	ck_assert_int_eq(chmod(path, 0664), 0);
	ck_assert_int_eq(policy_load(&policy, error), -EPERM);
	ck_assert_ptr_nonnull(strstr(error, "chmod go-w"));
	ck_assert_int_eq(chmod(path, 0644), 0);
	snprintf(path, sizeof(path), "%s/etc", unit_host_root());
	ck_assert_int_eq(chmod(path, 0777), 0);
	ck_assert_int_eq(policy_load(&policy, error), -EPERM);
}
END_TEST

START_TEST(etc_goes_before_lib_and_drop_ins_first)
{
	unit_file("lib/policy.json", "{\"rules\": [{\"name\": \"vendor\"}]}");
	unit_file("lib/policy.d/20.json", "{\"rules\": [{\"name\": \"vendor20\"}]}");
	unit_file("lib/policy.d/30.json", "{\"rules\": [{\"name\": \"vendor30\"}]}");
	ck_assert_msg(policy_load(&policy, error) == 0, "%s", error);
	ck_assert_uint_eq(policy->n_rules, 4);
	ck_assert_str_eq(policy->rules[0]->name, "vendor20");
	ck_assert_str_eq(policy->rules[2]->name, "vendor");
	policy = policy_unref(policy);

	unit_file("etc/policy.json", "{\"rules\": [{\"name\": \"mine\"}], \"max_parallel\": 3}");
	unit_file("etc/policy.d/20.json", "{\"rules\": [{\"name\": \"mine20\"}]}");
	unit_file("etc/policy.d/README", "not a policy");
	unit_file("etc/policy.d/.hidden.json", "not a policy");
	unit_link("etc/policy.d/30.json", "/dev/null");
	ck_assert_msg(policy_load(&policy, error) == 0, "%s", error);
	ck_assert_uint_eq(policy->n_rules, 3);
	ck_assert_str_eq(policy->rules[0]->name, "mine20");
	ck_assert_str_eq(policy->rules[1]->name, "mine");
	ck_assert_uint_eq(policy->max_parallel, 3);
}
END_TEST

/* What stands in the place of a file. Nothing of it may take long, or be misunderstood. */
static void no_file(int daemon, const char *daemon_says, int ctl, const char *ctl_says)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/etc/policy.json", unit_host_root());
	ck_assert_int_eq(policy_load(&policy, error), daemon);
	ck_assert_msg(strstr(error, daemon_says) != NULL, "daemon: \"%s\"", error);
	ck_assert_int_eq(policy_load_file(path, &policy, error), ctl);
	ck_assert_msg(strstr(error, ctl_says) != NULL, "ctl: \"%s\"", error);
	ck_assert_int_eq(strncmp(error, path, strlen(path)), 0);
	ck_assert_int_eq(remove(path), 0);
}

START_TEST(refuses_what_is_no_file)
{
	char path[256];
	int fd;

	unit_file("etc/policy.json", "");
	no_file(-EINVAL, "policy.json:1:1: the file is empty; {} is a policy without rules",
		-EINVAL, "the file is empty");
	snprintf(path, sizeof(path), "%s/etc/policy.json", unit_host_root());
	ck_assert_int_eq(mkdir(path, 0755), 0);
	no_file(-EINVAL, "policy.json: not a regular file", -EISDIR,
		"policy.json: a directory; name a file in it");
	unit_link("etc/policy.json", "policy.json");
	no_file(-ELOOP, "policy.json: cannot open: Too many levels of symbolic links", -ELOOP,
		"Too many levels of symbolic links");
	/* Sparse: all NUL bytes, and far too many. */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 10 * 1024 * 1024), 0);
	close(fd);
	no_file(-EFBIG, "policy.json: larger than 1 MiB; this is no policy", -EFBIG,
		"larger than 1 MiB");
	unit_link("etc/policy.json", "/dev/zero");
	no_file(-EINVAL, "policy.json: not a regular file", -EFBIG, "larger than 1 MiB");
	/* The daemon does not wait; smmu-rasctl does, for who is about to write. */
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	no_file(-EINVAL, "policy.json: not a regular file", -ETIMEDOUT,
		"policy.json: a pipe, and nobody has written to it for 5 s");
}
END_TEST

START_TEST(reads_what_somebody_writes_into_a_pipe)
{
	char path[64];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "{\"rules\": [{}]}", 15), 15);
	close(fds[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[0]);
	ck_assert_msg(policy_load_file(path, &policy, error) == 0, "%s", error);
	ck_assert_uint_eq(policy->n_rules, 2);
	close(fds[0]);
}
END_TEST

START_TEST(refuses_programs_that_root_should_not_run)
{
	char expected[256];

	unit_file("bin/tell", "#!/bin/sh\n");
	unit_file("etc/policy.d/a.json",
		  "{\"rules\": [\n {\"hooks\": {\"after\": [{\"exec\": [\"/bin/sh\"]}]}}]}");
	ck_assert_msg(policy_load(&policy, error) == 0, "%s", error);
	policy = policy_unref(policy);
	unit_file("etc/policy.json",
		  "{\"rules\": [\n {\"on_exhausted\": {\"exec\": [\"/none/such\"]}}]}");
	ck_assert_int_eq(policy_load(&policy, error), -ENOENT);
	snprintf(expected, sizeof(expected),
		 "%s/etc/policy.json:2:29: rules[0].on_exhausted.exec[0]: /none: No such file or "
		 "directory",
		 unit_host_root());
	ck_assert_str_eq(error, expected);
}
END_TEST

/* --- the shipped schema ---------------------------------------------------------------------- */

static json_t *load_source(const char *name)
{
	const char *source = getenv("SMMU_RAS_SOURCE");
	char path[512];
	json_error_t json_error;
	json_t *json;

	snprintf(path, sizeof(path), "%s/%s", source ? source : ".", name);
	json = json_load_file(path, 0, &json_error);
	ck_assert_msg(json != NULL, "%s:%d: %s", name, json_error.line, json_error.text);
	return json;
}

/* Every key of @properties, given a value of no use, must be refused for the value. */
static void check_keys_known(json_t *properties, const char *format)
{
	const char *key;
	json_t *value;

	ck_assert_uint_gt(json_object_size(properties), 0);
	json_object_foreach(properties, key, value)
	{
		char text[256];

		if (streq(key, "$schema"))
			continue;
		snprintf(text, sizeof(text), format, key);
		ck_assert_int_eq(parse(text), -EINVAL);
		ck_assert_msg(!strstr(error, "unknown key") && !strstr(error, "not supported"),
			      "the schema has a key that the daemon has not: %s", error);
		policy = policy_unref(policy);
	}
}

static json_t *path(json_t *json, const char *a, const char *b)
{
	return json_object_get(json_object_get(json, a), b);
}

START_TEST(the_schema_has_no_key_that_the_parser_has_not)
{
	json_t *schema = load_source("config/policy.schema.json");
	json_t *rule = path(schema, "$defs", "rule");

	check_keys_known(json_object_get(schema, "properties"), "{\"%s\": null}");
	check_keys_known(json_object_get(rule, "properties"), "{\"rules\": [{\"%s\": null}]}");
	check_keys_known(json_object_get(path(schema, "properties", "defaults"), "properties"),
			 "{\"defaults\": {\"%s\": null}}");
	check_keys_known(json_object_get(path(schema, "$defs", "match"), "properties"),
			 "{\"rules\": [{\"match\": {\"%s\": null}}]}");
	json_decref(schema);
}
END_TEST

/* A policy of the largest size; looking for each rule from the beginning took ten seconds. */
START_TEST(many_rules_are_found_in_one_pass)
{
	static char json[256 * 1024];
	size_t used = (size_t)sprintf(json, "{\"defaults\": {},\n\"rules\": [");

	for (int i = 0; i < 4000; i++)
		used += (size_t)sprintf(json + used, "%s\n  {\"match\": {\"driver\": \"d],%d\"}}",
					i ? "," : "", i);
	used += (size_t)sprintf(json + used, "]}");
	policy_unref(policy);
	policy = policy_new();
	ck_assert_int_eq(policy_parse(policy, "p.json", json, used, true, error), 0);
	ck_assert_str_eq(policy->rules[0]->origin, "p.json:3");
	ck_assert_str_eq(policy->rules[1]->origin, "p.json:4");
	ck_assert_str_eq(policy->rules[3999]->origin, "p.json:4002");
}
END_TEST

Suite *policy_suite(void)
{
	Suite *suite = suite_create("policy");
	TCase *c = tcase_create("parse");
	TCase *files = tcase_create("files");
	TCase *many = tcase_create("many");

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, refuses_nul_bytes);
	tcase_add_test(c, reads_all_keys);
	tcase_add_test(c, defaults_are_inherited);
	tcase_add_test(c, nothing_means_the_built_in_rule);
	tcase_add_loop_test(c, matches_globs, 0, ARRAY_SIZE(matches));
	tcase_add_test(c, explains_why_a_rule_does_not_fit);
	tcase_add_test(c, the_schema_has_no_key_that_the_parser_has_not);
	suite_add_tcase(suite, c);
	tcase_add_checked_fixture(files, unit_host_setup, unit_host_teardown);
	tcase_add_checked_fixture(files, NULL, teardown);
	tcase_set_timeout(files, 30);
	tcase_add_test(files, refuses_files_of_others);
	tcase_add_test(files, refuses_what_is_no_file);
	tcase_add_test(files, reads_what_somebody_writes_into_a_pipe);
	tcase_add_test(files, refuses_programs_that_root_should_not_run);
	tcase_add_test(files, etc_goes_before_lib_and_drop_ins_first);
	suite_add_tcase(suite, files);
	/* Only its time shows that it is one pass. */
	tcase_add_checked_fixture(many, NULL, teardown);
	tcase_set_timeout(many, 4);
	tcase_add_test(many, many_rules_are_found_in_one_pass);
	suite_add_tcase(suite, many);
	return suite;
}
