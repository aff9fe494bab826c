// SPDX-License-Identifier: GPL-2.0-or-later
#include "protect.h"
#include "unit.h"

#define DEV		  "0000:01:00.0"
#define DEV_PATH	  "sys/devices/pci0000:00/" DEV
#define VIRTUAL		  "sys/devices/virtual/block/"
#define MOUNT_OF(t, n, s) "30 1 " n " / /srv rw,relatime shared:1 - " t " " s " rw\n"
#define MOUNT(n, s)	  MOUNT_OF("ext4", n, s)

static char text[256];

static void add_block(const char *path, const char *name, const char *number)
{
	char file[256];
	char target[256];

	snprintf(file, sizeof(file), "sys/%s/%s/dev", path, name);
	unit_file(file, number);
	snprintf(file, sizeof(file), "sys/class/block/%s", name);
	snprintf(target, sizeof(target), "../../%s/%s", path, name);
	unit_link(file, target);
}

static void setup(void)
{
	unit_host_setup();
	unit_file(DEV_PATH "/vendor", "0x1b36\n");
	unit_link("sys/bus/pci/devices/" DEV, "../../../devices/pci0000:00/" DEV);
	unit_file("proc/self/mountinfo", "");
	add_block("devices/pci0000:00/" DEV "/nvme/nvme0", "nvme0n1", "259:0\n");
	add_block("devices/pci0000:00/" DEV "/nvme/nvme0/nvme0n1", "nvme0n1p1", "259:1\n");
	/* Another disk, for what must not be found. */
	add_block("devices/pci0000:00/0000:02:00.0/virtio0/block", "vda", "254:0\n");
}

static bool check(unsigned int mask)
{
	return protect_check(mask, "pci", DEV, "nvme", text, sizeof(text));
}

