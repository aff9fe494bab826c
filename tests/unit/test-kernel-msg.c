// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages as they lie on the wire, good ones and those that break the contract. */
#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include "kernel-msg.h"
#include "unit.h"

#define FAMILY 0x21

static struct nl_msg *msg;
static struct kernel_message got;

static void setup(void)
{
	msg = nlmsg_alloc();
	ck_assert_ptr_nonnull(msg);
}

static void teardown(void)
{
	nlmsg_free(msg);
}

static int parse(void)
{
	memset(&got, 0x5a, sizeof(got));
	return kernel_message_parse(nlmsg_hdr(msg), FAMILY, "iommu-ras", "events", &got);
}

static void begin(uint8_t command)
{
	ck_assert_ptr_nonnull(genlmsg_put(msg, 0, 7, FAMILY, 0, 0, command, 1));
}

static void put_device(void)
{
	ck_assert_int_eq(nla_put_u64(msg, IOMMU_RAS_A_DEVICE_EVENT_SEQ, 42), 0);
	ck_assert_int_eq(nla_put_u64(msg, IOMMU_RAS_A_DEVICE_FENCE_ID, 3), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_BUS, "pci"), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_DEV, "0000:01:00.0"), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_IOMMU, "smmu3.0x9050000"), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_GROUP, 0), 0);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_STREAM_ID, 0x100 + i), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_DRIVER, "nvme"), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_REASON, IOMMU_RAS_REASON_ATC_TIMEOUT),
			 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_STATE, IOMMU_RAS_STATE_FENCED), 0);
	ck_assert_int_eq(nla_put_u64(msg, IOMMU_RAS_A_DEVICE_FENCE_TIME, 123456789), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_FENCE_COUNT, 2), 0);
	ck_assert_int_eq(nla_put_u64(msg, IOMMU_RAS_A_DEVICE_SUPPRESSED, 1000), 0);
}

static const struct {
	uint8_t command;
	enum kernel_message_type type;
} commands[] = {
	{IOMMU_RAS_CMD_DEVICE_GET, KERNEL_DEVICE},
	{IOMMU_RAS_CMD_DEVICE_FENCED_NTF, KERNEL_FENCED},
	{IOMMU_RAS_CMD_DEVICE_SANITIZED_NTF, KERNEL_SANITIZED},
	{IOMMU_RAS_CMD_DEVICE_UNFENCED_NTF, KERNEL_UNFENCED},
	{IOMMU_RAS_CMD_DEVICE_REMOVED_NTF, KERNEL_REMOVED},
	{IOMMU_RAS_CMD_MAX + 1, KERNEL_OTHER},
};

START_TEST(knows_every_command)
{
	begin(commands[_i].command);
	put_device();
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, commands[_i].type);
	ck_assert_uint_eq(got.seq, 7);
}
END_TEST

START_TEST(reads_every_attribute)
{
	begin(IOMMU_RAS_CMD_DEVICE_FENCED_NTF);
	/* A newer kernel says more. */
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_MAX + 7, 1), 0);
	put_device();
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(got.device.event_seq, 42);
	ck_assert_uint_eq(got.device.fence_id, 3);
	ck_assert_str_eq(got.device.bus, "pci");
	ck_assert_str_eq(got.device.dev, "0000:01:00.0");
	ck_assert_str_eq(got.device.iommu, "smmu3.0x9050000");
	ck_assert(got.device.has_group);
	ck_assert_uint_eq(got.device.group, 0);
	ck_assert_uint_eq(got.device.n_stream_ids, 10);
	ck_assert_uint_eq(got.device.stream_ids[RAS_STREAM_IDS_MAX - 1], 0x107);
	ck_assert_str_eq(got.device.driver, "nvme");
	ck_assert_uint_eq(got.device.reason, IOMMU_RAS_REASON_ATC_TIMEOUT);
	ck_assert_uint_eq(got.device.state, IOMMU_RAS_STATE_FENCED);
	ck_assert_uint_eq(got.device.fence_time, 123456789);
	ck_assert_uint_eq(got.device.fence_count, 2);
	ck_assert_uint_eq(got.device.suppressed, 1000);
}
END_TEST

START_TEST(leaves_out_what_was_not_sent)
{
	begin(IOMMU_RAS_CMD_DEVICE_GET);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_BUS, "pci"), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_DEV, "0000:01:00.0"), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_STATE, 99), 0);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(got.device.driver, "");
	ck_assert(!got.device.has_group);
	ck_assert_uint_eq(got.device.event_seq, 0);
	ck_assert_str_eq(ras_state_name(got.device.state), "unknown");
}
END_TEST

