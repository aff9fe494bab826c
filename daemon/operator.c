// SPDX-License-Identifier: GPL-2.0-or-later
#include "operator.h"

#include <errno.h>
#include <stdarg.h>

#include "manager.h"
#include "sysfs.h"

static int refuse(char *reason, int r, const char *format, ...) _printf_(3, 4);

static int refuse(char *reason, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason, OPERATOR_REASON_SIZE, format, ap);
	va_end(ap);
	return r;
}

/* A name from outside; those of the kernel have no slash. */
static bool exists(const char *dev)
{
	return dev[0] && dev[0] != '.' && !strchr(dev, '/') && strlen(dev) < RAS_DEV_SIZE &&
	       sysfs_device_exists("pci", dev);
}

static int find(struct manager *m, const char *dev, struct device **ret, char *reason)
{
	struct device *d = device_find(m, "pci", dev);

	if (!exists(dev) || (d && d->record.state == RECOVERY_GONE))
		return refuse(reason, -ENODEV,
			      "There is no PCI device %s; lspci -D lists those that there are",
			      VISIBLE(dev));
	if (!d || (d->record.state == RECOVERY_IDLE && !device_is_fenced(d)))
		return refuse(reason, -ENOENT, "%s is not fenced; there is nothing to do", dev);
	*ret = d;
	return 0;
}

int device_request_recover(struct manager *m, const char *dev, bool force,
			   char reason[static OPERATOR_REASON_SIZE])
{
	struct device *d = NULL;
	int r = find(m, dev, &d, reason);

	if (!d)
		return r;
	switch (d->record.state) {
	case RECOVERY_QUEUED:
		return refuse(reason, -EALREADY,
			      "%s is about to be recovered; it waits for its turn", dev);
	case RECOVERY_RUNNING:
		return refuse(reason, -EALREADY, "%s is being recovered already (attempt %u, %s)",
			      dev, d->record.attempts,
			      d->record.step[0] ? d->record.step : "preparations");
	case RECOVERY_STUCK:
		return refuse(reason, -EBUSY,
			      "The worker of %s is stuck in the kernel (%s); the device is looked "
			      "at again as soon as it ends. What it waits for: cat /proc/%d/stack",
			      dev, d->record.step[0] ? d->record.step : "preparations",
			      (int)d->record.worker);
	default:
		break;
	}
	d->record.attempts = 0;
	d->record.left = LEFT_NOT;
	d->record.force = force;
	d->record.last_resort = false;
	d->refences = 0;
	/* Unfenced, but without its driver: that is all there is to do. */
	d->finish = !device_is_fenced(d);
	device_find_keys(d);
	device_find_rule(d);
	device_set_note(d, "an operator asked for it");
	device_apply(d, INPUT_ASK_RECOVER);
	return 0;
}

int device_request_isolate(struct manager *m, const char *dev,
			   char reason[static OPERATOR_REASON_SIZE])
{
	struct device *d = NULL;
	int r = find(m, dev, &d, reason);

	if (!d)
		return r;
	if (d->record.left == LEFT_OPERATOR)
		return 0;
	d->record.left = LEFT_OPERATOR;
	if (d->record.state != RECOVERY_STUCK)
		device_set_note(d, "an operator asked for it");
	device_changed(d);
	device_apply(d, INPUT_ASK_ISOLATE);
	return 0;
}
