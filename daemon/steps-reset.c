// SPDX-License-Identifier: GPL-2.0-or-later
/* The step "reset". */
#include <errno.h>

#include "protect.h"
#include "steps-internal.h"
#include "sysfs.h"

void step_restore_reset_method(struct step_context *c)
{
	char now[RESET_METHOD_SIZE];

	if (c->job->reset_method[0] == '\0' ||
	    sysfs_read(c->job->bus, c->job->dev, "reset_method", now, sizeof(now)) < 0 ||
	    streq(now, c->job->reset_method))
		return;
	/* What is left of a failure here is an unusual order of methods, which sysfs shows. */
	(void)step_write(c, c->job->dev, "reset_method", c->job->reset_method);
}

/*
 * Chooses the reset methods that policy wants. The kernel refuses the whole list when the device
 * lacks one of them, so those it lacks are taken out: a policy is written for many devices.
 */
static int choose_reset_methods(struct step_context *c)
{
	char available[RESET_METHOD_SIZE];
	char chosen[RESET_METHOD_SIZE] = "";
	_cleanup_free_ char *wanted = NULL;
	char *rest = NULL;
	size_t used = 0;
	int r = step_write(c, c->job->dev, "reset_method", c->job->reset_methods);

	if (r >= 0 || r != -EINVAL)
		return r < 0 ? step_fail(c, r, "cannot choose the reset methods \"%s\": %s",
					 c->job->reset_methods, strerror(-r))
			     : 0;
	/* The attribute shows what is enabled; all that there is only after "default". */
	r = step_write(c, c->job->dev, "reset_method", "default");
	if (r >= 0)
		r = sysfs_read(c->job->bus, c->job->dev, "reset_method", available,
			       sizeof(available));
	if (r < 0)
		return step_fail(c, r, "cannot read its reset methods: %s", strerror(-r));
	wanted = strdup(c->job->reset_methods);
	if (!wanted)
		return step_fail(c, -ENOMEM, "out of memory");
	for (char *s = strtok_r(wanted, " ", &rest); s; s = strtok_r(NULL, " ", &rest)) {
		char padded[RESET_METHOD_SIZE + 2];
		char word[40];

		snprintf(padded, sizeof(padded), " %s ", available);
		snprintf(word, sizeof(word), " %s ", s);
		if (strstr(padded, word) && used < sizeof(chosen))
			used += (size_t)snprintf(chosen + used, sizeof(chosen) - used, "%s%s",
						 used ? " " : "", s);
	}
	if (chosen[0] == '\0')
		return step_fail(
			c, -EOPNOTSUPP,
			"the device has none of the reset methods \"%s\" of the policy; it has "
			"\"%s\"",
			c->job->reset_methods, available);
	r = step_write(c, c->job->dev, "reset_method", chosen);
	return r < 0 ? step_fail(c, r, "cannot choose the reset methods \"%s\": %s", chosen,
				 strerror(-r))
		     : 0;
}

static int reset_failed(struct step_context *c, int error)
{
	char methods[RESET_METHOD_SIZE];

	/* What the kernel says both when no method fits and when the device stays silent after one.
	 */
	if (error != -ENOTTY)
		return step_fail(c, error, "the reset failed: %s", strerror(-error));
	if (sysfs_read(c->job->bus, c->job->dev, "reset_method", methods, sizeof(methods)) < 0 ||
	    methods[0] == '\0')
		str_copy(methods, sizeof(methods), "nothing");
	return step_fail(
		c, error,
		"the device did not come back from its reset, or no reset method applies to "
		"it (tried: %s)",
		methods);
}

int step_reset(struct step_context *c)
{
	char driver[RAS_NAME_SIZE] = "";
	int r = step_not_fenced(c);

	if (r != 0)
		return r < 0 ? r : 0;
	/* Once the driver is off, its virtual functions are gone. */
	if (step_driver(c, driver, sizeof(driver)) >= 0 && driver[0] &&
	    protect_check_reset(c->job->protect, c->job->bus, c->job->dev, c->text,
				sizeof(c->text))) {
		c->protected = true;
		return -EBUSY;
	}
	if (c->job->reset_methods)
		r = choose_reset_methods(c);
	if (r >= 0) {
		r = step_write(c, c->job->dev, "reset", "1");
		if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
			r = step_fail(c, -EOPNOTSUPP,
				      "the device has no way to be reset by itself");
		else if (r < 0)
			r = reset_failed(c, r);
	}
	if (c->job->reset_methods)
		step_restore_reset_method(c);
	if (r < 0)
		return r;

	/* The kernel is who knows whether that was enough. */
	r = step_ask_kernel(c);
	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_FENCED)
		return step_fail(c, -EIO,
				 "the reset succeeded, but the device is fenced again (%s)",
				 ras_reason_name(c->device.reason));
	driver[0] = '\0';
	(void)step_driver(c, driver, sizeof(driver));
	return driver[0] ? step_fail(c, 0, "in place, %s stayed bound", driver) : 0;
}
