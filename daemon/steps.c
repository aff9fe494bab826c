// SPDX-License-Identifier: GPL-2.0-or-later
#include "steps.h"

#include <errno.h>
#include <stdarg.h>
#include <time.h>

#include "host.h"
#include "protect.h"
#include "sriov.h"
#include "sysfs.h"
#include "verify.h"

static int fail(struct step_context *c, int r, const char *format, ...) _printf_(3, 4);

static int fail(struct step_context *c, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(c->text, sizeof(c->text), format, ap);
	va_end(ap);
	return r;
}

/* Writes an attribute of the device itself. */
static int write_attribute(struct step_context *c, const char *attr, const char *value)
{
	char path[SYSFS_PATH_SIZE];

	return host_sysfs_write(
		sysfs_device_path(path, sizeof(path), c->job->bus, c->job->dev, attr), value);
}

/* Asks the kernel about the device. Fills .device. */
static int ask_kernel(struct step_context *c)
{
	char text[160];
	int r = kernel_link_request(c->link, IOMMU_RAS_CMD_DEVICE_GET, c->job->bus, c->job->dev,
				    &c->device, text, sizeof(text));

	if (r < 0)
		return fail(c, r, "the kernel does not tell about the device: %s",
			    text[0] ? text : strerror(-r));
	return 0;
}

/* Returns 0 with the name of the bound driver, "" for none. */
static int current_driver(struct step_context *c, char *buf, size_t size)
{
	int r = sysfs_link(c->job->bus, c->job->dev, "driver", buf, size);

	if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
		return 0;
	if (r == -ENOENT)
		return fail(c, -ENODEV, "the device is gone");
	return r < 0 ? fail(c, r, "cannot read its driver: %s", strerror(-r)) : 0;
}

/* sysfs shows "(null)" where driver_override is not set. */
static void current_override(struct step_context *c, char *buf, size_t size)
{
	if (sysfs_read(c->job->bus, c->job->dev, "driver_override", buf, size) < 0 ||
	    streq(buf, "(null)"))
		buf[0] = '\0';
}

static void restore_reset_method(struct step_context *c)
{
	char now[RESET_METHOD_SIZE];

	if (c->job->reset_method[0] == '\0' ||
	    sysfs_read(c->job->bus, c->job->dev, "reset_method", now, sizeof(now)) < 0 ||
	    streq(now, c->job->reset_method))
		return;
	/* What is left of a failure here is an unusual order of methods, which sysfs shows. */
	(void)write_attribute(c, "reset_method", c->job->reset_method);
}

int steps_prepare(struct step_context *c)
{
	struct job *job = c->job;
	char identity[SYSFS_IDENTITY_SIZE];

	if (sysfs_identity(job->bus, job->dev, identity, sizeof(identity)) < 0)
		return fail(c, -ENODEV, "the device is gone");
	if (job->identity[0] && !streq(identity, job->identity))
		return fail(c, -ENODEV, "another device is in its place");

	if (job->prepared)
		restore_reset_method(c);
	/* Whatever rule is the first that changes it, be it in a later attempt. */
	if (job->reset_methods && job->reset_method[0] == '\0')
		(void)sysfs_read(job->bus, job->dev, "reset_method", job->reset_method,
				 sizeof(job->reset_method));
	if (job->prepared)
		return 0;
	int r = current_driver(c, job->driver, sizeof(job->driver));

	if (r < 0)
		return r;
	current_override(c, job->driver_override, sizeof(job->driver_override));
	functions_count(job->bus, job->dev, &job->functions);
	sriov_read(job->bus, job->dev, &job->vfs);
	return 0;
}

/*
 * What the daemon heard may be old, and the operator quick: a device that works is not taken away
 * from who uses it. Returns 1 when it is well, with a remark; 0 when not; or -errno.
 */
