// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose things depend on a device: disks, mounts and guests. Routes are in test-protect-net.c. */
#include "protect.h"
#include "unit.h"

#define DEV	   "0000:01:00.0"
#define PORT	   "devices/pci0000:00/0000:00:01.0"
#define DEV_PATH   PORT "/" DEV
#define NVME	   DEV_PATH "/nvme/nvme0"
#define VIRTUAL	   "devices/virtual/block"
#define OTHER_DISK PORT "/0000:02:00.0/virtio0/block"
/* How mountinfo and swaps look. */
#define MOUNT_OF(t, n, s) "30 1 " n " / /srv rw,relatime shared:1 - " t " " s " rw\n"
#define MOUNT(n, s)	  MOUNT_OF("ext4", n, s)
#define SWAPS		  "Filename\tType\tSize\tUsed\tPriority\n"

static char text[256];

static bool says(const char *part)
{
	return strstr(text, part) != NULL;
}

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

static void add_holder(const char *path, const char *holder)
{
	char file[256];

	snprintf(file, sizeof(file), "sys/%s/holders/%s", path, holder);
	unit_link(file, "/nowhere");
}

/* A PCI function below the port, and what it is bound to; "" for nothing. */
static void add_pci(const char *name, const char *driver)
{
	char file[256];
	char target[256];

	snprintf(file, sizeof(file), "sys/" PORT "/%s/vendor", name);
	unit_file(file, "0x1b36\n");
	snprintf(file, sizeof(file), "sys/bus/pci/devices/%s", name);
	snprintf(target, sizeof(target), "../../../" PORT "/%s", name);
	unit_link(file, target);
	if (driver[0] == '\0')
		return;
	snprintf(file, sizeof(file), "sys/" PORT "/%s/driver", name);
	snprintf(target, sizeof(target), "../../../../bus/pci/drivers/%s", driver);
	unit_link(file, target);
}

static void add_function(int index, const char *name, const char *driver)
{
	char file[256];
	char target[256];

	add_pci(name, driver);
	snprintf(file, sizeof(file), "sys/" DEV_PATH "/virtfn%d", index);
	snprintf(target, sizeof(target), "../%s", name);
	unit_link(file, target);
}

static void setup(void)
{
	unit_host_setup();
	add_pci(DEV, "");
	unit_file("proc/self/mountinfo", "");
	add_block(NVME, "nvme0n1", "259:0\n");
	add_block(NVME "/nvme0n1", "nvme0n1p1", "259:1\n");
	/* Another disk, for what must not be found. */
	add_block(OTHER_DISK, "vda", "254:0\n");
}

static void mounted(const char *lines)
{
	unit_file("proc/self/mountinfo", lines);
}

static bool check(unsigned int mask)
{
	return protect_check(mask, "pci", DEV, "megaraid_sas", text, sizeof(text));
}