/* Each breaks one thing in an otherwise good message. */
static const struct {
	int type;
	const void *data;
	int len;
} broken[] = {
	{IOMMU_RAS_A_DEVICE_EVENT_SEQ, "1234", 4},
	{IOMMU_RAS_A_DEVICE_STATE, "12", 2},
	{IOMMU_RAS_A_DEVICE_FENCE_ID, "1234567", 7},
	{IOMMU_RAS_A_DEVICE_BUS, "../bus", 7},
	{IOMMU_RAS_A_DEVICE_DEV, "no end", 6},
	{IOMMU_RAS_A_DEVICE_DEV, "", 1},
	{IOMMU_RAS_A_DEVICE_DEV, "", 0},
	{IOMMU_RAS_A_DEVICE_DEV, "../../etc", 10},
	{IOMMU_RAS_A_DEVICE_DEV, "..", 3},
	{IOMMU_RAS_A_DEVICE_BUS, "a bus name that is far too long", 32},
	{IOMMU_RAS_A_DEVICE_DEV,
	 "0000000000000000000000000000000000000000000000000000000000000000000000", 71},
};

START_TEST(refuses_broken_attributes)
{
	begin(IOMMU_RAS_CMD_DEVICE_FENCED_NTF);
	put_device();
	ck_assert_int_eq(nla_put(msg, broken[_i].type, broken[_i].len, broken[_i].data), 0);
	ck_assert_int_eq(parse(), -EBADMSG);
}
END_TEST

#define LONG_NAME "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
	int type;
	const void *data;
	int len;
} odd[] = {
	{IOMMU_RAS_A_DEVICE_DRIVER, LONG_NAME, sizeof(LONG_NAME)},
	{IOMMU_RAS_A_DEVICE_DRIVER, "a/b", 4},
	{IOMMU_RAS_A_DEVICE_DRIVER, "..", 3},
	{IOMMU_RAS_A_DEVICE_DRIVER, "no end", 6},
	{IOMMU_RAS_A_DEVICE_DRIVER, "\033[2J", 5},
	{IOMMU_RAS_A_DEVICE_DRIVER, "\377", 2},
	{IOMMU_RAS_A_DEVICE_IOMMU, LONG_NAME, sizeof(LONG_NAME)},
	{IOMMU_RAS_A_DEVICE_GROUP, "", 0},
	{IOMMU_RAS_A_DEVICE_REASON, "", 0},
	{IOMMU_RAS_A_DEVICE_STREAM_ID, "123", 3},
	{IOMMU_RAS_A_DEVICE_SUPPRESSED, "1234", 4},
};

/* That a device is fenced counts for more than what its driver is called. */
START_TEST(odd_attributes_count_as_not_sent)
{
	begin(IOMMU_RAS_CMD_DEVICE_FENCED_NTF);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_BUS, "pci"), 0);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_DEV, "0000:01:00.0"), 0);
	ck_assert_int_eq(nla_put(msg, odd[_i].type, odd[_i].len, odd[_i].data), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_STATE, IOMMU_RAS_STATE_FENCED), 0);
	ck_assert_int_eq(parse(), 0);
	ck_assert_str_eq(got.device.driver, "");
	ck_assert_str_eq(got.device.iommu, "");
	ck_assert(!got.device.has_group);
	ck_assert_uint_eq(got.device.reason, 0);
	ck_assert_uint_eq(got.device.n_stream_ids, 0);
	ck_assert_uint_eq(got.device.suppressed, 0);
}
END_TEST

START_TEST(refuses_a_message_about_nothing)
{
	begin(IOMMU_RAS_CMD_DEVICE_FENCED_NTF);
	ck_assert_int_eq(parse(), -EBADMSG);
	ck_assert_int_eq(nla_put_string(msg, IOMMU_RAS_A_DEVICE_BUS, "pci"), 0);
	ck_assert_int_eq(nla_put_u32(msg, IOMMU_RAS_A_DEVICE_STATE, 2), 0);
	ck_assert_int_eq(parse(), -EBADMSG);
}
END_TEST

/* Cut anywhere, it must be refused, or read as what was whole; and nothing behind it touched. */
START_TEST(survives_every_length)
{
	struct nlmsghdr *copy;
	uint32_t full;

	begin(IOMMU_RAS_CMD_DEVICE_FENCED_NTF);
	put_device();
	full = nlmsg_hdr(msg)->nlmsg_len;
	for (uint32_t len = 0; len < full; len++) {
		int r;

		copy = malloc(len < NLMSG_HDRLEN ? NLMSG_HDRLEN : len);
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, nlmsg_hdr(msg), len < NLMSG_HDRLEN ? NLMSG_HDRLEN : len);
		copy->nlmsg_len = len;
		r = kernel_message_parse(copy, FAMILY, "iommu-ras", "events", &got);
		ck_assert(r == 0 || r == -EBADMSG);
		if (r == 0 && got.type == KERNEL_FENCED)
			ck_assert_str_eq(got.device.dev, "0000:01:00.0");
		/* In the middle of the last attribute. */
		if (len > full - 8 && len < full)
			ck_assert_int_eq(r, -EBADMSG);
		free(copy);
	}
}
END_TEST

START_TEST(other_families_are_not_for_us)
{
	ck_assert_ptr_nonnull(genlmsg_put(msg, 0, 0, FAMILY + 1, 0, 0, 4, 1));
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_OTHER);
}
END_TEST

