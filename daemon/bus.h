/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * org.smmuras1 on the system bus, for programs and for smmu-rasctl (smmu-rasd(8)).
 *
 * bus.c connects, and tells what changed; bus-manager.c and bus-device.c are the objects;
 * bus-auth.c asks who may change anything. The daemon works the same without a bus: it may start
 * before there is one, lose it, or have one that does not read.
 */
#ifndef SMMU_RAS_BUS_H
#define SMMU_RAS_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct device;
struct manager;

/* One for each property of org.smmuras1.Device that can change. */
#define BUS_DEVICE_PROPERTIES 18

/* What the bus keeps about a device; a part of struct device. */
struct bus_view {
	bool announced; /* the others on the bus know of the object */
	bool dirty;	/* in the list of those to look at */
	TAILQ_ENTRY(device) link;
	uint64_t prints[BUS_DEVICE_PROPERTIES]; /* of the values that were told last */
	uint64_t fence_time;	      /* of the kernel, ns; and the same fence's time in */
	uint64_t fence_time_realtime; /* us of CLOCK_REALTIME */
};

/*
 * Connects as soon as there is a bus; whatever fails is tried again. Returns 0, or -errno when the
 * event loop cannot watch it.
 */
int bus_start(struct manager *m);
/* Leaves the bus, without waiting for anything. */
void bus_stop(struct manager *m);

/*
 * Something about the device, or about the daemon, may have changed. Called often, also for no
 * difference; none of these fails, waits, or changes a device.
 */
void bus_device_changed(struct device *d);
void bus_manager_changed(struct manager *m);
/* The device is about to be freed. */
void bus_device_removed(struct device *d);

#endif