START_TEST(nothing_is_in_use)
{
	mounted(MOUNT("254:0", "/dev/vda"));
	unit_file("proc/swaps", SWAPS "/dev/vda partition\n");
	ck_assert(!check(PROTECT_ALL));
	ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(finds_the_log_of_an_xfs)
{
	mounted("30 1 254:0 / /srv rw - xfs /dev/vda rw,noquota,logdev=/dev/nvme0n1p1\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme0n1p1)");
	mounted("30 1 254:0 / /srv rw - xfs /dev/vda rw,rtdev=/dev/nvme0n1,inode64\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme0n1)");
	/* Others', and what only looks like it. */
	mounted("30 1 254:0 / /srv rw - xfs /dev/vda rw,logdev=/dev/vda\n"
		"31 1 254:0 / /home rw - xfs /dev/vda rw,xlogdev=/dev/nvme0n1p1\n"
		"32 1 0:77 / /mnt rw - fuse x rw,logdev=/dev/nvme0n1p1\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(finds_a_mounted_partition)
{
	mounted(MOUNT("259:1", "/dev/nvme0n1p1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme0n1p1)");
	ck_assert(!check(PROTECT_ALL & ~PROTECT_MOUNTED));
	ck_assert(!check(0));
}
END_TEST

/* btrfs has device numbers of its own. */
START_TEST(finds_a_mount_by_its_source)
{
	mounted(MOUNT_OF("btrfs", "0:44", "/dev/nvme0n1p1"));
	ck_assert(check(PROTECT_ALL));
	mounted(MOUNT_OF("bcachefs", "0:44", "/dev/sda:/dev/nvme0n1p1:/dev/sdb"));
	ck_assert(check(PROTECT_ALL));
	mounted(MOUNT_OF("bcachefs", "0:44", "/dev/sda:/dev/sdb"));
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

/* Whoever mounts it chooses its source, and could keep a device from being recovered. */
START_TEST(believes_no_source_of_fuse)
{
	mounted(MOUNT_OF("fuse.x", "0:44", "/dev/nvme0n1p1"));
	ck_assert(!check(PROTECT_ALL));
	mounted(MOUNT_OF("ext4", "8:1", "/dev/nvme0n1p1"));
	ck_assert(!check(PROTECT_ALL));
	/* White space that the kernel leaves alone. */
	mounted("30 1 0:44 / /home/u/\r259:1\r/ rw - fuse.x a rw\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(shows_a_hostile_mount_point)
{
	mounted("30 1 259:1 / /media/\033]0;x\377 rw - ext4 a rw\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("/media/\\x1b]0;x\\xff (nvme0n1p1)"));
	mounted("30 1 259:1 / /media/my\\040disk rw - ext4 a rw\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("/media/my disk (nvme0n1p1)"));
}
END_TEST

START_TEST(reads_lines_of_any_length)
{
	static char lines[20000];
	static char options[15000];

	memset(options, 'o', sizeof(options) - 1);
	snprintf(lines, sizeof(lines), "29 1 0:9 / /x %s - overlay overlay rw\n%s", options,
		 MOUNT("259:1", "/dev/nvme0n1p1"));
	mounted(lines);
	ck_assert(check(PROTECT_ALL));
}
END_TEST

/* A container may have it in fifty places; another filesystem is another loss. */
START_TEST(names_a_filesystem_once)
{
	mounted(MOUNT("259:1", "a") "31 1 259:1 /x /var/x rw - ext4 a rw\n"
				    "32 1 259:0 / /home rw - xfs b rw\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme0n1p1), filesystem /home (nvme0n1)");
}
END_TEST

START_TEST(counts_what_it_does_not_name)
{
	static char lines[4096];
	size_t used = 0;

	for (int i = 0; i < 30; i++) {
		char name[32];
		char number[32];

		snprintf(name, sizeof(name), "nvme0n%d", i + 2);
		snprintf(number, sizeof(number), "259:%d\n", i + 2);
		add_block(NVME, name, number);
		used += (size_t)snprintf(lines + used, sizeof(lines) - used,
					 "30 1 259:%d / /disk/%d rw - ext4 a rw\n", i + 2, i);
	}
	mounted(lines);
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("/disk/3 (nvme0n5), and 26 more"));
	/* However little room there is. */
	for (size_t size = 40; size < 200; size++) {
		memset(text, 'x', sizeof(text));
		ck_assert(protect_check(PROTECT_ALL, "pci", DEV, "nvme", text, size));
		ck_assert_uint_lt(strlen(text), size);
		ck_assert(says(" more"));
	}
}
END_TEST

/* Partition, md, LVM: three storeys. */
START_TEST(follows_holders)
{
	add_holder(NVME "/nvme0n1/nvme0n1p1", "md0");
	add_block(VIRTUAL, "md0", "9:0\n");
	add_holder(VIRTUAL "/md0", "dm-3");
	add_block(VIRTUAL, "dm-3", "253:3\n");
	unit_file("sys/" VIRTUAL "/dm-3/dm/name", "vg-root\n");
	mounted(MOUNT("253:3", "/dev/mapper/vg-root"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (dm-3)");
	mounted("");
	unit_file("proc/swaps", SWAPS "/dev/mapper/vg-root partition\n");
	ck_assert(check(PROTECT_SWAP));
	ck_assert_str_eq(text, "in use by swap /dev/mapper/vg-root");
	ck_assert(!check(PROTECT_MOUNTED));
}
END_TEST

/* kpartx, or an array of whole disks: what is stacked has partitions of its own. */
START_TEST(follows_partitions_of_what_is_stacked)
{
	add_holder(NVME "/nvme0n1", "md0");
	add_block(VIRTUAL, "md0", "9:0\n");
	add_block(VIRTUAL "/md0", "md0p1", "259:77\n");
	mounted(MOUNT("259:77", "/dev/md0p1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (md0p1)");
}
END_TEST

START_TEST(survives_circles)
{
	add_holder(NVME "/nvme0n1", "dm-1");
	add_block(VIRTUAL, "dm-1", "253:1\n");
	add_block(VIRTUAL, "dm-2", "253:2\n");
	add_holder(VIRTUAL "/dm-1", "dm-2");
	add_holder(VIRTUAL "/dm-2", "dm-1");
	add_holder(VIRTUAL "/dm-2", "dm-2");
	ck_assert(!check(PROTECT_ALL));
	mounted(MOUNT("253:2", "/dev/dm-2"));
	ck_assert(check(PROTECT_ALL));
}
END_TEST

START_TEST(follows_nvme_multipath)
{
	add_block(NVME, "nvme3c0n2", "0:0\n");
	add_block("devices/virtual/nvme-subsystem/nvme-subsys0", "nvme3n2", "259:7\n");
	mounted(MOUNT("259:7", "/dev/nvme3n2"));
	ck_assert(check(PROTECT_ALL));
}
END_TEST

/* A host bus adapter's disks are far below it. */
START_TEST(finds_what_sits_deep_below)
{
	add_block(DEV_PATH "/host0/rport-0:0-1/target0:0:1/0:0:1:7/block", "sdq", "65:0\n");
	mounted(MOUNT("65:0", "/dev/sdq"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (sdq)");
}
END_TEST

/* "0000:01:00.0" is no part of "0000:01:00.01". */
START_TEST(a_longer_name_is_another_device)
{
	add_block(DEV_PATH "1/block", "sdz", "65:1\n");
	mounted(MOUNT("65:1", "/dev/sdz"));
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(follows_loop_devices)
{
	add_block(VIRTUAL, "loop0", "7:0\n");
	unit_file("sys/" VIRTUAL "/loop0/loop/backing_file", "/dev/nvme0n1\n");
	add_block(VIRTUAL, "loop1", "7:1\n");
	unit_file("sys/" VIRTUAL "/loop1/loop/backing_file", "/mnt/image\n");
	add_block(VIRTUAL, "loop2", "7:2\n");
	unit_file("sys/" VIRTUAL "/loop2/loop/backing_file", "/mnt2/image\n");
	mounted("29 1 254:0 / / rw - ext4 a rw\n"
		"30 1 7:0 / /mnt rw - ext4 a rw\n"
		"31 1 7:1 / /a rw - ext4 a rw\n"
		"32 1 7:2 / /b rw - ext4 a rw\n");
	ck_assert(check(PROTECT_MOUNTED));
	/* A file on a file on the disk, but not one beside it. */
	ck_assert_str_eq(text, "in use by filesystem /mnt (loop0), filesystem /a (loop1)");
}
END_TEST

START_TEST(follows_zram_to_where_it_writes_back)
{
	add_block(VIRTUAL, "zram0", "252:0\n");
	unit_file("sys/" VIRTUAL "/zram0/backing_dev", "none\n");
	unit_file("proc/swaps", SWAPS "/dev/zram0 partition\n");
	ck_assert(!check(PROTECT_ALL));
	unit_file("sys/" VIRTUAL "/zram0/backing_dev", "/dev/nvme0n1p1\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by swap /dev/zram0");
}
END_TEST

/* The last mount that covers the file is the one that it is on. */
START_TEST(finds_a_swap_file)
{
	unit_file("proc/swaps", SWAPS "/var/my\\040swap file\n");
	mounted("29 1 254:0 / / rw - ext4 a rw\n30 1 259:1 / /var rw - ext4 a rw\n");
	ck_assert(check(PROTECT_SWAP));
	ck_assert_str_eq(text, "in use by swap /var/my swap");
	mounted("29 1 259:1 / / rw - ext4 a rw\n30 1 254:0 / /var rw - ext4 a rw\n");
	ck_assert(!check(PROTECT_SWAP));
	mounted("29 1 254:0 / / rw - ext4 a rw\n30 1 259:1 / /va rw - ext4 a rw\n");
	ck_assert(!check(PROTECT_SWAP));
	mounted("29 1 259:1 / /var rw - ext4 a rw\n30 1 254:0 / /var rw - ext4 a rw\n");
	ck_assert(!check(PROTECT_SWAP));
	mounted("29 1 259:1 / / rw - ext4 a rw\n");
	ck_assert(check(PROTECT_SWAP));
}
END_TEST

/* mountinfo names one disk of a btrfs, sysfs all of them. */
START_TEST(finds_every_disk_of_a_btrfs)
{
	unit_link("sys/fs/btrfs/8b1b/devices/vda", "/nowhere");
	unit_link("sys/fs/btrfs/8b1b/devices/nvme0n1", "/nowhere");
	unit_file("sys/fs/btrfs/features/raid56", "0\n");
	mounted(MOUNT_OF("btrfs", "0:44", "/dev/vda") "31 1 0:44 /x /x rw - btrfs /dev/vda rw\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (vda)");
	/* Mounted where we cannot see it. */
	mounted("");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by btrfs 8b1b, mounted in another namespace");
}
END_TEST

START_TEST(a_btrfs_on_other_disks_is_nothing_to_us)
{
	unit_link("sys/fs/btrfs/8b1b/devices/vda", "/nowhere");
	mounted(MOUNT_OF("btrfs", "0:44", "/dev/vda"));
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(sees_what_other_namespaces_have_mounted)
{
	unit_file("sys/fs/xfs/vda/error/x", "");
	ck_assert(!check(PROTECT_ALL));
	unit_file("sys/fs/ext4/nvme0n1p1/errors_count", "0\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by ext4 on nvme0n1p1, mounted in another namespace");
	/* Ours is told of once. */
	mounted(MOUNT("259:1", "/dev/nvme0n1p1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme0n1p1)");
}
END_TEST

START_TEST(finds_imported_zfs_pools)
{
	unit_file("udev/b259:1", "S:x\nE:ID_FS_LABEL=tank\nE:ID_FS_TYPE=zfs_member\n");
	ck_assert(!check(PROTECT_ALL));
	unit_file("proc/spl/kstat/zfs/tank/state", "ONLINE\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by ZFS pool tank (nvme0n1p1)");
	/* Another filesystem of that name. */
	unit_file("udev/b259:1", "E:ID_FS_LABEL=tank\nE:ID_FS_TYPE=ext4\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

static void enable(const char *name, const char *count)
{
	char file[256];

	snprintf(file, sizeof(file), "sys/" PORT "/%s/enable", name);
	unit_file(file, count);
}

START_TEST(finds_open_vfio_devices)
{
	unit_link("sys/" DEV_PATH "/driver", "../../../../bus/pci/drivers/vfio-pci");
	/* What cannot be told counts. */
	ck_assert(check(PROTECT_ALL));
	enable(DEV, "1\n");
	ck_assert(check(PROTECT_VFIO));
	ck_assert_str_eq(text,
			 "in use by a guest, or who else has 0000:01:00.0 open through vfio-pci");
	ck_assert(!check(PROTECT_ALL & ~PROTECT_VFIO));
	enable(DEV, "0\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(other_drivers_enable_devices_too)
{
	unit_link("sys/" DEV_PATH "/driver", "../../../../bus/pci/drivers/nvme");
	enable(DEV, "1\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(finds_mediated_devices)
{
	unit_link("sys/bus/mdev/devices/4e91", "../../../" DEV_PATH "/4e91");
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by mediated device 4e91");
}
END_TEST

START_TEST(a_guest_on_a_virtual_function_counts)
{
	add_function(0, "0000:01:00.1", "nvme");
	ck_assert(!check(PROTECT_ALL));
	add_function(1, "0000:01:00.2", "vfio-pci");
	enable("0000:01:00.2", "1\n");
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("0000:01:00.2"));
	ck_assert(!check(PROTECT_ALL & ~PROTECT_VFIO));
	enable("0000:01:00.2", "0\n");
	ck_assert(!check(PROTECT_ALL));
}
END_TEST

START_TEST(a_mount_on_a_virtual_function_counts)
{
	add_function(0, "0000:01:00.1", "nvme");
	add_block(PORT "/0000:01:00.1/nvme/nvme5", "nvme5n1", "259:9\n");
	ck_assert(!check(PROTECT_ALL));
	mounted(MOUNT("259:9", "/dev/nvme5n1"));
	ck_assert(check(PROTECT_ALL));
	ck_assert_str_eq(text, "in use by filesystem /srv (nvme5n1)");
}
END_TEST

START_TEST(a_virtual_function_that_cannot_be_seen_counts)
{
	unit_link("sys/" DEV_PATH "/virtfn0", "../0000:01:00.1");
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("cannot tell"));
}
END_TEST

/* A driver that is bound takes care of its own, but not of virtual functions. */
START_TEST(a_reset_takes_only_virtual_functions)
{
	mounted(MOUNT("259:1", "/dev/nvme0n1p1"));
	ck_assert(!protect_check_reset(PROTECT_ALL, "pci", DEV, text, sizeof(text)));
	add_function(0, "0000:01:00.1", "vfio-pci");
	enable("0000:01:00.1", "0\n");
	ck_assert(!protect_check_reset(PROTECT_ALL, "pci", DEV, text, sizeof(text)));
	enable("0000:01:00.1", "2\n");
	ck_assert(protect_check_reset(PROTECT_ALL, "pci", DEV, text, sizeof(text)));
	ck_assert(!protect_check_reset(0, "pci", DEV, text, sizeof(text)));
}
END_TEST

START_TEST(says_when_a_reset_in_place_would_do)
{
	mounted(MOUNT("259:1", "/dev/nvme0n1p1"));
	ck_assert(protect_check(PROTECT_ALL, "pci", DEV, "nvme", text, sizeof(text)));
	ck_assert_str_eq(text,
			 "in use by filesystem /srv (nvme0n1p1); steps \"reset\", \"verify\" would "
			 "keep it");
	ck_assert(protect_check(PROTECT_ALL, "pci", DEV, "virtio-pci", text, sizeof(text)));
	ck_assert(!says("reset"));
	unit_file("sys/" DEV_PATH "/class", "0x010000\n");
	ck_assert(protect_check(PROTECT_ALL, "pci", DEV, "virtio-pci", text, sizeof(text)));
	ck_assert(says("reset"));
	/* Not while guests have its virtual functions. */
	add_function(0, "0000:01:00.1", "vfio-pci");
	ck_assert(protect_check(PROTECT_ALL, "pci", DEV, "nvme", text, sizeof(text)));
	ck_assert(!says("reset"));
}
END_TEST

/* A bridge, or a switch in a slot: all that is below it. */
START_TEST(a_bridge_is_all_that_is_below_it)
{
	unit_link("sys/bus/pci/devices/0000:00:01.0", "../../../" PORT);
	ck_assert(!protect_check(PROTECT_ALL, "pci", "0000:00:01.0", "", text, sizeof(text)));
	add_pci("0000:01:00.1", "vfio-pci");
	ck_assert(!check(PROTECT_ALL));
	mounted(MOUNT("254:0", "/dev/vda"));
	ck_assert(protect_check(PROTECT_ALL, "pci", "0000:00:01.0", "", text, sizeof(text)));
	ck_assert_str_eq(text, "in use by filesystem /srv (vda), a guest, or who else has "
			       "0000:01:00.1 open through vfio-pci");
}
END_TEST

START_TEST(what_cannot_be_seen_is_protected)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", unit_host_root());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert(check(PROTECT_ALL));
	ck_assert(says("cannot tell"));
	ck_assert(protect_check(PROTECT_ALL, "pci", "0000:77:00.0", "nvme", text, sizeof(text)));
	ck_assert(says("cannot tell"));
}
END_TEST

Suite *protect_suite(void)
{
	Suite *suite = suite_create("protect");
	TCase *c = tcase_create("protect");

	tcase_add_checked_fixture(c, setup, unit_host_teardown);
	tcase_add_test(c, nothing_is_in_use);
	tcase_add_test(c, finds_a_mounted_partition);
	tcase_add_test(c, finds_the_log_of_an_xfs);
	tcase_add_test(c, finds_a_mount_by_its_source);
	tcase_add_test(c, believes_no_source_of_fuse);
	tcase_add_test(c, shows_a_hostile_mount_point);
	tcase_add_test(c, reads_lines_of_any_length);
	tcase_add_test(c, names_a_filesystem_once);
	tcase_add_test(c, counts_what_it_does_not_name);
	tcase_add_test(c, follows_holders);
	tcase_add_test(c, follows_partitions_of_what_is_stacked);
	tcase_add_test(c, survives_circles);
	tcase_add_test(c, follows_nvme_multipath);
	tcase_add_test(c, finds_what_sits_deep_below);
	tcase_add_test(c, a_longer_name_is_another_device);
	tcase_add_test(c, follows_loop_devices);
	tcase_add_test(c, follows_zram_to_where_it_writes_back);
	tcase_add_test(c, finds_a_swap_file);
	tcase_add_test(c, finds_every_disk_of_a_btrfs);
	tcase_add_test(c, a_btrfs_on_other_disks_is_nothing_to_us);
	tcase_add_test(c, sees_what_other_namespaces_have_mounted);
	tcase_add_test(c, finds_imported_zfs_pools);
	tcase_add_test(c, finds_open_vfio_devices);
	tcase_add_test(c, other_drivers_enable_devices_too);
	tcase_add_test(c, finds_mediated_devices);
	tcase_add_test(c, a_guest_on_a_virtual_function_counts);
	tcase_add_test(c, a_mount_on_a_virtual_function_counts);
	tcase_add_test(c, a_virtual_function_that_cannot_be_seen_counts);
	tcase_add_test(c, a_reset_takes_only_virtual_functions);
	tcase_add_test(c, says_when_a_reset_in_place_would_do);
	tcase_add_test(c, a_bridge_is_all_that_is_below_it);
	tcase_add_test(c, what_cannot_be_seen_is_protected);
	suite_add_tcase(suite, c);
	return suite;
}
