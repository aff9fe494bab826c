// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "pci-name.h"
#include "unit.h"

static const struct {
	const char *text;
	const char *name; /* NULL: not accepted */
} names[] = {
	{"01:00.0", "0000:01:00.0"},
	{"1:0.0", "0000:01:00.0"},
	{"0000:01:00.0", "0000:01:00.0"},
	{"0001:AF:1f.7", "0001:af:1f.7"},
	{"10000:e1:00.0", "10000:e1:00.0"},
	{"/sys/bus/pci/devices/0000:01:00.0", "0000:01:00.0"},
	{"/sys/bus/pci/devices/0000:01:00.0/", "0000:01:00.0"},
	{"/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0///", "0000:01:00.0"},
	{"", NULL},
	{"/", NULL},
	{"01:00", NULL},
	{"01:00.8", NULL},
	{"01:20.0", NULL},
	{"100:00.0", NULL},
	{"0000:001:00.0", NULL},
	{"01:00.0 ", NULL},
	{"01:00.0x", NULL},
	{"01:00.00", NULL},
	{"g1:00.0", NULL},
	{"123456789:01:00.0", NULL},
	{"eth0", NULL},
	{"/sys/bus/pci/devices/0000:01:00.0/driver", NULL},
	{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 NULL},
};

START_TEST(parses)
{
	struct pci_address address = {0};
	char buf[PCI_NAME_SIZE];
	int r = pci_address_parse(names[_i].text, &address);

	if (!names[_i].name) {
		ck_assert_int_eq(r, -EINVAL);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(pci_address_format(&address, buf), names[_i].name);
}
END_TEST

Suite *pci_name_suite(void)
{
	Suite *suite = suite_create("pci-name");
	TCase *c = tcase_create("pci-name");

	tcase_add_loop_test(c, parses, 0, ARRAY_SIZE(names));
	suite_add_tcase(suite, c);
	return suite;
}
