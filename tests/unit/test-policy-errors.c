// SPDX-License-Identifier: GPL-2.0-or-later
/* What the policy's parser says to who wrote the file, word for word. */
#include <errno.h>

#include "json-locate.h"
#include "policy.h"
#include "unit.h"

static char error[POLICY_ERROR_SIZE];

static int parse_bytes(const char *text, size_t len)
{
	struct policy *policy = policy_new();
	int r;

	ck_assert_ptr_nonnull(policy);
	r = policy_parse(policy, "p.json", text, len, true, error);
	policy_unref(policy);
	return r;
}

static const struct {
	const char *text;
	const char *error;
} bad[] = {
	/* --- the file */
	{"", "p.json:1:1: the file is empty; {} is a policy without rules"},
	{"  ", "p.json:1:1: the file is empty; {} is a policy without rules"},
	{"[]", "p.json:1:1: expected an object, {\"rules\": [...]}, found a list"},
	{"\"x\"", "p.json:1:3: not valid JSON: '[' or '{' expected near '\"x\"'"},
	{"{\"rules\": [}", "p.json:1:12: not valid JSON: unexpected token near '}'"},
	{"{\n \"rules\": [}", "p.json:2:12: not valid JSON: unexpected token near '}'"},
	{"{\"rules\": [], \"rules\": []}",
	 "p.json:1:21: not valid JSON: duplicate object key near '\"rules\"'"},
	{"{\"rules\": [{\"attempts\": 99999999999999999999}]}",
	 "p.json:1:44: not valid JSON: too big integer near '99999999999999999999'"},
	{"{\"max_parallel\": 1e999}",
	 "p.json:1:22: not valid JSON: real number overflow near '1e999'"},
	{"{\"description\": \"\\u0000\"}",
	 "p.json:1:24: not valid JSON: nothing here may hold the character \\u0000"},
	{"{\"qu\\u00fc\\ud83d\\ude00x\": 1}",
	 "p.json:1:2: qu\303\274\360\237\230\200x: unknown key \"qu\303\274\360\237\230\200x\"; "
	 "use one of: rules, defaults, max_parallel, description"},
	{"{\"description\": \"a\377b\"}",
	 "p.json:1:18: not valid JSON: unable to decode byte 0xff near '\"a'"},
	{"{\"description\": \"a\001b\"}",
	 "p.json:1:18: not valid JSON: control character 0x1 near '\"a'"},
	{"{\"rulez\": []}", "p.json:1:2: rulez: unknown key \"rulez\"; did you mean \"rules\"?"},
	{"{\"quux\": 1}", "p.json:1:2: quux: unknown key \"quux\"; use one of: rules, defaults, "
			  "max_parallel, description"},
	{"{\"qu\\u001b[2Jux\": 1}", "p.json:1:2: qu\\x1b[2Jux: unknown key \"qu\\x1b[2Jux\"; use "
				    "one of: rules, defaults, max_parallel, description"},
	{"{\"rules\": [], } ", "p.json:1:15: not valid JSON: string or '}' expected near '}'"},
	{"{\"rules\": []} x", "p.json:1:15: not valid JSON: end of file expected near 'x'"},
	{"{\"rules\": 3}", "p.json:1:11: rules: expected a list of rules, found a number"},
	{"{\"rules\": [3]}", "p.json:1:12: rules[0]: expected an object, found a number"},
	{"{\"defaults\": []}", "p.json:1:14: defaults: expected an object, found a list"},
	{"{\"defaults\": {\"match\": {}}}",
	 "p.json:1:15: defaults.match: only a rule has \"match\"; the defaults are for all rules "
	 "of the file"},
	{"{\"defaults\": {\"name\": \"x\"}}",
	 "p.json:1:15: defaults.name: only a rule has \"name\"; the defaults are for all rules of "
	 "the file"},
	{"{\"description\": 3}", "p.json:1:17: description: expected a string, found a number"},
	{"{\"$schema\": 3}", "p.json:1:13: $schema: expected a string, found a number"},
	{"{\"max_parallel\": 0}", "p.json:1:18: max_parallel: 0 is out of range; use 1 to 1024"},
	{"{\"max_parallel\": 1025}",
	 "p.json:1:18: max_parallel: 1025 is out of range; use 1 to 1024"},
	{"{\"max_parallel\": \"4\"}",
	 "p.json:1:18: max_parallel: expected a whole number, found a string"},
	/* --- match */
	{"{\"rules\": [{\"match\": \"x\"}]}",
	 "p.json:1:22: rules[0].match: expected an object, found a string"},
	{"{\"rules\": [{\"match\": {\"drivr\": \"x\"}}]}",
	 "p.json:1:23: rules[0].match.drivr: unknown key \"drivr\"; did you mean \"driver\"?"},
	{"{\"rules\": [{\"match\": {\"driver\": []}}]}",
	 "p.json:1:33: rules[0].match.driver: expected 1 to 256 patterns; leave \"driver\" out to "
	 "match anything"},
	{"{\"rules\": [{\"match\": {\"driver\": 3}}]}",
	 "p.json:1:33: rules[0].match.driver: expected a string, found a number"},
	{"{\"rules\": [{\"match\": {\"driver\": [\"a\", 3]}}]}",
	 "p.json:1:39: rules[0].match.driver[1]: expected a string, found a number"},
	{"{\"rules\": [{\"match\": {\"driver\": \"nvm[e\"}}]}",
	 "p.json:1:33: rules[0].match.driver: \"nvm[e\" has a \"[\" without its \"]\""},
	{"{\"rules\": [{\"match\": {\"vendor\": \"nvidia\"}}]}",
	 "p.json:1:33: rules[0].match.vendor: \"nvidia\" is not a PCI vendor; use hexadecimal "
	 "digits and wildcards, such as \"8086\""},
	{"{\"rules\": [{\"match\": {\"vendor\": \"808\"}}]}",
	 "p.json:1:33: rules[0].match.vendor: \"808\" can never fit: a PCI vendor has 4 "
	 "hexadecimal digits"},
	{"{\"rules\": [{\"match\": {\"device\": \"0x12345\"}}]}",
	 "p.json:1:33: rules[0].match.device: \"12345\" can never fit: a PCI device has 4 "
	 "hexadecimal digits"},
	{"{\"rules\": [{\"match\": {\"class\": \"0108\"}}]}",
	 "p.json:1:32: rules[0].match.class: \"0108\" can never fit: a PCI class has 6 hexadecimal "
	 "digits; for a whole class write \"0108*\""},
	{"{\"rules\": [{\"match\": {\"class\": \"disk\"}}]}",
	 "p.json:1:32: rules[0].match.class: \"disk\" is not a PCI class; use hexadecimal digits "
	 "and wildcards, such as \"0108*\""},
	{"{\"rules\": [{\"match\": {\"address\": \"01:00.0\"}}]}",
	 "p.json:1:34: rules[0].match.address: \"01:00.0\" can never fit: write \"0000:01:00.0\""},
	{"{\"rules\": [{\"match\": {\"address\": \"slot 3\"}}]}",
	 "p.json:1:34: rules[0].match.address: \"slot 3\" is not a PCI address; use one such as "
	 "\"0000:01:00.0\", or wildcards such as \"0000:01:*\""},
	{"{\"rules\": [{\"match\": {\"reason\": \"atc-timeot\"}}]}",
	 "p.json:1:33: rules[0].match.reason: unknown reason \"atc-timeot\"; did you mean "
	 "\"atc-timeout\"?"},
	{"{\"rules\": [{\"match\": {\"reason\": \"cosmic ray\"}}]}",
	 "p.json:1:33: rules[0].match.reason: unknown reason \"cosmic ray\"; use one of: "
	 "atc-timeout, sync-timeout, reset-failed, administrative"},
	/* --- steps */
	{"{\"rules\": [{\"steps\": \"reset\"}]}",
	 "p.json:1:22: rules[0].steps: expected a list of steps, found a string"},
	{"{\"rules\": [{\"steps\": []}]}", "p.json:1:22: rules[0].steps: expected 1 to 16 steps; "
					   "to leave a device fenced, use \"action\": \"isolate\""},
	{"{\"rules\": [{\"steps\": "
	 "[\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\","
	 "\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\",\"verify\","
	 "\"verify\"]}]}",
	 "p.json:1:22: rules[0].steps: expected 1 to 16 steps; to leave a device fenced, use "
	 "\"action\": \"isolate\""},
	{"{\"rules\": [{\"steps\": [3]}]}", "p.json:1:23: rules[0].steps[0]: expected the name of "
					    "a step or an object, found a number"},
	{"{\"rules\": [{\"steps\": [{}]}]}",
	 "p.json:1:23: rules[0].steps[0]: a step needs its name, such as {\"step\": \"reset\"}"},
	{"{\"rules\": [{\"steps\": [{\"step\": 3}]}]}",
	 "p.json:1:32: rules[0].steps[0].step: expected the name of a step, found a number"},
	{"{\"rules\": [{\"steps\": [\"resett\"]}]}",
	 "p.json:1:23: rules[0].steps[0]: unknown step \"resett\"; did you mean \"reset\"?"},
	{"{\"rules\": [{\"steps\": [\"explode\"]}]}",
	 "p.json:1:23: rules[0].steps[0]: unknown step \"explode\"; use one of: unbind, reset, "
	 "bind, reattach, verify, wait, remove, rescan, slot-power-cycle, exec"},
	{"{\"rules\": [{\"steps\": [\"hook\"]}]}",
	 "p.json:1:23: rules[0].steps[0]: unknown step \"hook\"; use one of: unbind, reset, bind, "
	 "reattach, verify, wait, remove, rescan, slot-power-cycle, exec"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"timeot\": \"3s\"}]}]}",
	 "p.json:1:41: rules[0].steps[0].timeot: unknown key \"timeot\"; did you mean "
	 "\"timeout\"?"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"timeout\": 3}]}]}",
	 "p.json:1:52: rules[0].steps[0].timeout: expected a time such as \"30s\" or \"1min 30s\", "
	 "found a number"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"timeout\": \"3 parsecs\"}]}]}",
	 "p.json:1:52: rules[0].steps[0].timeout: \"3 parsecs\" is not a time; write a number and "
	 "a unit (us, ms, s, min, h, d), such as \"30s\" or \"1min 30s\""},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"timeout\": \"10us\"}]}]}",
	 "p.json:1:52: rules[0].steps[0].timeout: \"10us\" is out of range; use 1ms to 1d"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"wait\", \"for\": \"99999999999999999999h\"}]}]}",
	 "p.json:1:47: rules[0].steps[0].for: \"99999999999999999999h\" is out of range; use 1us "
	 "to 1d"},
	{"{\"rules\": [{\"steps\": [\"wait\"]}]}",
	 "p.json:1:23: rules[0].steps[0]: \"wait\" needs to know how long: {\"step\": \"wait\", "
	 "\"for\": \"2s\"}"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"for\": \"2s\"}]}]}",
	 "p.json:1:41: rules[0].steps[0].for: only the step \"wait\" has \"for\"; use \"timeout\" "
	 "to limit another one"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"description\": 2}]}]}",
	 "p.json:1:56: rules[0].steps[0].description: expected a string, found a number"},
	{"{\"rules\": [{\"steps\": [\"unbind\", \"reset\"]}]}",
	 "p.json:1:22: rules[0].steps: the driver is unbound and never bound again; add \"bind\""},
	{"{\"rules\": [{\"steps\": [\"remove\"]}]}",
	 "p.json:1:22: rules[0].steps: the device is removed and never looked for again; add "
	 "\"rescan\" and \"bind\", or use \"on_exhausted\": \"remove\""},
	{"{\"rules\": [{\"steps\": [\"remove\", \"rescan\"]}]}",
	 "p.json:1:22: rules[0].steps: the driver is unbound and never bound again; add \"bind\""},
	{"{\"rules\": [{\"steps\": [\"remove\", \"bind\"]}]}",
	 "p.json:1:33: rules[0].steps[1]: the device is not there any more after \"remove\"; put "
	 "\"rescan\" between them"},
	{"{\"rules\": [{\"steps\": [\"slot-power-cycle\"]}]}",
	 "p.json:1:22: rules[0].steps: the driver is unbound and never bound again; add \"bind\""},
	{"{\"rules\": [{\"steps\": [\"exec\"]}]}",
	 "p.json:1:23: rules[0].steps[0]: \"exec\" needs a program: {\"step\": \"exec\", \"exec\": "
	 "[\"/usr/local/sbin/mend\"]}"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": \"/bin/true\"}]}]}",
	 "p.json:1:48: rules[0].steps[0].exec: expected a program and its arguments, 1 to 64 "
	 "strings such as [\"/usr/local/sbin/tell\", \"now\"]"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": []}]}]}",
	 "p.json:1:48: rules[0].steps[0].exec: expected a program and its arguments, 1 to 64 "
	 "strings such as [\"/usr/local/sbin/tell\", \"now\"]"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": [\"true\"]}]}]}",
	 "p.json:1:49: rules[0].steps[0].exec[0]: \"true\" is not an absolute path; programs are "
	 "run without a shell and without a search path"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": [\"/bin/true\", 1]}]}]}",
	 "p.json:1:62: rules[0].steps[0].exec[1]: expected a string, found a number"},
	{"{\"rules\": [{\"steps\": [{\"step\": \"reset\", \"exec\": [\"/bin/true\"]}]}]}",
	 "p.json:1:41: rules[0].steps[0].exec: only the step \"exec\" runs a program"},
	/* --- hooks */
	{"{\"rules\": [{\"hooks\": []}]}",
	 "p.json:1:22: rules[0].hooks: expected an object, found a list"},
	{"{\"rules\": [{\"hooks\": {\"befor\": []}}]}",
	 "p.json:1:23: rules[0].hooks.befor: unknown key \"befor\"; did you mean \"before\"?"},
	{"{\"rules\": [{\"hooks\": {\"before\": {}}}]}",
	 "p.json:1:33: rules[0].hooks.before: expected a list of at most 8 programs, such as "
	 "[{\"exec\": [\"/usr/local/sbin/tell\"], \"timeout\": \"10s\"}]"},
	{"{\"rules\": [{\"hooks\": {\"before\": [{}]}}]}",
	 "p.json:1:34: rules[0].hooks.before[0]: a hook needs a program: {\"exec\": "
	 "[\"/usr/local/sbin/tell\"]}"},
	{"{\"rules\": [{\"hooks\": {\"before\": [\"/bin/true\"]}}]}",
	 "p.json:1:34: rules[0].hooks.before[0]: expected an object, found a string"},
	{"{\"rules\": [{\"hooks\": {\"before\": [{\"exec\": [\"/bin/true\"], \"on_failure\": "
	 "\"abort\"}]}}]}",
	 "p.json:1:72: rules[0].hooks.before[0].on_failure: unknown value \"abort\"; use one of: "
	 "continue, stop"},
	{"{\"rules\": [{\"hooks\": {\"before\": [{\"exec\": [\"/bin/true\"], \"on_failure\": "
	 "true}]}}]}",
	 "p.json:1:72: rules[0].hooks.before[0].on_failure: expected \"continue\" or \"stop\", "
	 "found true or false"},
	{"{\"rules\": [{\"hooks\": {\"before\": [{\"exec\": [\"/bin/true\"], \"on_failure\": "
	 "\"stopp\"}]}}]}",
	 "p.json:1:72: rules[0].hooks.before[0].on_failure: unknown value \"stopp\"; did you mean "
	 "\"stop\"?"},
	{"{\"rules\": [{\"hooks\": {\"after\": [{\"exec\": [\"/bin/true\"], \"on_failure\": "
	 "\"stop\"}]}}]}",
	 "p.json:1:57: rules[0].hooks.after[0].on_failure: unknown key \"on_failure\"; use one of: "
	 "exec, timeout, description"},
	{"{\"rules\": [{\"hooks\": {\"after\": [{\"exec\": [\"/bin/true\"], \"timeout\": "
	 "\"0s\"}]}}]}",
	 "p.json:1:68: rules[0].hooks.after[0].timeout: \"0s\" is out of range; use 1ms to 1d"},
	{"{\"rules\": [{\"hooks\": {\"after\": [{\"exec\": [\"bin/true\"]}]}}]}",
	 "p.json:1:43: rules[0].hooks.after[0].exec[0]: \"bin/true\" is not an absolute path; "
	 "programs are run without a shell and without a search path"},
	/* --- on_exhausted */
	{"{\"rules\": [{\"on_exhausted\": \"power-off\"}]}",
	 "p.json:1:29: rules[0].on_exhausted: unknown last resort \"power-off\"; use one of: "
	 "isolate, remove, slot-power-cycle"},
	{"{\"rules\": [{\"on_exhausted\": \"remov\"}]}",
	 "p.json:1:29: rules[0].on_exhausted: unknown last resort \"remov\"; did you mean "
	 "\"remove\"?"},
	{"{\"rules\": [{\"on_exhausted\": 3}]}",
	 "p.json:1:29: rules[0].on_exhausted: expected \"isolate\", \"remove\", "
	 "\"slot-power-cycle\" or {\"exec\": [...]}, found a number"},
	{"{\"rules\": [{\"on_exhausted\": {}}]}",
	 "p.json:1:29: rules[0].on_exhausted: it needs a program: {\"exec\": "
	 "[\"/usr/local/sbin/give-up\"]}"},
	{"{\"rules\": [{\"on_exhausted\": {\"exec\": [\"x\"]}}]}",
	 "p.json:1:39: rules[0].on_exhausted.exec[0]: \"x\" is not an absolute path; programs are "
	 "run without a shell and without a search path"},
	{"{\"rules\": [{\"on_exhausted\": {\"exec\": [\"/x\"], \"timeout\": \"x\"}}]}",
	 "p.json:1:57: rules[0].on_exhausted.timeout: \"x\" is not a time; write a number and a "
	 "unit (us, ms, s, min, h, d), such as \"30s\" or \"1min 30s\""},
	/* --- the rest of a rule */
	{"{\"rules\": [\n{},\n {\"atempts\": 3}]}",
	 "p.json:3:3: rules[1].atempts: unknown key \"atempts\"; did you mean \"attempts\"?"},
	{"{\"rules\": [{\"attempts\": 0}]}",
	 "p.json:1:25: rules[0].attempts: 0 is out of range; use 1 to 1000"},
	{"{\"rules\": [{\"attempts\": -9223372036854775808}]}",
	 "p.json:1:25: rules[0].attempts: -9223372036854775808 is out of range; use 1 to 1000"},
	{"{\"rules\": [{\"attempts\": 1.5}]}",
	 "p.json:1:25: rules[0].attempts: expected a whole number, found a number with a fraction"},
	{"{\"rules\": [{\"attempts\": \"3\"}]}",
	 "p.json:1:25: rules[0].attempts: expected a whole number, found a string"},
	{"{\"rules\": [{\"step_timeout\": 30}]}",
	 "p.json:1:29: rules[0].step_timeout: expected a time such as \"30s\" or \"1min 30s\", "
	 "found a number"},
	{"{\"rules\": [{\"step_timeout\": \"30\"}]}",
	 "p.json:1:29: rules[0].step_timeout: \"30\" is not a time; write a number and a unit (us, "
	 "ms, s, min, h, d), such as \"30s\" or \"1min 30s\""},
	{"{\"rules\": [{\"step_timeout\": \"\"}]}",
	 "p.json:1:29: rules[0].step_timeout: \"\" is not a time; write a number and a unit (us, "
	 "ms, s, min, h, d), such as \"30s\" or \"1min 30s\""},
	{"{\"rules\": [{\"step_timeout\": \"9d\"}]}",
	 "p.json:1:29: rules[0].step_timeout: \"9d\" is out of range; use 1ms to 1d"},
	{"{\"rules\": [{\"action\": \"recver\"}]}",
	 "p.json:1:23: rules[0].action: unknown action \"recver\"; did you mean \"recover\"?"},
	{"{\"rules\": [{\"action\": \"reboot\"}]}",
	 "p.json:1:23: rules[0].action: unknown action \"reboot\"; use one of: recover, isolate, "
	 "ignore"},
	{"{\"rules\": [{\"action\": null}]}",
	 "p.json:1:23: rules[0].action: expected a string, found null"},
	{"{\"rules\": [{\"reset_methods\": \"flr\"}]}",
	 "p.json:1:30: rules[0].reset_methods: expected a list such as [\"flr\", \"bus\"]; leave "
	 "it out for the kernel's own choice"},
	{"{\"rules\": [{\"reset_methods\": []}]}",
	 "p.json:1:30: rules[0].reset_methods: expected a list such as [\"flr\", \"bus\"]; leave "
	 "it out for the kernel's own choice"},
	{"{\"rules\": [{\"reset_methods\": [\"frl\"]}]}",
	 "p.json:1:31: rules[0].reset_methods[0]: unknown reset method \"frl\"; did you mean "
	 "\"flr\"?"},
	{"{\"rules\": [{\"reset_methods\": [1]}]}",
	 "p.json:1:31: rules[0].reset_methods[0]: expected a string, found a number"},
	{"{\"rules\": [{\"reset_methods\": [\"flr\", \"bus\", \"flr\"]}]}",
	 "p.json:1:45: rules[0].reset_methods[2]: \"flr\" is named twice"},
	{"{\"rules\": [{\"backoff\": {\"first\": \"2s\", \"max\": \"1s\"}}]}",
	 "p.json:1:24: rules[0].backoff: \"first\" is longer than \"max\""},
	{"{\"rules\": [{\"backoff\": {\"frist\": \"2s\"}}]}",
	 "p.json:1:25: rules[0].backoff.frist: unknown key \"frist\"; did you mean \"first\"?"},
	{"{\"rules\": [{\"backoff\": 3}]}", "p.json:1:24: rules[0].backoff: expected a time such "
					    "as \"30s\" or \"1min 30s\", found a number"},
	{"{\"rules\": [{\"rate_limit\": true}]}",
	 "p.json:1:27: rules[0].rate_limit: expected {\"count\": 5, \"window\": \"1h\"}, or false "
	 "for no limit"},
	{"{\"rules\": [{\"rate_limit\": {\"count\": 3}}]}",
	 "p.json:1:27: rules[0].rate_limit: expected {\"count\": 5, \"window\": \"1h\"}, or false "
	 "for no limit"},
	{"{\"rules\": [{\"rate_limit\": {\"count\": 33, \"window\": \"1h\"}}]}",
	 "p.json:1:37: rules[0].rate_limit.count: 33 is out of range; use 1 to 32"},
	{"{\"rules\": [{\"rate_limit\": {\"count\": 3, \"window\": \"1ms\"}}]}",
	 "p.json:1:50: rules[0].rate_limit.window: \"1ms\" is out of range; use 1s to 30d"},
	{"{\"rules\": [{\"rate_limit\": {\"count\": 3, \"window\": \"1h\", \"per\": \"x\"}}]}",
	 "p.json:1:56: rules[0].rate_limit.per: unknown key \"per\"; use one of: count, window"},
	{"{\"rules\": [{\"protect\": \"mounted\"}]}",
	 "p.json:1:24: rules[0].protect: expected true, false, or a list of \"mounted\", \"swap\", "
	 "\"default-route\", \"vfio\"; found a string"},
	{"{\"rules\": [{\"protect\": [\"mountd\"]}]}",
	 "p.json:1:25: rules[0].protect[0]: unknown thing to protect \"mountd\"; did you mean "
	 "\"mounted\"?"},
	{"{\"rules\": [{\"protect\": [\"everything\"]}]}",
	 "p.json:1:25: rules[0].protect[0]: unknown thing to protect \"everything\"; use one of: "
	 "mounted, swap, default-route, vfio"},
	{"{\"rules\": [{\"protect\": [3]}]}",
	 "p.json:1:25: rules[0].protect[0]: expected a string, found a number"},
	{"{\"rules\": [{\"name\": \"\"}]}",
	 "p.json:1:21: rules[0].name: expected a name of 1 to 63 bytes"},
	{"{\"rules\": [{\"name\": 3}]}",
	 "p.json:1:21: rules[0].name: expected a name of 1 to 63 bytes"},
	{"{\"rules\": [{\"description\": 3}]}",
	 "p.json:1:28: rules[0].description: expected a string, found a number"},

};

