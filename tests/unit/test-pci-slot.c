// SPDX-License-Identifier: GPL-2.0-or-later
#include "pci-slot.h"

#include <errno.h>

#include "device.h"
#include "host.h"
#include "policy.h"
#include "unit.h"

/* A device as sysfs has it: below its parents, and with a link in bus/pci/devices. */
static void device(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char buf[256];

	snprintf(buf, sizeof(buf), "sys/devices/%s/vendor", path);
	unit_file(buf, "0x8086\n");
	snprintf(buf, sizeof(buf), "sys/devices/%s/device", path);
	unit_file(buf, "0x0d57\n");
	snprintf(buf, sizeof(buf), "sys/devices/%s/class", path);
	unit_file(buf, "0x010802\n");
	snprintf(buf, sizeof(buf), "sys/bus/pci/devices/%s", name);
	char target[256];
	snprintf(target, sizeof(target), "../../../devices/%s", path);
	unit_link(buf, target);
}

static void slot(const char *name, const char *address, bool power)
{
	char path[256];

	snprintf(path, sizeof(path), "sys/bus/pci/slots/%s/address", name);
	unit_file(path, address);
	snprintf(path, sizeof(path), "sys/bus/pci/slots/%s/power", name);
	if (power)
		unit_file(path, "1\n");
}

static void setup(void)
{
	unit_host_setup();
	device("pci0000:00/0000:00:01.0");
	device("pci0000:00/0000:00:01.0/0000:01:00.0");
	device("pci0000:00/0000:00:01.0/0000:01:00.1");
	device("pci0000:00/0000:00:01.0/0000:01:10.0"); /* with ARI, or a virtual function */
	device("pci0000:00/0000:00:02.0");
	device("pci0000:00/0000:00:02.0/0000:02:00.0"); /* a switch in a slot ... */
	device("pci0000:00/0000:00:02.0/0000:02:00.0/0000:03:01.0");
	device("pci0000:00/0000:00:02.0/0000:02:00.0/0000:03:01.0/0000:04:00.0"); /* ... slots in it
										   */
	device("pci0001:00/0001:00:03.0");					  /* soldered */
	slot("12", "0000:01:00\n", true);
	slot("backplane", "0000:02:00\n", true);
	slot("bay 3", "0000:04\n", false);
	slot("odd", "nonsense\n", true);
}

static void found(const char *dev, bool power, const char *expected)
{
	char name[64];
	int r = pci_slot_find("pci", dev, power, name, sizeof(name));

	ck_assert_int_eq(r, expected[0] ? 0 : -ENOENT);
	ck_assert_str_eq(name, expected);
}

START_TEST(finds_the_nearest_slot)
{
	found("0000:01:00.0", false, "12");
	found("0000:01:00.1", false, "12");
	found("0000:01:10.0", true, "12");
	found("0000:02:00.0", false, "backplane");
	found("0000:03:01.0", false, "backplane");
	found("0000:04:00.0", false, "bay 3");
	/* What is in a slot without a switch loses its power with the one above. */
	found("0000:04:00.0", true, "backplane");
	found("0001:00:03.0", false, "");
	found("0000:00:01.0", false, "");
	found("0000:77:00.0", false, "");
}
END_TEST

/* Slots of conventional buses are of one device each. */
START_TEST(slots_of_a_root_bus_have_one_device)
{
	slot("1", "0001:00:00\n", true);
	found("0001:00:03.0", false, "");
	slot("3", "0001:00:03\n", true);
	found("0001:00:03.0", false, "3");
}
END_TEST

START_TEST(an_exact_slot_goes_before_one_of_the_whole_bus)
{
	slot("0", "0000:01:10\n", true);
	slot("99", "0000:01:00\n", true);
	found("0000:01:10.0", true, "0");
}
END_TEST

static void remember_slot(const char *name, void *userdata)
{
	char *seen = userdata;

	snprintf(seen + strlen(seen), 256 - strlen(seen), " %s", name);
}

START_TEST(finds_all_slots_that_can_be_switched_off)
{
	char seen[256] = "";

	slot("bay 4", "0000:04:00\n", true);
	ck_assert_int_eq(pci_slot_powers("pci", "0000:04:00.0", remember_slot, seen), 0);
	ck_assert_str_eq(seen, " bay 4 backplane");
	seen[0] = '\0';
	ck_assert_int_eq(pci_slot_powers("pci", "0000:00:01.0", remember_slot, seen), 0);
	ck_assert_str_eq(seen, "");
	ck_assert_int_eq(pci_slot_powers("pci", "0000:77:00.0", remember_slot, seen), -ENOENT);
}
END_TEST

static bool remember(const char *dev, void *userdata)
{
	char *seen = userdata;

	snprintf(seen + strlen(seen), 256 - strlen(seen), " %s", dev);
	return !strstr(dev, "stop");
}

