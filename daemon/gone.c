// SPDX-License-Identifier: GPL-2.0-or-later
#include "gone.h"

#include <time.h>

#include "sysfs.h"

static void drop(struct gone_list *list, unsigned int i)
{
	state_remove_in(STATE_GONE, list->entries[i].bus, list->entries[i].dev);
	list->n--;
	memmove(&list->entries[i], &list->entries[i + 1], (list->n - i) * sizeof(list->entries[0]));
}

/* What is over, and so many of the oldest that there is room for another one. */
static void make_room(struct gone_list *list)
{
	uint64_t now = now_usec(CLOCK_BOOTTIME);

	for (unsigned int i = list->n; i-- > 0;)
		if (list->entries[i].until <= now)
			drop(list, i);
	while (list->n >= GONE_MAX)
		drop(list, 0);
}

/* Behind those that leave before it. */
static void add(struct gone_list *list, const struct device_record *record)
{
	unsigned int i;

	make_room(list);
	i = list->n++;
	for (; i > 0 && list->entries[i - 1].until > record->keep_until; i--)
		list->entries[i] = list->entries[i - 1];
	str_copy(list->entries[i].bus, sizeof(list->entries[i].bus), record->bus);
	str_copy(list->entries[i].dev, sizeof(list->entries[i].dev), record->dev);
	list->entries[i].until = record->keep_until;
}

static void load_one(const struct device_record *record, int error, void *userdata)
{
	struct device_record copy = *record;

	if (error < 0)
		state_remove_in(STATE_GONE, record->bus, record->dev);
	else
		add(userdata, record);
	record_clear_history(&copy);
}

void gone_load(struct gone_list *list)
{
	list->n = 0;
	(void)state_load_all_in(STATE_GONE, load_one, list);
	make_room(list);
}

void gone_remember(struct gone_list *list, const struct device_record *record, const char *driver,
		   uint32_t reason)
{
	/* Its history stays the other one's. */
	struct device_record copy = *record;

	copy.was = record->state;
	copy.state = RECOVERY_GONE;
	copy.reason = reason;
	copy.worker = 0;
	copy.worker_start = 0;
	copy.next = 0;
	copy.since = now_usec(CLOCK_REALTIME);
	copy.keep_until = now_usec(CLOCK_BOOTTIME) + GONE_KEEP_USEC;
	if (copy.driver[0] == '\0')
		str_copy(copy.driver, sizeof(copy.driver), driver);
	for (unsigned int i = 0; i < list->n; i++)
		if (streq(list->entries[i].dev, copy.dev) && streq(list->entries[i].bus, copy.bus))
			drop(list, i--);
	if (state_save_in(STATE_GONE, &copy) >= 0)
		add(list, &copy);
}

bool gone_is_shown(const struct device_record *record)
{
	/* Something is in its place again: it came back, or was replaced. */
	return record->state == RECOVERY_GONE && record->keep_until > now_usec(CLOCK_BOOTTIME) &&
	       !sysfs_device_exists(record->bus, record->dev);
}
