/* SPDX-License-Identifier: GPL-2.0-or-later */
/* host_route_dump() of the unit and of the integration tests: the kernel's answer is a file. */
#ifndef SMMU_RAS_FAKE_ROUTES_H
#define SMMU_RAS_FAKE_ROUTES_H

#include <linux/netlink.h>
#include <stdio.h>

#include "host.h"

static int fake_route_dump(unsigned char family,
			   int (*handler)(const void *data, size_t size, void *userdata),
			   void *userdata)
{
	_Alignas(struct nlmsghdr) char answer[16384];
	char path[300];
	size_t n;
	FILE *f;
	int r;

	/* The bytes that the kernel would send. */
	snprintf(path, sizeof(path), "%s/routes%u", host_dir(HOST_PROC), family);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(answer, 1, sizeof(answer), f);
	fclose(f);
	r = handler(answer, n, userdata);
	return r == 1 ? 0 : r;
}

#endif