static void put_family(uint8_t command, const char *name, const char *group)
{
	struct nlattr *groups;
	struct nlattr *entry;

	ck_assert_ptr_nonnull(genlmsg_put(msg, 0, 0, GENL_ID_CTRL, 0, 0, command, 1));
	ck_assert_int_eq(nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, name), 0);
	ck_assert_int_eq(nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, FAMILY), 0);
	groups = nla_nest_start(msg, CTRL_ATTR_MCAST_GROUPS);
	entry = nla_nest_start(msg, 1);
	ck_assert_int_eq(nla_put_string(msg, CTRL_ATTR_MCAST_GRP_NAME, group), 0);
	ck_assert_int_eq(nla_put_u32(msg, CTRL_ATTR_MCAST_GRP_ID, 9), 0);
	nla_nest_end(msg, entry);
	nla_nest_end(msg, groups);
}

START_TEST(reads_families)
{
	put_family(CTRL_CMD_NEWFAMILY, "iommu-ras", "events");
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_FAMILY);
	ck_assert_uint_eq(got.family, FAMILY);
	ck_assert_uint_eq(got.group, 9);
}
END_TEST

START_TEST(reads_that_a_family_has_gone)
{
	put_family(CTRL_CMD_DELFAMILY, "iommu-ras", "events");
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_FAMILY_GONE);
}
END_TEST

START_TEST(skips_other_families)
{
	put_family(CTRL_CMD_NEWFAMILY, "ethtool", "monitor");
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_OTHER);
}
END_TEST

START_TEST(refuses_the_family_without_its_group)
{
	put_family(CTRL_CMD_NEWFAMILY, "iommu-ras", "other");
	ck_assert_int_eq(parse(), -EBADMSG);
}
END_TEST

static void put_error(int error, uint16_t flags, const char *text, uint32_t request)
{
	struct nlmsgerr err = {.error = error, .msg = {.nlmsg_len = request}};

	ck_assert_ptr_nonnull(nlmsg_put(msg, 0, 5, NLMSG_ERROR, 0, flags));
	ck_assert_int_eq(nlmsg_append(msg, &err, sizeof(err), NLMSG_ALIGNTO), 0);
	if (text)
		ck_assert_int_eq(nla_put_string(msg, NLMSGERR_ATTR_MSG, text), 0);
}

START_TEST(reads_errors_and_their_texts)
{
	put_error(-ENODEV, NLM_F_ACK_TLVS | NLM_F_CAPPED, "no such\ndevice", 400);
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_ERROR);
	ck_assert_int_eq(got.error, -ENODEV);
	ck_assert_str_eq(got.text, "no such\\x0adevice");
	ck_assert_uint_eq(got.seq, 5);
}
END_TEST

START_TEST(an_error_may_lie_about_its_request)
{
	put_error(-EBUSY, NLM_F_ACK_TLVS, "text", 0xfffffff0);
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.error, -EBUSY);
	ck_assert_str_eq(got.text, "");
}
END_TEST

START_TEST(an_acknowledgement_is_no_error)
{
	put_error(0, 0, NULL, 16);
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_ERROR);
	ck_assert_int_eq(got.error, 0);
}
END_TEST

START_TEST(reads_the_end_of_a_dump)
{
	int error = -EINTR;

	ck_assert_ptr_nonnull(nlmsg_put(msg, 0, 5, NLMSG_DONE, 0, NLM_F_DUMP_INTR));
	ck_assert_int_eq(nlmsg_append(msg, &error, sizeof(error), NLMSG_ALIGNTO), 0);
	ck_assert_int_eq(parse(), 0);
	ck_assert_int_eq(got.type, KERNEL_DONE);
	ck_assert_int_eq(got.error, -EINTR);
	ck_assert(got.interrupted);
}
END_TEST

Suite *kernel_msg_suite(void)
{
	Suite *suite = suite_create("kernel-msg");
	TCase *c = tcase_create("kernel-msg");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, knows_every_command, 0, ARRAY_SIZE(commands));
	tcase_add_test(c, reads_every_attribute);
	tcase_add_test(c, leaves_out_what_was_not_sent);
	tcase_add_loop_test(c, refuses_broken_attributes, 0, ARRAY_SIZE(broken));
	tcase_add_loop_test(c, odd_attributes_count_as_not_sent, 0, ARRAY_SIZE(odd));
	tcase_add_test(c, refuses_a_message_about_nothing);
	tcase_add_test(c, survives_every_length);
	tcase_add_test(c, other_families_are_not_for_us);
	tcase_add_test(c, reads_families);
	tcase_add_test(c, reads_that_a_family_has_gone);
	tcase_add_test(c, skips_other_families);
	tcase_add_test(c, refuses_the_family_without_its_group);
	tcase_add_test(c, reads_errors_and_their_texts);
	tcase_add_test(c, an_error_may_lie_about_its_request);
	tcase_add_test(c, an_acknowledgement_is_no_error);
	tcase_add_test(c, reads_the_end_of_a_dump);
	suite_add_tcase(suite, c);
	return suite;
}
