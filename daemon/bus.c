// SPDX-License-Identifier: GPL-2.0-or-later
#include "bus.h"

#include "util.h"

int bus_start(struct manager *m _unused_)
{
	return 0;
}

void bus_stop(struct manager *m _unused_)
{
}

void bus_device_changed(struct device *d _unused_)
{
}

void bus_device_removed(struct device *d _unused_)
{
}

void bus_manager_changed(struct manager *m _unused_)
{
}
