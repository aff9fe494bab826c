// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <syslog.h>
#include <time.h>

#include "host.h"
#include "pci-slot.h"
#include "protect.h"
#include "sriov.h"
#include "steps-internal.h"
#include "sysfs.h"
#include "verify.h"

int step_fail(struct step_context *c, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(c->text, sizeof(c->text), format, ap);
	va_end(ap);
	return r;
}

void step_say(struct step_context *c, int level, const char *format, ...)
{
	char text[STATE_NOTE_SIZE];
	va_list ap;

	if (!c->say)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	c->say(c, level, text);
}

int step_write(struct step_context *c, const char *dev, const char *attr, const char *value)
{
	char path[SYSFS_PATH_SIZE];

	return host_sysfs_write(sysfs_device_path(path, sizeof(path), c->job->bus, dev, attr),
				value);
}

int step_ask_kernel(struct step_context *c)
{
	char text[160];
	int r = kernel_link_request(c->link, IOMMU_RAS_CMD_DEVICE_GET, c->job->bus, c->job->dev,
				    &c->device, text, sizeof(text));

	if (r < 0)
		return step_fail(c, r, "the kernel does not tell about the device: %s",
				 text[0] ? text : strerror(-r));
	return 0;
}

int step_driver(struct step_context *c, char *buf, size_t size)
{
	int r = sysfs_link(c->job->bus, c->job->dev, "driver", buf, size);

	if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
		return 0;
	if (r == -ENOENT)
		return step_fail(c, -ENODEV, "the device is gone");
	return r < 0 ? step_fail(c, r, "cannot read its driver: %s", strerror(-r)) : 0;
}

/* sysfs shows "(null)" where driver_override is not set. */
void step_override(struct step_context *c, const char *dev, char *buf, size_t size)
{
	if (sysfs_read(c->job->bus, dev, "driver_override", buf, size) < 0 || streq(buf, "(null)"))
		buf[0] = '\0';
}

int step_set_override(struct step_context *c, const char *dev, const char *override)
{
	char now[RAS_NAME_SIZE];

	step_override(c, dev, now, sizeof(now));
	if (streq(now, override))
		return 0;
	return step_write(c, dev, "driver_override", override[0] ? override : "\n");
}

int step_bind_driver(struct step_context *c, const char *dev, const char *driver)
{
	char path[SYSFS_PATH_SIZE];
	char now[RAS_NAME_SIZE];
	int r;

	snprintf(path, sizeof(path), "%s/bus/%s/drivers/%s/bind", host_dir(HOST_SYS), c->job->bus,
		 driver);
	r = host_sysfs_write(path, dev);
	/* The kernel's own probing of a device that has just come can be quicker. */
	if (r == -EBUSY && sysfs_link(c->job->bus, dev, "driver", now, sizeof(now)) >= 0 &&
	    streq(now, driver))
		return 0;
	return r;
}

uint64_t step_timeout(const struct step_context *c, const struct step *step)
{
	return step->timeout ? step->timeout : c->job->step_timeout;
}

static bool comes_back_anew(const struct job *job)
{
	for (size_t i = 0; i < job->n_steps; i++)
		if (steps_bring_back(job->steps + i, job->n_steps - i))
			return true;
	return false;
}

/* What a later step may take away, so that it can be put back by whoever comes then. */
static void save_surroundings(struct step_context *c)
{
	struct job *job = c->job;

	/* Whatever rule is the first that changes or loses it, be it in a later attempt. */
	if ((job->reset_methods || comes_back_anew(job)) && job->reset_method[0] == '\0')
		(void)sysfs_read(job->bus, job->dev, "reset_method", job->reset_method,
				 sizeof(job->reset_method));
	/* Without the device it cannot be found out any more. */
	if (job->slot[0] == '\0')
		(void)pci_slot_find(job->bus, job->dev, true, job->slot, sizeof(job->slot));
	/* Those that somebody made after an earlier attempt count as well. */
	if (job->vfs.n == 0)
		sriov_read(job->bus, job->dev, &job->vfs);
}

int steps_prepare(struct step_context *c)
{
	struct job *job = c->job;
	int r;

	if (!step_device_is_there(c)) {
		/* We took it away, and are going to look for it. */
		if (job->away && job->prepared && c->text[0] == '\0')
			return 0;
		return c->text[0] ? -ENODEV : step_fail(c, -ENODEV, "the device is gone");
	}
	if (job->prepared)
		step_restore_reset_method(c);
	save_surroundings(c);
	if (job->prepared)
		return 0;
	r = step_driver(c, job->driver, sizeof(job->driver));
	if (r < 0)
		return r;
	step_override(c, job->dev, job->driver_override, sizeof(job->driver_override));
	functions_count(job->bus, job->dev, &job->functions);
	return 0;
}

