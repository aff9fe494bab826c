// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Steps after which the device is a new one for the kernel: "remove", "rescan", "slot-power-cycle".
 *
 * What comes back is taken for the same device when its ids are the same; driver_override, virtual
 * functions and a driver that only new_id binds are put back by "bind".
 */
#include <errno.h>
#include <fcntl.h>
#include <syslog.h>
#include <time.h>

#include "host.h"
#include "pci-name.h"
#include "pci-slot.h"
#include "protect.h"
#include "state.h"
#include "steps-internal.h"
#include "sysfs.h"

#define PAUSE_MIN_USEC (5 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (250 * USEC_PER_MSEC)

bool step_device_is_there(struct step_context *c)
{
	struct job *job = c->job;
	char identity[SYSFS_IDENTITY_SIZE];

	if (sysfs_identity(job->bus, job->dev, identity, sizeof(identity)) < 0)
		return false;
	if (job->identity[0] && !streq(identity, job->identity) &&
	    !(job->away && sysfs_identity_same_card(identity, job->identity))) {
		(void)step_fail(c, -ENODEV, "another device is in its place");
		return false;
	}
	memcpy(job->identity, identity, sizeof(job->identity));
	return true;
}

static void pause_for(uint64_t usec)
{
	struct timespec left = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
				.tv_nsec = (long)(usec % USEC_PER_SEC * NSEC_PER_USEC)};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/*
 * Scanning a bus and switching a slot on return when what is there has been found, as a rule; some
 * firmware and hotplug controllers need longer.
 */
static int wait_for_device(struct step_context *c, uint64_t end, uint64_t timeout)
{
	uint64_t pause = PAUSE_MIN_USEC;

	while (!step_device_is_there(c)) {
		uint64_t now = now_usec(CLOCK_MONOTONIC);

		if (c->text[0])
			return -ENODEV;
		if (now >= end)
			return step_fail(c, -ETIMEDOUT,
					 "it has not come back after %s; to look for it: echo 1 > "
					 "/sys/bus/pci/rescan",
					 USEC_TEXT(timeout));
		pause_for(pause < end - now ? pause : end - now);
		pause = pause * 2 < PAUSE_MAX_USEC ? pause * 2 : PAUSE_MAX_USEC;
	}
	/* A new device has the kernel's choice of them, and not that of whoever set them. */
	step_restore_reset_method(c);
	return 0;
}

int step_remove(struct step_context *c)
{
	const struct job *job = c->job;
	char driver[RAS_NAME_SIZE];
	int r = step_not_fenced(c);

	if (r != 0)
		return r < 0 ? r : 0;
	r = step_driver(c, driver, sizeof(driver));
	if (r < 0)
		return r;
	r = step_not_in_use(c, driver);
	if (r < 0)
		return r;
	r = step_sriov_detach(c);
	if (r < 0)
		return r;
	r = step_write(c, job->dev, "remove", "1");
	if (r == -ENOENT && !sysfs_device_exists(job->bus, job->dev))
		return step_fail(c, 0, "it was gone already");
	if (r < 0)
		return step_fail(c, r, "cannot remove it: %s", strerror(-r));
	return sysfs_device_exists(job->bus, job->dev)
		       ? step_fail(c, -EIO,
				   "the kernel took it out of the system, and it is still there")
		       : 0;
}

int step_rescan(struct step_context *c, const struct step *step)
{
	const struct job *job = c->job;
	uint64_t timeout = step_timeout(c, step);
	uint64_t end = now_usec(CLOCK_MONOTONIC) + timeout;
	char path[SYSFS_PATH_SIZE];
	struct pci_address address;
	int r;

	if (!streq(job->bus, "pci") || pci_address_parse(job->dev, &address) < 0)
		return step_fail(c, -EOPNOTSUPP, "only PCI buses can be scanned");
	/* The bus outlives what is on it. */
	snprintf(path, sizeof(path), "%s/class/pci_bus/%04x:%02x/rescan", host_dir(HOST_SYS),
		 address.domain, address.bus);
	r = host_sysfs_write(path, "1");
	if (r == -ENOENT) {
		step_say(c, LOG_NOTICE, "its bus is gone as well; all buses are scanned");
		snprintf(path, sizeof(path), "%s/bus/pci/rescan", host_dir(HOST_SYS));
		r = host_sysfs_write(path, "1");
	}
	if (r < 0)
		return step_fail(c, r, "cannot scan its bus: %s", strerror(-r));
	return wait_for_device(c, end, timeout);
}

/* --- slot-power-cycle ------------------------------------------------------------------------ */

/*
 * What the daemon has on record about another device in the slot: one that is fenced on purpose
 * would come back unfenced, and what is owed to another would be forgotten with it. Its driver is
 * no matter: that comes back by itself. Returns 0, or -errno with .text; .protected says that only
 * an operator can change it.
 */
static int look_at_record(struct step_context *c, const char *dev)
{
	struct device_record record;
	int r = state_load(c->job->bus, dev, &record);
	bool owed;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return step_fail(c, r, "cannot read what is owed to %s, in the same slot: %s", dev,
				 strerror(-r));
	owed = record.prepared && (record.vfs.n > 0 || record.driver_override[0]);
	record_clear_history(&record);
	if (!record.active && (record.left == LEFT_OPERATOR || record.left == LEFT_POLICY)) {
		c->protected = true;
		return step_fail(c, -EBUSY, "%s, in the same slot, was left fenced on purpose",
				 dev);
	}
	return owed ? step_fail(c, -EBUSY, "%s, in the same slot, waits to be put back itself", dev)
		    : 0;
}

