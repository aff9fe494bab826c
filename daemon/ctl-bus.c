// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-bus.h"

#include <errno.h>
#include <systemd/sd-bus.h>

#include "host.h"

#define BUS_NAME      "org.smmuras1"
#define BUS_PATH      "/org/smmuras1"
#define BUS_INTERFACE "org.smmuras1.Manager"
/* Somebody may have to type a password. */
#define CALL_PATIENCE (120 * USEC_PER_SEC)

static int no_daemon(const char *what, const char *dev)
{
	if (state_daemon_runs()) {
		fprintf(stderr,
			"smmu-rasd runs, but cannot be asked to %s %s: it is not on the system "
			"bus. See: journalctl -u smmu-rasd\n",
			what, dev);
		return CTL_NO_DAEMON;
	}
	fprintf(stderr,
		"smmu-rasd does not run, so nobody can %s %s; start it with: systemctl start "
		"smmu-rasd\n",
		what, dev);
	return CTL_NO_DAEMON;
}

/* Does the daemon do something about it, or will it? */
static bool is_at_work(const char *dev)
{
	enum recovery_state state = ctl_recovery_state(dev);

	return state == RECOVERY_QUEUED || state == RECOVERY_RUNNING;
}

static int refused(const char *what, const char *dev, const sd_bus_error *error, int r)
{
	const char *reason = error->message ? error->message : strerror(-r);

	if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
		return no_daemon(what, dev);
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
		fprintf(stderr, "You may not %s %s; try it as root, with sudo smmu-rasctl\n", what,
			dev);
		return CTL_REFUSED;
	}
	/* Most reasons name the device themselves. */
	fprintf(stderr, "smmu-rasd does not %s %s: %s", what,
		strncmp(reason, dev, strlen(dev)) == 0 ? "it" : dev, VISIBLE(reason));
	if (is_at_work(dev))
		fprintf(stderr, "; to follow: smmu-rasctl monitor %s", dev);
	fputc('\n', stderr);
	return sd_bus_error_has_name(error, "org.smmuras1.Error.NoSuchDevice") ? CTL_NO_DEVICE
									       : CTL_REFUSED;
}

static int bus_open(sd_bus **ret)
{
	int r = sd_bus_new(ret);

	if (r >= 0)
		r = sd_bus_set_address(*ret, host_bus_address());
	if (r >= 0)
		r = sd_bus_set_bus_client(*ret, true);
	if (r >= 0)
		r = sd_bus_start(*ret);
	if (r >= 0)
		return CTL_OK;
	fprintf(stderr,
		"Cannot reach the system bus: %s; smmu-rasd is asked over it. See: systemctl "
		"status dbus\n",
		strerror(-r));
	return CTL_NO_DAEMON;
}

/* Calls @method; without @dev it takes no arguments, and without @force no second one. */
static int call(sd_bus *bus, const char *method, const char *dev, const bool *force,
		sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r = sd_bus_message_new_method_call(bus, &message, BUS_NAME, BUS_PATH, BUS_INTERFACE,
					       method);

	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(message, true);
	if (r >= 0 && dev)
		r = sd_bus_message_append(message, "s", dev);
	if (r >= 0 && force)
		r = sd_bus_message_append(message, "b", (int)*force);
	if (r >= 0)
		r = sd_bus_call(bus, message, CALL_PATIENCE, error, NULL);
	return r;
}

static int ask(const char *method, const char *what, const char *dev, const bool *force)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	int r = bus_open(&bus);

	if (r != CTL_OK)
		return r;
	r = call(bus, method, dev, force, &error);
	return r < 0 ? refused(what, dev, &error, r) : CTL_OK;
}

int bus_call_recover(const char *dev, bool force)
{
	return ask("Recover", "recover", dev, &force);
}

int bus_call_isolate(const char *dev)
{
	return ask("Isolate", "isolate", dev, NULL);
}

int bus_call_reload(char *mistake, size_t size)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	int r = bus_open(&bus);

	mistake[0] = '\0';
	if (r != CTL_OK)
		return r;
	r = call(bus, "Reload", NULL, NULL, &error);
	if (r >= 0)
		return CTL_OK;
	if (sd_bus_error_has_name(&error, "org.smmuras1.Error.PolicyRefused") && error.message) {
		str_copy(mistake, size, error.message);
		return CTL_FAILURE;
	}
	return refused("reload", "the policy", &error, r);
}
