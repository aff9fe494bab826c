// SPDX-License-Identifier: GPL-2.0-or-later
/* The shipped policy and the examples: which rule typical devices get, and what it does. */
#include <fcntl.h>

#include "policy.h"
#include "unit.h"

#define SHIPPED	   "config/policy.json"
#define GPU_NODE   "config/examples/gpu-node.json"
#define STORAGE	   "config/examples/nvme-storage.json"
#define HYPERVISOR "config/examples/hypervisor-vfio.json"

#define IN_PLACE "reset verify"
#define UNBOUND	 "unbind reset reattach bind"

static const struct {
	const char *file;
	struct match_subject
		subject; /* address, vendor, device, class, driver, iommu, reason, slot */
	const char *rule;
	enum policy_action action;
	const char *steps; /* "" where none are carried out */
	unsigned int protect;
	enum exhausted on_exhausted;
} devices[] = {
	/* A mounted disk stays mounted: it is reset in place. */
	{SHIPPED,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "nvme", "", "atc-timeout", "3"}},
	 "nvme-in-place",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:01:00.0", "1af4", "1042", "010000", "virtio-pci", "", "sync-timeout", ""}},
	 "virtio-blk-in-place",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:01:00.0", "1af4", "1048", "010000", "virtio-pci", "", "atc-timeout", ""}},
	 "default",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:02:00.0", "1af4", "1041", "020000", "virtio-pci", "", "atc-timeout", ""}},
	 "default",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:02:00.0", "15b3", "101e", "020000", "mlx5_core", "", "atc-timeout", ""}},
	 "default",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	/* A guest's disk is a guest's device first. */
	{SHIPPED,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "vfio-pci", "", "atc-timeout", ""}},
	 "vfio",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_VFIO,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:41:00.0", "10de", "2330", "030200", "nvgrace_gpu_vfio_pci", "", "atc-timeout",
	   ""}},
	 "vfio",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_VFIO,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:41:00.0", "10de", "2330", "030200", "nvidia", "", "atc-timeout", "7"}},
	 "accelerator",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:41:00.0", "1da3", "1000", "120000", "habanalabs", "", "atc-timeout", ""}},
	 "accelerator",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:02:00.0", "8086", "10c9", "020000", "igb", "", "administrative", ""}},
	 "drill",
	 ACTION_RECOVER,
	 UNBOUND " verify",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{SHIPPED,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "nvme", "", "administrative", "3"}},
	 "nvme-in-place",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},

	{GPU_NODE,
	 {{"0000:41:00.0", "10de", "2330", "030200", "nvidia", "", "atc-timeout", "7"}},
	 "gpu",
	 ACTION_RECOVER,
	 "unbind reset wait reattach bind",
	 PROTECT_ALL,
	 EXHAUSTED_SLOT_POWER_CYCLE},
	{GPU_NODE,
	 {{"0000:41:00.1", "10de", "22bc", "040300", "snd_hda_intel", "", "atc-timeout", "7"}},
	 "gpu-companions",
	 ACTION_ISOLATE,
	 "",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{GPU_NODE,
	 {{"0000:81:00.0", "10de", "22a3", "068000", "nvidia-nvswitch", "", "atc-timeout", ""}},
	 "fabric",
	 ACTION_ISOLATE,
	 "",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{GPU_NODE,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "nvme", "", "atc-timeout", ""}},
	 "default",
	 ACTION_RECOVER,
	 UNBOUND,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},

	{STORAGE,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "nvme", "", "atc-timeout", ""}},
	 "boot-disk",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{STORAGE,
	 {{"0000:61:00.0", "144d", "a80a", "010802", "nvme", "", "atc-timeout", "12"}},
	 "data-disk",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_EXEC},
	{STORAGE,
	 {{"0000:61:00.0", "144d", "a80a", "010802", "", "", "atc-timeout", "12"}},
	 "bay-without-driver",
	 ACTION_RECOVER,
	 "slot-power-cycle bind",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{STORAGE,
	 {{"0000:61:00.0", "144d", "a80a", "010802", "", "", "atc-timeout", ""}},
	 "default",
	 ACTION_RECOVER,
	 UNBOUND,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{STORAGE,
	 {{"0000:21:00.0", "15b3", "101d", "020000", "mlx5_core", "", "atc-timeout", ""}},
	 "network",
	 ACTION_RECOVER,
	 "unbind reset remove rescan bind",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},

	{HYPERVISOR,
	 {{"0000:41:00.0", "10de", "2330", "030200", "vfio-pci", "", "atc-timeout", "7"}},
	 "guest-device",
	 ACTION_ISOLATE,
	 "",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{HYPERVISOR,
	 {{"0000:21:00.4", "15b3", "101e", "020000", "mlx5_vfio_pci", "", "atc-timeout", ""}},
	 "guest-device",
	 ACTION_ISOLATE,
	 "",
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
	{HYPERVISOR,
	 {{"0000:21:00.0", "15b3", "101d", "020000", "mlx5_core", "", "atc-timeout", ""}},
	 "physical-function",
	 ACTION_RECOVER,
	 UNBOUND,
	 PROTECT_DEFAULT_ROUTE | PROTECT_VFIO,
	 EXHAUSTED_ISOLATE},
	{HYPERVISOR,
	 {{"0000:01:00.0", "144d", "a80a", "010802", "nvme", "", "atc-timeout", ""}},
	 "host-disk",
	 ACTION_RECOVER,
	 IN_PLACE,
	 PROTECT_ALL,
	 EXHAUSTED_ISOLATE},
};

static struct policy *load(const char *name)
{
	const char *source = getenv("SMMU_RAS_SOURCE");
	struct policy *policy = policy_new();
	char error[POLICY_ERROR_SIZE];
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	char path[512];
	size_t len = 0;

	snprintf(path, sizeof(path), "%s/%s", source ? source : ".", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s", path);
	ck_assert_int_eq(read_all(fd, 1 << 20, &text, &len), 0);
	ck_assert_ptr_nonnull(policy);
	/* The programs that it names are looked at only where it is in force. */
	ck_assert_msg(policy_parse(policy, name, text, len, true, error) == 0, "%s", error);
	ck_assert_int_eq(policy_finish(policy), 0);
	return policy;
}

START_TEST(typical_devices_get_their_rules)
{
	struct policy *policy = load(devices[_i].file);
	const struct rule *rule = policy_match(policy, &devices[_i].subject);
	char steps[256] = "";
	size_t used = 0;

	ck_assert_ptr_nonnull(rule);
	for (size_t i = 0; rule->action == ACTION_RECOVER && i < rule->n_steps; i++)
		used += (size_t)snprintf(steps + used, sizeof(steps) - used, "%s%s", i ? " " : "",
					 step_name(rule->steps[i].kind));
	ck_assert_str_eq(rule->name, devices[_i].rule);
	ck_assert_int_eq(rule->action, devices[_i].action);
	ck_assert_str_eq(steps, devices[_i].steps);
	ck_assert_uint_eq(rule->protect, devices[_i].protect);
	ck_assert_int_eq(rule->on_exhausted, devices[_i].on_exhausted);
	policy_unref(policy);
}
END_TEST

/* The kernel waits a minute for a device to come back, and another one for the next reset method.
 */
START_TEST(resets_get_the_time_that_the_kernel_takes)
{
	static const char *const files[] = {SHIPPED, GPU_NODE, STORAGE, HYPERVISOR};
	struct policy *policy = load(files[_i]);

	for (size_t i = 0; i < policy->n_rules; i++)
		for (size_t j = 0; j < policy->rules[i]->n_steps; j++)
			if (policy->rules[i]->steps[j].kind == STEP_RESET)
				ck_assert_uint_ge(policy->rules[i]->steps[j].timeout,
						  150 * USEC_PER_SEC);
	policy_unref(policy);
}
END_TEST

START_TEST(hooks_of_the_examples)
{
	struct policy *policy = load(HYPERVISOR);

	/* The defaults are for all rules of the file. */
	for (size_t i = 0; i < policy->n_rules; i++) {
		ck_assert_uint_eq(policy->rules[i]->n_after, 1);
		ck_assert_uint_eq(policy->rules[i]->after[0].timeout, 30 * USEC_PER_SEC);
	}
	policy_unref(policy);
	policy = load(GPU_NODE);
	ck_assert_uint_eq(policy->rules[0]->n_before, 1);
	ck_assert(!policy->rules[0]->before[0].stop);
	ck_assert_str_eq(policy->rules[0]->before[0].command->argv[0], "/usr/local/sbin/gpu-drain");
	ck_assert_uint_eq(policy->rules[0]->n_on_exhausted_steps, 2);
	ck_assert_uint_eq(policy->rules[1]->n_after, 0);
	policy_unref(policy);
}
END_TEST

Suite *policy_shipped_suite(void)
{
	Suite *suite = suite_create("policy-shipped");
	TCase *c = tcase_create("rules");

	tcase_add_loop_test(c, typical_devices_get_their_rules, 0, ARRAY_SIZE(devices));
	tcase_add_loop_test(c, resets_get_the_time_that_the_kernel_takes, 0, 4);
	tcase_add_test(c, hooks_of_the_examples);
	suite_add_tcase(suite, c);
	return suite;
}
