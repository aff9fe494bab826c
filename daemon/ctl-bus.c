// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-bus.h"

#include <errno.h>
#include <systemd/sd-bus.h>

#define BUS_NAME      "org.smmuras1"
#define BUS_PATH      "/org/smmuras1"
#define BUS_INTERFACE "org.smmuras1.Manager"
/* Somebody may have to type a password. */
#define CALL_PATIENCE (120 * USEC_PER_SEC)

static int no_daemon(const char *what, const char *dev)
{
	if (state_daemon_runs()) {
		fprintf(stderr,
			"smmu-rasd runs, but cannot be asked to %s %s: it is not on the "
			"system bus. See: journalctl -u smmu-rasd\n",
			what, dev);
		return CTL_NO_DAEMON;
	}
	fprintf(stderr,
		"smmu-rasd does not run, so nobody can %s %s; start it with: systemctl start "
		"smmu-rasd\n",
		what, dev);
	return CTL_NO_DAEMON;
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
		fprintf(stderr, "You may not %s %s; try it as root: sudo smmu-rasctl %s %s\n", what,
			dev, what, dev);
		return CTL_REFUSED;
	}
	fprintf(stderr, "smmu-rasd does not %s %s: %s\n", what, dev, VISIBLE(reason));
	return sd_bus_error_has_name(error, "org.smmuras1.Error.NoSuchDevice") ? CTL_NO_DEVICE
									       : CTL_REFUSED;
}

static int call(const char *method, const char *what, const char *dev, const bool *force)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	int r = sd_bus_open_system(&bus);

	if (r < 0) {
		fprintf(stderr, "Cannot reach the system bus: %s; smmu-rasd is asked over it\n",
			strerror(-r));
		return CTL_NO_DAEMON;
	}
	r = sd_bus_message_new_method_call(bus, &message, BUS_NAME, BUS_PATH, BUS_INTERFACE,
					   method);
	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(message, true);
	if (r >= 0)
		r = sd_bus_message_append(message, "s", dev);
	if (r >= 0 && force)
		r = sd_bus_message_append(message, "b", (int)*force);
	if (r >= 0)
		r = sd_bus_call(bus, message, CALL_PATIENCE, &error, NULL);
	return r < 0 ? refused(what, dev, &error, r) : CTL_OK;
}

int bus_call_recover(const char *dev, bool force)
{
	return call("Recover", "recover", dev, &force);
}

int bus_call_isolate(const char *dev)
{
	return call("Isolate", "isolate", dev, NULL);
}