int step_not_fenced(struct step_context *c)
{
	int r = step_ask_kernel(c);

	if (r < 0 || c->device.state != IOMMU_RAS_STATE_ACTIVE)
		return r;
	(void)step_fail(c, 0, "not needed, the kernel says that it is not fenced any more");
	return 1;
}

int step_not_in_use(struct step_context *c, const char *driver)
{
	const struct job *job = c->job;

	if (!protect_check(job->protect, job->bus, job->dev, driver, c->text, sizeof(c->text)))
		return 0;
	c->protected = true;
	return -EBUSY;
}

static int step_unbind(struct step_context *c)
{
	char driver[RAS_NAME_SIZE];
	int r = step_not_fenced(c);

	if (r != 0)
		return r < 0 ? r : 0;
	r = step_driver(c, driver, sizeof(driver));
	if (r < 0)
		return r;
	if (driver[0] == '\0')
		return step_fail(c, 0, "no driver was bound");
	r = step_not_in_use(c, driver);
	if (r < 0)
		return r;
	r = step_sriov_detach(c);
	if (r < 0)
		return r;
	r = step_write(c, c->job->dev, "driver/unbind", c->job->dev);
	/* Somebody else was quicker. */
	if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
		return 0;
	return r < 0 ? step_fail(c, r, "cannot unbind %s: %s", driver, strerror(-r)) : 0;
}

static int step_reattach(struct step_context *c)
{
	char text[160];
	int r = step_ask_kernel(c);

	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_ACTIVE)
		return step_fail(c, 0, "it was attached already");
	r = kernel_link_request(c->link, IOMMU_RAS_CMD_DEVICE_REATTACH, c->job->bus, c->job->dev,
				NULL, text, sizeof(text));
	return r < 0 ? step_fail(c, r, "the kernel refuses to reattach: %s",
				 text[0] ? text : strerror(-r))
		     : 0;
}

/*
 * A driver that is not the one we owe. Who bound it has decided what the device is for; unless it
 * was the kernel, when the device came back without its driver_override. Returns 1 when it stays.
 */
static int other_driver(struct step_context *c, const char *driver)
{
	struct job *job = c->job;
	int r = step_ask_kernel(c);

	if (r < 0)
		return r;
	if (!job->away) {
		if (c->device.state != IOMMU_RAS_STATE_ACTIVE)
			return step_fail(c, -EBUSY, "somebody bound %s in place of %s", driver,
					 job->driver);
		(void)step_fail(c, 0, "somebody bound %s in place of %s, and it stays", driver,
				job->driver);
		return 1;
	}
	r = step_not_in_use(c, driver);
	if (r < 0)
		return r;
	r = step_write(c, job->dev, "driver/unbind", job->dev);
	if (r < 0 && r != -ENOENT)
		return step_fail(c, r,
				 "cannot unbind %s, which the kernel bound in place of %s: %s",
				 driver, job->driver, strerror(-r));
	return 0;
}

static int bind_own_driver(struct step_context *c)
{
	struct job *job = c->job;
	int r = step_bind_driver(c, job->dev, job->driver);

	if (r == -ENOENT)
		return step_fail(c, r, "the driver %s is not loaded any more; run: modprobe %s",
				 job->driver, job->driver);
	if (r == -EBUSY && step_ask_kernel(c) >= 0 && c->device.state == IOMMU_RAS_STATE_FENCED)
		return step_fail(c, r, "cannot bind %s: the device is fenced again (%s)",
				 job->driver, ras_reason_name(c->device.reason));
	return r < 0 ? step_fail(c, r, "cannot bind %s: %s", job->driver, strerror(-r)) : 0;
}