static int not_fenced(struct step_context *c)
{
	int r = ask_kernel(c);

	if (r < 0 || c->device.state != IOMMU_RAS_STATE_ACTIVE)
		return r;
	(void)fail(c, 0, "not needed, the kernel says that it is not fenced any more");
	return 1;
}

static int step_unbind(struct step_context *c)
{
	char driver[RAS_NAME_SIZE];
	int r = not_fenced(c);

	if (r != 0)
		return r < 0 ? r : 0;
	r = current_driver(c, driver, sizeof(driver));

	if (r < 0)
		return r;
	if (driver[0] == '\0')
		return fail(c, 0, "no driver was bound");
	if (protect_check(c->job->protect, c->job->bus, c->job->dev, driver, c->text,
			  sizeof(c->text))) {
		c->protected = true;
		return -EBUSY;
	}
	r = write_attribute(c, "driver/unbind", c->job->dev);
	/* Somebody else was quicker. */
	if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
		return 0;
	return r < 0 ? fail(c, r, "cannot unbind %s: %s", driver, strerror(-r)) : 0;
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
	int r = write_attribute(c, "reset_method", c->job->reset_methods);

	if (r >= 0 || r != -EINVAL)
		return r < 0 ? fail(c, r, "cannot choose the reset methods \"%s\": %s",
				    c->job->reset_methods, strerror(-r))
			     : 0;
	/* The attribute shows what is enabled; all that there is only after "default". */
	r = write_attribute(c, "reset_method", "default");
	if (r >= 0)
		r = sysfs_read(c->job->bus, c->job->dev, "reset_method", available,
			       sizeof(available));
	if (r < 0)
		return fail(c, r, "cannot read its reset methods: %s", strerror(-r));
	wanted = strdup(c->job->reset_methods);
	if (!wanted)
		return fail(c, -ENOMEM, "out of memory");
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
		return fail(c, -EOPNOTSUPP,
			    "the device has none of the reset methods \"%s\" of the policy; it has "
			    "\"%s\"",
			    c->job->reset_methods, available);
	r = write_attribute(c, "reset_method", chosen);
	return r < 0 ? fail(c, r, "cannot choose the reset methods \"%s\": %s", chosen,
			    strerror(-r))
		     : 0;
}

static int step_reset(struct step_context *c)
{
	char driver[RAS_NAME_SIZE] = "";
	int r = not_fenced(c);

	if (r != 0)
		return r < 0 ? r : 0;
	/* Once the driver is off, its virtual functions are gone. */
	if (current_driver(c, driver, sizeof(driver)) >= 0 && driver[0] &&
	    protect_check_reset(c->job->protect, c->job->bus, c->job->dev, c->text,
				sizeof(c->text))) {
		c->protected = true;
		return -EBUSY;
	}
	if (c->job->reset_methods)
		r = choose_reset_methods(c);
	if (r >= 0) {
		r = write_attribute(c, "reset", "1");
		if (r == -ENOENT && sysfs_device_exists(c->job->bus, c->job->dev))
			r = fail(c, -EOPNOTSUPP, "the device has no way to be reset by itself");
		else if (r < 0)
			r = fail(c, r, "the reset failed: %s", strerror(-r));
	}
	if (c->job->reset_methods)
		restore_reset_method(c);
	if (r < 0)
		return r;

	/* The kernel is who knows whether that was enough. */
	r = ask_kernel(c);
	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_FENCED)
		return fail(c, -EIO, "the reset succeeded, but the device is fenced again (%s)",
			    ras_reason_name(c->device.reason));
	driver[0] = '\0';
	(void)current_driver(c, driver, sizeof(driver));
	return driver[0] ? fail(c, 0, "in place, %s stayed bound", driver) : 0;
}

static int step_reattach(struct step_context *c)
{
	char text[160];
	int r = ask_kernel(c);

	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_ACTIVE)
		return fail(c, 0, "it was attached already");
	r = kernel_link_request(c->link, IOMMU_RAS_CMD_DEVICE_REATTACH, c->job->bus, c->job->dev,
				NULL, text, sizeof(text));
	return r < 0 ? fail(c, r, "the kernel refuses to reattach: %s",
			    text[0] ? text : strerror(-r))
		     : 0;
}

