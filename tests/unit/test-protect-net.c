// SPDX-License-Identifier: GPL-2.0-or-later
/* Default routes, over whatever a network card is part of. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "protect-find.h"
#include "protect.h"
#include "unit.h"

#define DEV	 "0000:01:00.0"
#define DEV_PATH "devices/pci0000:00/" DEV

static char text[256];

/* What the kernel will answer, one family after the other. */
static char answer[4096];
static size_t answer_size;

static struct nlmsghdr *begin_route(unsigned char length, unsigned char type)
{
	struct nlmsghdr *header = (struct nlmsghdr *)(answer + answer_size);
	struct rtmsg *route = NLMSG_DATA(header);

	memset(header, 0, NLMSG_LENGTH(sizeof(*route)));
	header->nlmsg_type = RTM_NEWROUTE;
	header->nlmsg_len = NLMSG_LENGTH(sizeof(*route));
	route->rtm_dst_len = length;
	route->rtm_type = type;
	return header;
}

static void add_attribute(struct nlmsghdr *header, unsigned short type, const void *data,
			  size_t size)
{
	struct rtattr *attribute = (struct rtattr *)((char *)header + header->nlmsg_len);

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
	header->nlmsg_len += RTA_SPACE(size);
}

static void end_route(const struct nlmsghdr *header)
{
	answer_size += NLMSG_ALIGN(header->nlmsg_len);
}

static void add_route(unsigned char length, unsigned char type, uint32_t interface)
{
	struct nlmsghdr *header = begin_route(length, type);

	add_attribute(header, RTA_GATEWAY, "\n\0\0\1", 4);
	add_attribute(header, RTA_OIF, &interface, sizeof(interface));
	end_route(header);
}

static void answer_with(int family)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/routes%d", unit_host_root(), family);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(answer, 1, answer_size, f), answer_size);
	ck_assert_int_eq(fclose(f), 0);
	answer_size = 0;
}

static void add_interface(const char *path, const char *name, const char *index)
{
	char file[256];
	char target[256];

	snprintf(file, sizeof(file), "sys/%s/%s/ifindex", path, name);
	unit_file(file, index);
	snprintf(file, sizeof(file), "sys/class/net/%s", name);
	snprintf(target, sizeof(target), "../../%s/%s", path, name);
	unit_link(file, target);
}

/* eth7 (2) in bond0 (3) in br0 (4); eth8 (5) is another card. */
static void setup(void)
{
	unit_host_setup();
	answer_size = 0;
	unit_file("sys/" DEV_PATH "/vendor", "0x1b36\n");
	unit_link("sys/bus/pci/devices/" DEV, "../../../" DEV_PATH);
	unit_file("sys/class/net/bonding_masters", "bond0\n");
	add_interface(DEV_PATH "/usb3/3-1/3-1:1.0/net", "eth7", "2\n");
	add_interface("devices/virtual/net", "bond0", "3\n");
	add_interface("devices/virtual/net", "br0", "4\n");
	add_interface("devices/pci0000:00/0000:02:00.0/net", "eth8", "5\n");
	unit_link("sys/" DEV_PATH "/usb3/3-1/3-1:1.0/net/eth7/upper_bond0", "/nowhere");
	unit_link("sys/devices/virtual/net/bond0/upper_br0", "/nowhere");
}

static bool check(unsigned int mask)
{
	return protect_check(mask, "pci", DEV, "xhci_hcd", text, sizeof(text));
}

START_TEST(finds_the_default_route_through_bond_and_bridge)
{
	add_route(24, RTN_UNICAST, 2);
	add_route(0, RTN_UNICAST, 4);
	answer_with(AF_INET);
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by the default route (br0)");
	ck_assert(!check(PROTECT_ALL & ~PROTECT_DEFAULT_ROUTE));
}
END_TEST