START_TEST(says_what_is_wrong)
{
	ck_assert_int_eq(parse_bytes(bad[_i].text, strlen(bad[_i].text)), -EINVAL);
	ck_assert_str_eq(error, bad[_i].error);
}
END_TEST

/* What does not fit into the table. */
START_TEST(says_what_is_wrong_with_monsters)
{
	static char text[300 * 1024];
	size_t used;

	/* Bytes behind the end of a string. */
	ck_assert_int_eq(parse_bytes("{}\0", 3), -EINVAL);
	ck_assert_str_eq(error, "p.json:1:3: not valid JSON: a NUL byte");
	ck_assert_int_eq(parse_bytes("\0\0", 2), -EINVAL);
	ck_assert_str_eq(error, "p.json:1:1: not valid JSON: a NUL byte");

	memset(text, '[', 100000);
	ck_assert_int_eq(parse_bytes(text, 100000), -EINVAL);
	ck_assert_str_eq(error,
			 "p.json:1:2049: not valid JSON: maximum parsing depth reached near '['");

	/* Deep, but valid, where nothing is expected. */
	used = (size_t)sprintf(text, "{\"description\": ");
	memset(text + used, '[', 2000);
	memset(text + used + 2000, ']', 2000);
	text[used + 4000] = '}';
	text[used + 4001] = '\0';
	ck_assert_int_eq(parse_bytes(text, used + 4001), -EINVAL);
	ck_assert_str_eq(error, "p.json:1:17: description: expected a string, found a list");

	used = (size_t)sprintf(text,
			       "{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": [\"/");
	memset(text + used, 'x', 4096);
	(void)sprintf(text + used + 4096, "\"]}]}]}");
	ck_assert_int_eq(parse_bytes(text, strlen(text)), -EINVAL);
	ck_assert_str_eq(error, "p.json:1:49: rules[0].steps[0].exec[0]: longer than 4096 bytes");

	/* A key of any length is shown with its beginning. */
	text[0] = '{';
	text[1] = '"';
	memset(text + 2, 'k', 200000);
	(void)sprintf(text + 200002, "\": 1}");
	ck_assert_int_eq(parse_bytes(text, strlen(text)), -EINVAL);
	ck_assert_uint_lt(strlen(error), 400);
	ck_assert_ptr_nonnull(strstr(error, "; use one of: rules, defaults, max_parallel"));
}
END_TEST

static void many(const char *before, const char *element, unsigned int n, const char *after,
		 const char *expected)
{
	static char text[1024 * 1024];
	size_t used = (size_t)sprintf(text, "%s", before);

	for (unsigned int i = 0; i < n; i++)
		used += (size_t)sprintf(text + used, "%s%s", i ? "," : "", element);
	used += (size_t)sprintf(text + used, "%s", after);
	ck_assert_int_eq(parse_bytes(text, used), expected ? -EINVAL : 0);
	if (expected)
		ck_assert_str_eq(error, expected);
}

START_TEST(says_what_is_too_much)
{
	many("{\"rules\": [", "{}", 4096, "]}", NULL);
	many("{\"rules\": [", "{}", 4097, "]}", "p.json:1:11: rules: more than 4096 rules");
	many("{\"rules\": [{\"match\": {\"driver\": [", "\"a\"", 256, "]}}]}", NULL);
	many("{\"rules\": [{\"match\": {\"driver\": [", "\"a\"", 257, "]}}]}",
	     "p.json:1:33: rules[0].match.driver: expected 1 to 256 patterns; leave \"driver\" out "
	     "to match anything");
	many("{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": [", "\"/x\"", 64, "]}]}]}",
	     NULL);
	many("{\"rules\": [{\"steps\": [{\"step\": \"exec\", \"exec\": [", "\"/x\"", 65, "]}]}]}",
	     "p.json:1:48: rules[0].steps[0].exec: expected a program and its arguments, 1 to 64 "
	     "strings such as [\"/usr/local/sbin/tell\", \"now\"]");
	many("{\"rules\": [", "{\"hooks\": {\"after\": [{\"exec\": [\"/x\"]}]}}", 1024, "]}", NULL);
	many("{\"rules\": [", "\n{\"hooks\": {\"after\": [{\"exec\": [\"/x\"]}]}}", 1025, "]}",
	     "p.json:1026:31: rules[1024].hooks.after[0].exec: more than 1024 programs");
	many("{\"rules\": [{\"hooks\": {\"before\": [", "{\"exec\": [\"/x\"]}", 9, "]}}]}",
	     "p.json:1:33: rules[0].hooks.before: expected a list of at most 8 programs, such as "
	     "[{\"exec\": [\"/usr/local/sbin/tell\"], \"timeout\": \"10s\"}]");
}
END_TEST

/* Keys are compared by what they mean. */
START_TEST(locates_keys_that_are_written_with_escapes)
{
	static const char text[] = "{\"a\\/\\u0062\": 1,\n \"\\ud83d\\ude00\\u00fc\\n\": 2,\n "
				   "\"\\\"q\": 3}";
	static const struct {
		const char *key;
		unsigned int line;
	} keys[] = {{"a/b", 1}, {"\xf0\x9f\x98\x80\xc3\xbc\n", 2}, {"\"q", 3}};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct json_path path = {.key = keys[i].key};
		unsigned int line = 0;
		unsigned int column = 0;

		ck_assert_msg(json_locate(text, &path, true, &line, &column), "%s", keys[i].key);
		ck_assert_uint_eq(line, keys[i].line);
		ck_assert_uint_eq(column, 2);
	}
}
END_TEST

Suite *policy_errors_suite(void)
{
	Suite *suite = suite_create("policy-errors");
	TCase *c = tcase_create("parse");

	tcase_add_loop_test(c, says_what_is_wrong, 0, ARRAY_SIZE(bad));
	tcase_add_test(c, says_what_is_wrong_with_monsters);
	tcase_add_test(c, says_what_is_too_much);
	tcase_add_test(c, locates_keys_that_are_written_with_escapes);
	suite_add_tcase(suite, c);
	return suite;
}
