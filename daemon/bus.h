/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The D-Bus face of the daemon, org.smmuras1. The engine tells it what changed and never waits for
 * it: none of these may fail, block, or change a device.
 */
#ifndef SMMU_RAS_BUS_H
#define SMMU_RAS_BUS_H

struct device;
struct manager;

/*
 * Offers the daemon on the system bus. Returns 0 also while there is no bus: the daemon works
 * without one. -errno when the event loop cannot watch it.
 */
int bus_start(struct manager *m);
void bus_stop(struct manager *m);

/* Something about the device changed that people can see; called often, also for no difference. */
void bus_device_changed(struct device *d);
/* The device is about to be freed. */
void bus_device_removed(struct device *d);
/* The policy, the kernel's support or the number of devices in a state changed. */
void bus_manager_changed(struct manager *m);

#endif