/* A way to somewhere, one to nowhere, and one over another card. */
START_TEST(other_routes_are_not_the_way_out)
{
	add_route(8, RTN_UNICAST, 2);
	add_route(0, RTN_UNREACHABLE, 2);
	add_route(0, RTN_UNICAST, 5);
	answer_with(AF_INET);
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(finds_the_default_route_of_ipv6)
{
	add_route(64, RTN_UNICAST, 2);
	add_route(0, RTN_UNICAST, 2);
	answer_with(AF_INET6);
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by the default route (eth7)");
}
END_TEST

START_TEST(finds_one_of_several_ways)
{
	struct {
		struct rtnexthop first;
		char gateway[8];
		struct rtnexthop second;
	} hops = {.first = {.rtnh_len = 16, .rtnh_ifindex = 5},
		  .second = {.rtnh_len = 8, .rtnh_ifindex = 3}};
	struct nlmsghdr *header = begin_route(0, RTN_UNICAST);

	add_attribute(header, RTA_MULTIPATH, &hops, sizeof(hops));
	end_route(header);
	answer_with(AF_INET);
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by the default route (bond0)");
}
END_TEST

/* Both the card and the switch's own port are in its datapath; no link says so. */
START_TEST(suspects_open_vswitch)
{
	add_interface("devices/virtual/net", "br-ex", "8\n");
	add_interface("devices/virtual/net", "ovs-system", "7\n");
	add_route(0, RTN_UNICAST, 8);
	answer_with(AF_INET);
	ck_assert(!check(PROTECT_ALL));
	unit_link("sys/" DEV_PATH "/usb3/3-1/3-1:1.0/net/eth7/master",
		  "../../../../../../../virtual/net/ovs-system");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by the default route (br-ex, perhaps through Open vSwitch)");
}
END_TEST

/* Whatever is cut off or lies about its length, nothing is read beyond the end. */
START_TEST(reads_damaged_answers)
{
	struct rtnexthop hop = {.rtnh_len = 8, .rtnh_ifindex = 3};
	struct nlmsghdr *header = begin_route(0, RTN_UNICAST);

	add_attribute(header, RTA_MULTIPATH, &hop, sizeof(hop));
	end_route(header);
	add_route(0, RTN_UNICAST, 4);
	for (size_t size = 0; size <= answer_size; size++) {
		for (size_t i = 0; i < size; i++) {
			struct routes routes = {0};
			_cleanup_free_ char *copy = malloc(size);

			/* In memory of its own, for the sanitizers to see. */
			ck_assert_ptr_nonnull(copy);
			memcpy(copy, answer, size);
			copy[i] = (char)0xff;
			(void)routes_parse(copy, size, &routes);
			copy[i] = 0;
			(void)routes_parse(copy, size, &routes);
			ck_assert_uint_le(routes.n, 4);
		}
	}
}
END_TEST

START_TEST(asks_again_and_believes_no_error)
{
	struct routes routes = {0};
	struct {
		struct nlmsghdr header;
		int error;
	} end = {.header = {.nlmsg_len = sizeof(end), .nlmsg_type = NLMSG_DONE}};

	ck_assert_int_eq(routes_parse(&end, sizeof(end), &routes), 1);
	end.header.nlmsg_flags = NLM_F_DUMP_INTR;
	ck_assert_int_eq(routes_parse(&end, sizeof(end), &routes), -EINTR);
	end.header.nlmsg_flags = 0;
	end.header.nlmsg_type = NLMSG_ERROR;
	end.error = -EPERM;
	ck_assert_int_eq(routes_parse(&end, sizeof(end), &routes), -EPERM);
	memcpy(answer, &end, sizeof(end));
	answer_size = sizeof(end);
	answer_with(AF_INET);
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "cannot tell"));
}
END_TEST

Suite *protect_net_suite(void)
{
	Suite *suite = suite_create("protect-net");
	TCase *c = tcase_create("protect-net");

	tcase_add_checked_fixture(c, setup, unit_host_teardown);
	tcase_add_test(c, finds_the_default_route_through_bond_and_bridge);
	tcase_add_test(c, other_routes_are_not_the_way_out);
	tcase_add_test(c, finds_the_default_route_of_ipv6);
	tcase_add_test(c, finds_one_of_several_ways);
	tcase_add_test(c, suspects_open_vswitch);
	tcase_add_test(c, reads_damaged_answers);
	tcase_add_test(c, asks_again_and_believes_no_error);
	suite_add_tcase(suite, c);
	return suite;
}