START_TEST(lists_what_loses_its_power)
{
	char seen[256] = "";

	ck_assert_int_eq(pci_slot_devices("backplane", remember, seen), 0);
	ck_assert_uint_eq(strlen(seen), 3 * strlen(" 0000:02:00.0"));
	ck_assert_ptr_nonnull(strstr(seen, "0000:02:00.0"));
	ck_assert_ptr_nonnull(strstr(seen, "0000:03:01.0"));
	ck_assert_ptr_nonnull(strstr(seen, "0000:04:00.0"));
	ck_assert_int_eq(pci_slot_devices("none", remember, seen), -ENOENT);
}
END_TEST

/* Are they recovered in turns, both ways round? */
static bool related(const char *one, const char *other)
{
	struct device a = {.record.bus = "pci"};
	struct device b = {.record.bus = "pci"};

	str_copy(a.record.dev, sizeof(a.record.dev), one);
	str_copy(b.record.dev, sizeof(b.record.dev), other);
	device_find_keys(&a);
	device_find_keys(&b);
	ck_assert_int_eq(devices_related(&a, &b), devices_related(&b, &a));
	return devices_related(&a, &b);
}

START_TEST(devices_in_nested_slots_take_turns)
{
	char path[256];

	device("pci0000:00/0000:00:02.0/0000:02:00.0/0000:03:02.0");
	device("pci0000:00/0000:00:02.0/0000:02:00.0/0000:03:02.0/0000:05:00.0");
	slot("bay 4", "0000:05\n", true);
	/* The backplane takes both bays with it, whether they have switches of their own or not. */
	ck_assert(related("0000:02:00.0", "0000:04:00.0"));
	ck_assert(related("0000:02:00.0", "0000:05:00.0"));
	ck_assert(related("0000:04:00.0", "0000:05:00.0"));
	/* Functions of one card; another card in another slot; what is in no slot. */
	ck_assert(related("0000:01:00.0", "0000:01:10.0"));
	ck_assert(!related("0000:01:00.0", "0000:05:00.0"));
	ck_assert(!related("0000:05:00.0", "0001:00:03.0"));
	ck_assert(!related("0000:00:01.0", "0000:00:02.0"));
	/* Without the switch of the backplane each bay is for itself. */
	snprintf(path, sizeof(path), "%s/bus/pci/slots/backplane/power", host_dir(HOST_SYS));
	ck_assert_int_eq(unlink(path), 0);
	ck_assert(!related("0000:04:00.0", "0000:05:00.0"));
	ck_assert(!related("0000:02:00.0", "0000:05:00.0"));
}
END_TEST

START_TEST(a_subject_is_what_sysfs_says)
{
	struct device_subject s;

	device_subject_fill(&s, "pci", "0000:04:00.0", NULL, "smmu3.0x9050000",
			    IOMMU_RAS_REASON_ATC_TIMEOUT);
	ck_assert_str_eq(s.match.values[MATCH_ADDRESS], "0000:04:00.0");
	ck_assert_str_eq(s.match.values[MATCH_VENDOR], "8086");
	ck_assert_str_eq(s.match.values[MATCH_DEVICE], "0d57");
	ck_assert_str_eq(s.match.values[MATCH_CLASS], "010802");
	ck_assert_str_eq(s.match.values[MATCH_DRIVER], "");
	ck_assert_str_eq(s.match.values[MATCH_IOMMU], "smmu3.0x9050000");
	ck_assert_str_eq(s.match.values[MATCH_REASON], "atc-timeout");
	ck_assert_str_eq(s.match.values[MATCH_SLOT], "bay 3");
	unit_link("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver", "../../drivers/nvme");
	device_subject_fill(&s, "pci", "0000:01:00.0", NULL, NULL, 0);
	ck_assert_str_eq(s.match.values[MATCH_DRIVER], "nvme");
	/* It was unbound by us, and still is the driver of the device. */
	device_subject_fill(&s, "pci", "0000:02:00.0", "mlx5_core", NULL, 0);
	ck_assert_str_eq(s.match.values[MATCH_DRIVER], "mlx5_core");
}
END_TEST

Suite *pci_slot_suite(void)
{
	Suite *suite = suite_create("pci-slot");
	TCase *c = tcase_create("slots");

	tcase_add_checked_fixture(c, setup, unit_host_teardown);
	tcase_add_test(c, finds_the_nearest_slot);
	tcase_add_test(c, slots_of_a_root_bus_have_one_device);
	tcase_add_test(c, an_exact_slot_goes_before_one_of_the_whole_bus);
	tcase_add_test(c, lists_what_loses_its_power);
	tcase_add_test(c, finds_all_slots_that_can_be_switched_off);
	tcase_add_test(c, devices_in_nested_slots_take_turns);
	tcase_add_test(c, a_subject_is_what_sysfs_says);
	suite_add_tcase(suite, c);
	return suite;
}