static int bind_driver(struct step_context *c)
{
	struct job *job = c->job;
	char driver[RAS_NAME_SIZE];
	char override[RAS_NAME_SIZE];
	char path[SYSFS_PATH_SIZE];
	int r = current_driver(c, driver, sizeof(driver));

	if (r < 0)
		return r;
	if (job->driver[0] == '\0')
		return fail(c, 0, "no driver was bound before");
	if (streq(driver, job->driver))
		return fail(c, 0, "%s was bound already", driver);
	if (driver[0]) {
		r = ask_kernel(c);
		if (r < 0)
			return r;
		if (c->device.state == IOMMU_RAS_STATE_ACTIVE)
			return fail(c, 0, "somebody bound %s in place of %s, and it stays", driver,
				    job->driver);
		return fail(c, -EBUSY, "somebody bound %s in place of %s", driver, job->driver);
	}
	current_override(c, override, sizeof(override));
	if (!streq(override, job->driver_override)) {
		r = write_attribute(c, "driver_override",
				    job->driver_override[0] ? job->driver_override : "\n");
		if (r < 0)
			return fail(c, r, "cannot put driver_override back to \"%s\": %s",
				    job->driver_override, strerror(-r));
	}
	snprintf(path, sizeof(path), "%s/bus/%s/drivers/%s/bind", host_dir(HOST_SYS), job->bus,
		 job->driver);
	r = host_sysfs_write(path, job->dev);
	if (r == -ENOENT)
		return fail(c, r, "the driver %s is not loaded any more; run: modprobe %s",
			    job->driver, job->driver);
	if (r == -EBUSY && ask_kernel(c) >= 0 && c->device.state == IOMMU_RAS_STATE_FENCED)
		return fail(c, r, "cannot bind %s: the device is fenced again (%s)", job->driver,
			    ras_reason_name(c->device.reason));
	return r < 0 ? fail(c, r, "cannot bind %s: %s", job->driver, strerror(-r)) : 0;
}

static int step_bind(struct step_context *c)
{
	char text[STATE_NOTE_SIZE];
	int r = bind_driver(c);

	if (r < 0)
		return r;
	r = sriov_restore(c->job->bus, c->job->dev, &c->job->vfs, text, sizeof(text));
	return text[0] ? fail(c, r, "%s", text) : r;
}

/* Returns 0 when the kernel says that the device is not fenced. */
static int verify_kernel(struct step_context *c)
{
	int r = ask_kernel(c);

	if (r < 0)
		return r;
	if (c->device.state == IOMMU_RAS_STATE_ACTIVE)
		return 0;
	if (c->job->fence_id && c->device.fence_id != c->job->fence_id) {
		c->refenced = true;
		return fail(c, -EAGAIN, "the device was unfenced, and fenced again at once (%s)",
			    ras_reason_name(c->device.reason));
	}
	if (c->device.state == IOMMU_RAS_STATE_SANITIZED)
		return fail(c, -EIO,
			    "the device was reset but not attached again; the rule's steps need "
			    "\"reattach\" or \"bind\"");
	return fail(c, -EIO, "the kernel says that the device is still %s (%s)",
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
	r = current_driver(c, driver, sizeof(driver));
	if (r < 0)
		return r;
	if (driver[0] == '\0' && job->driver[0])
		return fail(c, -EIO, "its driver is none, and was %s before", job->driver);
	/* Who bound another one knows what to expect of it. */
	if (!streq(driver, job->driver))
		return fail(c, 0, "%s is bound, by other hands than ours", driver);
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

int step_run(struct step_context *c, const struct step *step)
{
	c->text[0] = '\0';
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
	default:
		return fail(c, -EINVAL, "unknown step");
	}
}