START_TEST(nothing_is_in_use)
{
	unit_file("proc/self/mountinfo", MOUNT("254:0", "/dev/vda"));
	unit_file("proc/swaps", "Filename Type\n/dev/vda partition\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(finds_a_mounted_partition)
{
	unit_file("proc/self/mountinfo", MOUNT("259:1", "/dev/nvme0n1p1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "/srv (nvme0n1p1)"));
	ck_assert(!check(PROTECT_ALL & ~PROTECT_MOUNTED));
	ck_assert(!check(0));
}
END_TEST

/* btrfs has device numbers of its own. */
START_TEST(finds_a_mount_by_its_source)
{
	unit_file("proc/self/mountinfo", MOUNT_OF("btrfs", "0:44", "/dev/nvme0n1p1"));
	ck_assert(check(PROTECT_ALL));
	unit_file("proc/self/mountinfo",
		  MOUNT_OF("bcachefs", "0:44", "/dev/sda:/dev/nvme0n1p1:/dev/sdb"));
	ck_assert(check(PROTECT_ALL));
	unit_file("proc/self/mountinfo", MOUNT_OF("bcachefs", "0:44", "/dev/sda:/dev/sdb"));
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

/* Whoever mounts it chooses its source, and could keep a device from being recovered. */
START_TEST(believes_no_source_of_fuse)
{
	unit_file("proc/self/mountinfo", MOUNT_OF("fuse.x", "0:44", "/dev/nvme0n1p1"));
	ck_assert(!check(PROTECT_ALL));
	unit_file("proc/self/mountinfo", MOUNT_OF("ext4", "8:1", "/dev/nvme0n1p1"));
	ck_assert(!check(PROTECT_ALL));
	/* White space that the kernel leaves alone. */
	unit_file("proc/self/mountinfo", "30 1 0:44 / /home/u/\r259:1\r/ rw - fuse.x a rw\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(shows_a_hostile_mount_point)
{
	unit_file("proc/self/mountinfo", "30 1 259:1 / /media/\033]0;x\377 rw - ext4 a rw\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "/media/\\x1b]0;x\\xff (nvme0n1p1)"));
}
END_TEST

START_TEST(reads_lines_of_any_length)
{
	static char lines[20000];
	static char options[15000];

	memset(options, 'o', sizeof(options) - 1);
	snprintf(lines, sizeof(lines), "29 1 0:9 / /x %s - overlay overlay rw\n%s", options,
		 MOUNT("259:1", "/dev/nvme0n1p1"));
	unit_file("proc/self/mountinfo", lines);
	ck_assert(check(PROTECT_ALL));
}
END_TEST

/* Partition, md, LVM: three storeys. */
START_TEST(follows_holders)
{
	unit_link("sys/devices/pci0000:00/" DEV "/nvme/nvme0/nvme0n1/nvme0n1p1/holders/md0",
		  "/nowhere");
	add_block("devices/virtual/block", "md0", "9:0\n");
	unit_link(VIRTUAL "md0/holders/dm-3", "/nowhere");
	add_block("devices/virtual/block", "dm-3", "253:3\n");
	unit_file(VIRTUAL "dm-3/dm/name", "vg-root\n");
	unit_file("proc/self/mountinfo", MOUNT("253:3", "/dev/mapper/vg-root"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "dm-3"));
	unit_file("proc/self/mountinfo", "");
	unit_file("proc/swaps", "Filename Type\n/dev/mapper/vg-root partition\n");
	ck_assert(check(PROTECT_SWAP));
}
END_TEST

START_TEST(follows_nvme_multipath)
{
	add_block("devices/pci0000:00/" DEV "/nvme/nvme0", "nvme3c0n2", "0:0\n");
	add_block("devices/virtual/nvme-subsystem/nvme-subsys0", "nvme3n2", "259:7\n");
	unit_file("proc/self/mountinfo", MOUNT("259:7", "/dev/nvme3n2"));
	ck_assert(check(PROTECT_ALL));
}
END_TEST

static void add_net(void)
{
	unit_file(DEV_PATH "/net/eth7/ifindex", "2\n");
	unit_link("sys/class/net/eth7", "../../devices/pci0000:00/" DEV "/net/eth7");
	unit_link(DEV_PATH "/net/eth7/upper_bond0", "/nowhere");
	unit_link("sys/devices/virtual/net/bond0/upper_br0", "/nowhere");
	unit_link("sys/class/net/bond0", "../../devices/virtual/net/bond0");
}

START_TEST(finds_the_default_route_through_bond_and_bridge)
{
	add_net();
	unit_file("proc/self/net/route",
		  "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
		  "eth7 0000010A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
		  "br0 00000000 0100010A 0003 0 0 0 00000000 0 0 0\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "(br0)"));
	ck_assert(!check(PROTECT_ALL & ~PROTECT_DEFAULT_ROUTE));
}
END_TEST

START_TEST(finds_the_default_route_of_ipv6)
{
	add_net();
	unit_file("proc/self/net/ipv6_route",
		  "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 "
		  "00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth7\n");
	ck_assert(!check(PROTECT_ALL));
	unit_file("proc/self/net/ipv6_route",
		  "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		  "fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth7\n");
	ck_assert(check(PROTECT_ALL));
}
END_TEST

START_TEST(vfio_counts_as_use)
{
	ck_assert(protect_check(PROTECT_VFIO, "pci", DEV, "vfio-pci", text, sizeof(text)));
	ck_assert(!protect_check(PROTECT_SWAP, "pci", DEV, "vfio-pci", text, sizeof(text)));
}
END_TEST

static void add_function(int index, const char *name, const char *driver)
{
	char file[256];
	char target[256];

	snprintf(file, sizeof(file), "sys/devices/pci0000:00/%s/vendor", name);
	unit_file(file, "0x1b36\n");
	snprintf(file, sizeof(file), "sys/devices/pci0000:00/%s/driver", name);
	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	unit_link(file, target);
	snprintf(file, sizeof(file), "sys/bus/pci/devices/%s", name);
	snprintf(target, sizeof(target), "../../../devices/pci0000:00/%s", name);
	unit_link(file, target);
	snprintf(file, sizeof(file), DEV_PATH "/virtfn%d", index);
	snprintf(target, sizeof(target), "../%s", name);
	unit_link(file, target);
}

START_TEST(a_guest_on_a_virtual_function_counts)
{
	add_function(0, "0000:01:00.1", "nvme");
	ck_assert(!check(PROTECT_ALL));
	add_function(1, "0000:01:00.2", "vfio-pci");
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "0000:01:00.2: it is bound to vfio-pci"));
	ck_assert(!check(PROTECT_ALL & ~PROTECT_VFIO));
}
END_TEST

START_TEST(a_mount_on_a_virtual_function_counts)
{
	add_function(0, "0000:01:00.1", "nvme");
	add_block("devices/pci0000:00/0000:01:00.1/nvme/nvme5", "nvme5n1", "259:9\n");
	ck_assert(!check(PROTECT_ALL));
	unit_file("proc/self/mountinfo", MOUNT("259:9", "/dev/nvme5n1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "/srv (nvme5n1)"));
}
END_TEST

START_TEST(a_virtual_function_that_cannot_be_seen_counts)
{
	unit_link(DEV_PATH "/virtfn0", "../0000:01:00.1");
	ck_assert(check(PROTECT_ALL));
}
END_TEST

START_TEST(what_cannot_be_seen_is_protected)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", unit_host_root());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert(check(PROTECT_ALL));
	ck_assert_ptr_nonnull(strstr(text, "cannot tell"));
	ck_assert(protect_check(PROTECT_ALL, "pci", "0000:77:00.0", "nvme", text, sizeof(text)));
}
END_TEST

Suite *protect_suite(void)
{
	Suite *suite = suite_create("protect");
	TCase *c = tcase_create("protect");

	tcase_add_checked_fixture(c, setup, unit_host_teardown);
	tcase_add_test(c, nothing_is_in_use);
	tcase_add_test(c, finds_a_mounted_partition);
	tcase_add_test(c, finds_a_mount_by_its_source);
	tcase_add_test(c, believes_no_source_of_fuse);
	tcase_add_test(c, shows_a_hostile_mount_point);
	tcase_add_test(c, reads_lines_of_any_length);
	tcase_add_test(c, follows_holders);
	tcase_add_test(c, follows_nvme_multipath);
	tcase_add_test(c, finds_the_default_route_through_bond_and_bridge);
	tcase_add_test(c, finds_the_default_route_of_ipv6);
	tcase_add_test(c, vfio_counts_as_use);
	tcase_add_test(c, a_guest_on_a_virtual_function_counts);
	tcase_add_test(c, a_mount_on_a_virtual_function_counts);
	tcase_add_test(c, a_virtual_function_that_cannot_be_seen_counts);
	tcase_add_test(c, what_cannot_be_seen_is_protected);
	suite_add_tcase(suite, c);
	return suite;
}