/*
 * What else is in the slot loses its power with the device. Its driver comes back by itself; what
 * somebody wrote into sysfs does not. Returns false to stop.
 */
static bool look_at_neighbour(const char *dev, void *userdata)
{
	struct step_context *c = userdata;
	const struct job *job = c->job;
	char override[RAS_NAME_SIZE];
	char link[RAS_DEV_SIZE];

	/* Its own virtual functions are put back. */
	if (streq(dev, job->dev) ||
	    (sysfs_link(job->bus, dev, "physfn", link, sizeof(link)) >= 0 && streq(link, job->dev)))
		return true;
	if (look_at_record(c, dev) < 0)
		return false;
	step_override(c, dev, override, sizeof(override));
	if (override[0]) {
		(void)step_fail(c, -EBUSY,
				"%s is in the same slot and would lose its driver_override \"%s\"; "
				"unbind it and run: echo > /sys/bus/pci/devices/%s/driver_override",
				dev, override, dev);
		c->protected = true;
		return false;
	}
	if (sysfs_link(job->bus, dev, "virtfn0", link, sizeof(link)) >= 0) {
		(void)step_fail(c, -EBUSY,
				"%s is in the same slot and would lose its virtual functions; run: "
				"echo 0 > /sys/bus/pci/devices/%s/sriov_numvfs",
				dev, dev);
		c->protected = true;
		return false;
	}
	return true;
}

/* Whoever uses what is in there, fenced or not, loses it. */
static bool look_at_users(const char *dev, void *userdata)
{
	struct step_context *c = userdata;
	const struct job *job = c->job;
	char driver[RAS_NAME_SIZE];
	char users[STATE_NOTE_SIZE];

	/* What its driver would survive is no advice for the steps of a neighbour. */
	if (!streq(dev, job->dev) ||
	    sysfs_link(job->bus, dev, "driver", driver, sizeof(driver)) < 0)
		driver[0] = '\0';
	if (!protect_check(job->protect, job->bus, dev, driver, users, sizeof(users)))
		return true;
	if (streq(dev, job->dev))
		(void)step_fail(c, -EBUSY, "%s", users);
	else
		(void)step_fail(c, -EBUSY, "%s, in the same slot, is %s", dev, users);
	c->protected = true;
	return false;
}

/*
 * Whether the power of the slot may be switched off. The others in it count also when the device
 * itself is not @there any more. Returns 1 when it need not be, with a remark.
 */
static int check_slot(struct step_context *c, bool there)
{
	const struct job *job = c->job;
	int r = there ? step_not_fenced(c) : 0;

	if (r != 0)
		return r;
	r = pci_slot_devices(job->slot, look_at_users, c);
	if (r == 0)
		r = pci_slot_devices(job->slot, look_at_neighbour, c);
	if (r > 0)
		return -EBUSY;
	if (r < 0)
		return step_fail(c, r, "cannot look at what is in slot %s: %s", job->slot,
				 strerror(-r));
	return there ? step_sriov_detach(c) : 0;
}

static void power_path(const struct job *job, char *buf, size_t size)
{
	snprintf(buf, size, "%s/bus/pci/slots/%s/power", host_dir(HOST_SYS), job->slot);
}

static bool slot_is_off(const struct job *job)
{
	char path[SYSFS_PATH_SIZE];
	char power[4] = "";
	_cleanup_close_ int fd = -1;

	power_path(job, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, power, sizeof(power) - 1) > 0 && power[0] == '0';
}

static int switch_power(struct step_context *c, bool on)
{
	char path[SYSFS_PATH_SIZE];
	int r;

	power_path(c->job, path, sizeof(path));
	r = host_sysfs_write(path, on ? "1" : "0");
	return r < 0 ? step_fail(c, r, "cannot switch slot %s %s: %s", c->job->slot,
				 on ? "on" : "off", strerror(-r))
		     : 0;
}

int step_slot_power_cycle(struct step_context *c, const struct step *step)
{
	const struct job *job = c->job;
	uint64_t timeout = step_timeout(c, step);
	uint64_t end = now_usec(CLOCK_MONOTONIC) + timeout;
	bool there;
	int r;

	if (job->slot[0] == '\0')
		return step_fail(
			c, -EOPNOTSUPP,
			"the device is in no slot whose power can be switched; those there are: "
			"ls -d /sys/bus/pci/slots/*/power");
	there = step_device_is_there(c);
	if (!there && c->text[0])
		return -ENODEV;
	/* What is off already has nothing to lose. */
	r = !there && slot_is_off(job) ? 0 : check_slot(c, there);
	if (r != 0)
		return r < 0 ? r : 0;
	/* An earlier attempt may have got no further. */
	if (!slot_is_off(job)) {
		r = switch_power(c, false);
		if (r < 0)
			return r;
	}
	r = switch_power(c, true);
	/* The kernel does so itself when it sees a card come, and then has nothing left to do. */
	if (r < 0 && slot_is_off(job))
		return r;
	c->text[0] = '\0';
	r = wait_for_device(c, end, timeout);
	return r < 0 ? r : step_fail(c, 0, "slot %s", job->slot);
}