static int step_bind(struct step_context *c)
{
	struct job *job = c->job;
	char driver[RAS_NAME_SIZE];
	bool was_bound;
	int r = step_driver(c, driver, sizeof(driver));

	if (r < 0)
		return r;
	was_bound = driver[0] && streq(driver, job->driver);
	if (job->driver[0] && driver[0] && !was_bound) {
		r = other_driver(c, driver);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	if (job->driver[0] || (job->away && driver[0] == '\0')) {
		r = step_set_override(c, job->dev, job->driver_override);
		if (r < 0)
			return step_fail(c, r, "cannot put driver_override back to \"%s\": %s",
					 job->driver_override, strerror(-r));
	}
	if (job->driver[0] == '\0')
		return step_fail(c, 0, "no driver was bound before");
	r = was_bound ? 0 : bind_own_driver(c);
	if (r >= 0)
		r = step_sriov_restore(c);
	if (r >= 0 && was_bound && c->text[0] == '\0')
		return step_fail(c, 0, "%s was bound already", driver);
	return r;
}

/* Returns 0 when the kernel says that the device is not fenced. */
static int verify_kernel(struct step_context *c)
{
	int r = step_ask_kernel(c);

	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_ACTIVE)
		return 0;
	if (c->job->fence_id && c->device.fence_id != c->job->fence_id) {
		c->refenced = true;
		return step_fail(c, -EAGAIN,
				 "the device was unfenced, and fenced again at once (%s)",
				 ras_reason_name(c->device.reason));
	}
	if (c->device.state == IOMMU_RAS_STATE_SANITIZED)
		return step_fail(
			c, -EIO,
			"the device was reset but not attached again; the rule's steps need "
			"\"reattach\" or \"bind\"");
	return step_fail(c, -EIO, "the kernel says that the device is still %s (%s)",
			 ras_state_name(c->device.state), ras_reason_name(c->device.reason));
}

static int step_verify(struct step_context *c, const struct step *step)
{
	struct job *job = c->job;
	char driver[RAS_NAME_SIZE];
	int r = verify_kernel(c);
	int again;

	if (r < 0)
		return r;
	r = step_driver(c, driver, sizeof(driver));
	if (r < 0)
		return r;
	if (driver[0] == '\0' && job->driver[0])
		return step_fail(c, -EIO, "its driver is none, and was %s before", job->driver);
	/* Who bound another one knows what to expect of it. */
	if (!streq(driver, job->driver))
		return step_fail(c, 0, "%s is bound, by other hands than ours", driver);
	/* Said by us, and before the daemon takes us for stuck. */
	r = functions_wait(job->bus, job->dev, &job->functions, job_step_limit(job, step) / 4 * 3,
			   c->text, sizeof(c->text));
	/* Using it is what shows that it is still wedged. */
	again = verify_kernel(c);
	return again < 0 ? again : r;
}

static int step_wait(const struct step *step)
{
	struct timespec left = {
		.tv_sec = (time_t)(step->wait / USEC_PER_SEC),
		.tv_nsec = (long)(step->wait % USEC_PER_SEC * NSEC_PER_USEC),
	};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
	return 0;
}

struct ras_device steps_device_now(struct step_context *c)
{
	char text[STATE_NOTE_SIZE];

	/* The failure is what people want to read. */
	memcpy(text, c->text, sizeof(text));
	c->device = (struct ras_device){0};
	if (!step_device_is_there(c) || step_ask_kernel(c) < 0)
		c->device = (struct ras_device){0};
	memcpy(c->text, text, sizeof(text));
	return c->device;
}

/* What can be done to a device that is not in the system. */
static bool needs_device(enum step_kind kind)
{
	switch (kind) {
	case STEP_RESCAN:
	case STEP_SLOT_POWER_CYCLE:
	case STEP_EXEC:
	case STEP_HOOK:
	case STEP_WAIT:
	case STEP_VERIFY:
		return false;
	default:
		return true;
	}
}

int step_run(struct step_context *c, const struct step *step)
{
	c->text[0] = '\0';
	/* An earlier attempt, or daemon, got no further; the steps that bring it back come. */
	if (c->job->away && needs_device(step->kind) && !step_device_is_there(c))
		return c->text[0] ? -ENODEV
				  : step_fail(c, 0, "left out, the device is not in the system");
	switch (step->kind) {
	case STEP_UNBIND:
		return step_unbind(c);
	case STEP_RESET:
		return step_reset(c);
	case STEP_BIND:
		return step_bind(c);
	case STEP_REATTACH:
		return step_reattach(c);
	case STEP_VERIFY:
		return step_verify(c, step);
	case STEP_WAIT:
		return step_wait(step);
	case STEP_REMOVE:
		return step_remove(c);
	case STEP_RESCAN:
		return step_rescan(c, step);
	case STEP_SLOT_POWER_CYCLE:
		return step_slot_power_cycle(c, step);
	case STEP_EXEC:
	case STEP_HOOK:
		return step_exec(c, step);
	default:
		return step_fail(c, -EINVAL, "unknown step");
	}
}
