// SPDX-License-Identifier: GPL-2.0-or-later
/* Gathers what kernel, daemon and disk know. */
#include <errno.h>

#include "ctl-gone.h"
#include "gone.h"
#include "sysfs.h"

/* Devices that are active are asked about one by one. */
#define ASK_MAX 256

static struct story *story_find(struct machine *m, const char *bus, const char *dev)
{
	for (size_t i = 0; i < m->n; i++)
		if (streq(m->stories[i].device.dev, dev) && streq(m->stories[i].device.bus, bus))
			return &m->stories[i];
	return NULL;
}

static struct story *story_new(struct machine *m, const char *bus, const char *dev)
{
	struct story *story;

	if (m->n == m->size) {
		size_t size = m->size ? m->size * 2 : 16;
		struct story *grown = reallocarray(m->stories, size, sizeof(*grown));

		if (!grown) {
			m->no_memory = true;
			return NULL;
		}
		m->stories = grown;
		m->size = size;
	}
	story = &m->stories[m->n++];
	*story = (struct story){0};
	str_copy(story->device.bus, sizeof(story->device.bus), bus);
	str_copy(story->device.dev, sizeof(story->device.dev), dev);
	return story;
}

static int add_device(const struct kernel_message *message, void *userdata)
{
	struct machine *m = userdata;
	struct story *story = story_find(m, message->device.bus, message->device.dev);

	if (!story)
		story = story_new(m, message->device.bus, message->device.dev);
	if (!story)
		return -ENOMEM;
	story->device = message->device;
	story->known = true;
	return 0;
}

/* Takes over what @record has on the heap. */
static void add_record(const struct device_record *record, int error, void *userdata)
{
	struct machine *m = userdata;
	struct device_record copy = *record;
	struct story *story;

	if (error < 0) {
		if (error != -ENOENT)
			m->n_damaged++;
		return;
	}
	story = story_find(m, record->bus, record->dev);
	if (!story) {
		story = story_new(m, record->bus, record->dev);
		if (!story) {
			record_clear_history(&copy);
			return;
		}
		/* The kernel names all that are not active; without it the record is all there is.
		 */
		story->device.state = m->family || record->active || record->state == RECOVERY_IDLE
					      ? IOMMU_RAS_STATE_ACTIVE
					      : IOMMU_RAS_STATE_FENCED;
		story->device.fence_id = record->fence_id;
		(void)sysfs_link(record->bus, record->dev, "driver", story->device.driver,
				 sizeof(story->device.driver));
	}
	story->record = copy;
	story->has_record = true;
}

/* Likewise, of those that were removed. */
static void add_gone(const struct device_record *record, int error, void *userdata)
{
	struct machine *m = userdata;
	struct device_record copy = *record;
	struct story *story = NULL;

	if (error >= 0 && gone_is_shown(record) && !story_find(m, record->bus, record->dev))
		story = story_new(m, record->bus, record->dev);
	if (story)
		gone_story(story, record);
	else
		record_clear_history(&copy);
}

/* What the kernel remembers of those that are active again: since when they were fenced, and why.
 */
static void read_recovered(struct machine *m)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	unsigned int asked = 0;

	if (!m->family || ctl_connect(&link) != CTL_OK) {
		kernel_link_close(&link);
		return;
	}
	for (size_t i = 0; i < m->n && asked < ASK_MAX; i++) {
		struct ras_device *device = &m->stories[i].device;
		struct ras_device now;
		char text[160];

		if (m->stories[i].known)
			continue;
		asked++;
		if (kernel_link_request(&link, IOMMU_RAS_CMD_DEVICE_GET, device->bus, device->dev,
					&now, text, sizeof(text)) >= 0)
			*device = now;
	}
	kernel_link_close(&link);
}

static int read_kernel(struct machine *m)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	int r = ctl_connect(&link);
	int tries = 0;

	if (r == CTL_OK) {
		m->family = true;
		do {
			m->n = 0;
			r = kernel_link_dump(&link, add_device, m);
		} while (r == -EINTR && ++tries < 10);
		/* The others are worth seeing. */
		if (r == -EBADMSG) {
			fprintf(stderr, "The kernel told about a device in a way that cannot be "
					"understood; it is not shown\n");
			r = CTL_OK;
		} else if (r < 0) {
			fprintf(stderr, "Cannot get the devices from the kernel: %s\n",
				strerror(-r));
			r = CTL_FAILURE;
		}
	} else if (r == CTL_NO_FAMILY) {
		r = CTL_OK;
	}
	kernel_link_close(&link);
	return r;
}

static int compare(const void *a, const void *b)
{
	const struct story *x = a;
	const struct story *y = b;

	if (x->verdict != y->verdict)
		return x->verdict < y->verdict ? -1 : 1;
	return strcmp(x->device.dev, y->device.dev);
}

int machine_read(struct machine *m)
{
	int r;

	*m = (struct machine){0};
	m->daemon = state_daemon_runs();
	r = read_kernel(m);
	if (r != CTL_OK)
		return r;
	(void)state_load_all(add_record, m);
	read_recovered(m);
	(void)state_load_all_in(STATE_GONE, add_gone, m);
	machine_read_policy(m);
	if (m->no_memory)
		return ctl_no_memory();
	for (size_t i = 0; i < m->n; i++)
		story_judge(&m->stories[i], m);
	if (m->n > 0)
		qsort(m->stories, m->n, sizeof(*m->stories), compare);
	return CTL_OK;
}

void machine_clear(struct machine *m)
{
	for (size_t i = 0; i < m->n; i++)
		story_clear(&m->stories[i]);
	free(m->stories);
	policy_unref(m->policy);
	*m = (struct machine){0};
}

size_t machine_count(const struct machine *m, enum verdict first, enum verdict last)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += m->stories[i].verdict >= first && m->stories[i].verdict <= last;
	return n;
}
