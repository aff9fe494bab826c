// SPDX-License-Identifier: GPL-2.0-or-later
/* All devices that the daemon knows, by name; and which of them are related. */
#include <time.h>

#include "bus.h"
#include "log.h"
#include "manager.h"
#include "pci-slot.h"
#include "sysfs.h"

static size_t hash_name(const char *bus, const char *dev)
{
	size_t h = 5381;

	for (; *bus; bus++)
		h = h * 33 ^ (unsigned char)*bus;
	for (; *dev; dev++)
		h = h * 33 ^ (unsigned char)*dev;
	return h;
}

static struct device_bucket *find_bucket(struct manager *m, const char *bus, const char *dev)
{
	return &m->buckets[hash_name(bus, dev) % m->n_buckets];
}

struct device *device_find(struct manager *m, const char *bus, const char *dev)
{
	struct device *d;

	if (m->n_buckets == 0)
		return NULL;
	for (d = LIST_FIRST(find_bucket(m, bus, dev)); d; d = LIST_NEXT(d, bucket))
		if (streq(d->record.dev, dev) && streq(d->record.bus, bus))
			return d;
	return NULL;
}

/* Keeps the chains short. A table that cannot grow only gets slower. */
static void table_grow(struct manager *m)
{
	size_t n = m->n_buckets ? m->n_buckets * 4 : 64;
	struct device_bucket *buckets;
	struct device *d;

	if (m->n_devices < m->n_buckets)
		return;
	buckets = calloc(n, sizeof(*buckets));
	if (!buckets)
		return;
	free(m->buckets);
	m->buckets = buckets;
	m->n_buckets = n;
	foreach_device (d, &m->devices, all)
		LIST_INSERT_HEAD(find_bucket(m, d->record.bus, d->record.dev), d, bucket);
}

static void add_key(struct device *d, char kind, const char *name, size_t length)
{
	uint64_t key = hash_bytes(hash_bytes(HASH_INIT, &kind, 1), name, length);

	for (unsigned int i = 0; i < d->n_keys; i++)
		if (d->keys[i] == key)
			return;
	if (d->n_keys == DEVICE_KEYS_MAX)
		log_warning("%s is in more slots than can be remembered; slot %.*s may be switched "
			    "off while it is recovered",
			    d->record.dev, (int)length, name);
	else
		d->keys[d->n_keys++] = key;
}

static void add_slot(const char *slot, void *userdata)
{
	add_key(userdata, 'p', slot, strlen(slot));
}

/*
 * Functions of one device, a PF and its VFs, and the members of one IOMMU group are never
 * recovered against each other: a reset of one can take the others down.
 */
void device_find_keys(struct device *d)
{
	const char *bus = d->record.bus;
	const char *dev = d->record.dev;
	char name[RAS_DEV_SIZE];
	const char *dot;

	d->n_keys = 0;
	d->physfn[0] = '\0';
	dot = streq(bus, "pci") ? strrchr(dev, '.') : NULL;
	add_key(d, 's', dev, dot ? (size_t)(dot - dev) : strlen(dev));
	if (sysfs_link(bus, dev, "iommu_group", name, sizeof(name)) >= 0)
		add_key(d, 'g', name, strlen(name));
	if (sysfs_link(bus, dev, "physfn", name, sizeof(name)) >= 0) {
		dot = strrchr(name, '.');
		add_key(d, 's', name, dot ? (size_t)(dot - name) : strlen(name));
		str_copy(d->physfn, sizeof(d->physfn), name);
	}
	/* What shares a slot, and what can be switched off together: cards in slots have slots. */
	if (pci_slot_find(bus, dev, false, name, sizeof(name)) >= 0)
		add_slot(name, d);
	(void)pci_slot_powers(bus, dev, add_slot, d);
}

bool devices_related(const struct device *a, const struct device *b)
{
	for (unsigned int i = 0; i < a->n_keys; i++)
		for (unsigned int j = 0; j < b->n_keys; j++)
			if (a->keys[i] == b->keys[j])
				return true;
	return false;
}

struct device *device_new(struct manager *m, const char *bus, const char *dev)
{
	struct device *d;

	if (m->n_devices >= DEVICES_MAX && !device_evict(m)) {
		if (!m->table_full_logged)
			log_error("More than %d devices are fenced; the others are left fenced",
				  DEVICES_MAX);
		m->table_full_logged = true;
		return NULL;
	}
	table_grow(m);
	d = m->n_buckets > 0 ? calloc(1, sizeof(*d)) : NULL;
	if (!d) {
		log_error("Out of memory; %s stays fenced", dev);
		return NULL;
	}
	d->manager = m;
	str_copy(d->record.bus, sizeof(d->record.bus), bus);
	str_copy(d->record.dev, sizeof(d->record.dev), dev);
	d->record.since = now_usec(CLOCK_REALTIME);
	d->worker = (struct worker){.pidfd = -1, .fd = -1};
	LIST_INSERT_HEAD(find_bucket(m, bus, dev), d, bucket);
	TAILQ_INSERT_TAIL(&m->devices, d, all);
	m->n_devices++;
	return d;
}

void device_worker_close(struct device *d)
{
	struct manager *m = d->manager;

	d->worker_event = sd_event_source_disable_unref(d->worker_event);
	d->worker_exit = sd_event_source_disable_unref(d->worker_exit);
	if (d->worker.fd >= 0)
		close(d->worker.fd);
	if (d->worker.pidfd >= 0)
		close(d->worker.pidfd);
	if (d->worker.pid > 0) {
		TAILQ_REMOVE(&m->busy, d, busy);
		m->queue_dirty = true;
	}
	d->worker = (struct worker){.pidfd = -1, .fd = -1};
	d->record.worker = 0;
	d->record.worker_start = 0;
	free(d->job);
	d->job = NULL;
}

void device_free(struct device *d)
{
	struct manager *m = d->manager;

	if (d->record.state == RECOVERY_QUEUED)
		TAILQ_REMOVE(&m->queue, d, queue);
	if (d->record.state == RECOVERY_RUNNING)
		m->n_running--;
	bus_device_removed(d);
	device_undirty(d);
	device_worker_close(d);
	sd_event_source_disable_unref(d->timer);
	policy_unref(d->policy);
	record_clear_history(&d->record);
	LIST_REMOVE(d, bucket);
	TAILQ_REMOVE(&m->devices, d, all);
	m->n_devices--;
	m->status_dirty = true;
	free(d);
}
