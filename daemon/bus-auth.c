// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may change anything.
 *
 * The bus is asked for the caller's user: root may do everything, with polkit or without. Anybody
 * else is polkit's to judge. The capabilities of a caller play no part: the bus does not know them,
 * and what /proc says about a process may be about its successor.
 */
#include "bus-internal.h"

#include <errno.h>

#include "log.h"

/*
 * What may be asked about at the same time: by one connection; while the bus has not said yet whose
 * it is, for which it takes no more than a moment; and of polkit, by one user and in all. What
 * others ask of polkit, and let wait for a password, does not count for root.
 */
#define AUTHS_PER_SENDER  8
#define AUTHS_UNKNOWN_MAX 4096
#define AUTHS_PER_USER	  32
#define AUTHS_POLKIT_MAX  1024
/* Somebody has to find the password and type it. */
#define INTERACTIVE_USEC (300 * USEC_PER_SEC)

struct auth {
	LIST_ENTRY(auth) link;
	struct bus *bus;
	sd_bus_message *call;
	sd_bus_slot *slot; /* of the question that is open */
	const char *action;
	char device[RAS_DEV_SIZE];
	bus_act act;
	uint32_t uid;
	bool asked; /* polkit; .uid is known then */
};

static void auth_free(struct auth *a)
{
	LIST_REMOVE(a, link);
	if (a->asked)
		a->bus->n_asked--;
	else
		a->bus->n_unknown--;
	sd_bus_slot_unref(a->slot);
	sd_bus_message_unref(a->call);
	free(a);
}

void bus_auth_stop(struct bus *b)
{
	struct auth *a;

	while ((a = LIST_FIRST(&b->auths)))
		auth_free(a);
}

static void deny(struct auth *a, const char *name, const char *why)
{
	(void)sd_bus_reply_method_errorf(a->call, name, "%s", why);
	auth_free(a);
}

static void allow(struct auth *a)
{
	int r = sd_bus_message_rewind(a->call, true);

	if (r >= 0)
		r = a->act(a->bus, a->call, a->uid);
	if (r < 0)
		(void)sd_bus_reply_method_errno(a->call, r, NULL);
	auth_free(a);
}

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	struct auth *a = userdata;
	int authorized = 0;
	int challenge = 0;

	if (sd_bus_message_is_method_error(reply, NULL)) {
		log_debug("polkit cannot be asked about %s: %s", a->action,
			  sd_bus_message_get_error(reply)->message);
		deny(a, SD_BUS_ERROR_ACCESS_DENIED,
		     "Only root may do this: polkit, which could allow it to others, does not "
		     "answer");
		return 0;
	}
	if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") <= 0 ||
	    sd_bus_message_read(reply, "bb", &authorized, &challenge) < 0)
		deny(a, SD_BUS_ERROR_ACCESS_DENIED, "polkit's answer cannot be understood");
	else if (authorized)
		allow(a);
	else if (challenge)
		deny(a, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
		     "This needs a password; use a program that asks for it, or root");
	else
		deny(a, SD_BUS_ERROR_ACCESS_DENIED, "Only an administrator may do this");
	return 0;
}

/* https://www.freedesktop.org/software/polkit/docs/latest/eggdbus-interface-org.freedesktop.PolicyKit1.Authority.html
 */
static int ask_polkit(struct auth *a)
{
	bool interactive = sd_bus_message_get_allow_interactive_authorization(a->call) > 0;
	sd_bus_message *question = NULL;
	int r = sd_bus_message_new_method_call(a->bus->bus, &question, "org.freedesktop.PolicyKit1",
					       "/org/freedesktop/PolicyKit1/Authority",
					       "org.freedesktop.PolicyKit1.Authority",
					       "CheckAuthorization");

	if (r >= 0)
		r = sd_bus_message_append(question, "(sa{sv})s", "system-bus-name", 1, "name", "s",
					  sd_bus_message_get_sender(a->call), a->action);
	if (r >= 0 && a->device[0])
		r = sd_bus_message_append(question, "a{ss}", 1, "device", a->device);
	else if (r >= 0)
		r = sd_bus_message_append(question, "a{ss}", 0);
	if (r >= 0)
		r = sd_bus_message_append(question, "us", (uint32_t)interactive, "");
	if (r >= 0) {
		a->slot = sd_bus_slot_unref(a->slot);
		r = sd_bus_call_async(a->bus->bus, &a->slot, question, on_polkit, a,
				      interactive ? INTERACTIVE_USEC : 0);
	}
	sd_bus_message_unref(question);
	return r;
}

static bool may_ask(const struct bus *b, uint32_t uid)
{
	unsigned int n = 0;

	for (const struct auth *a = LIST_FIRST(&b->auths); a; a = LIST_NEXT(a, link))
		n += a->asked && a->uid == uid;
	return n < AUTHS_PER_USER && b->n_asked < AUTHS_POLKIT_MAX;
}

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	struct auth *a = userdata;

	if (sd_bus_message_is_method_error(reply, NULL) ||
	    sd_bus_message_read(reply, "u", &a->uid) < 0) {
		deny(a, SD_BUS_ERROR_ACCESS_DENIED, "The bus does not say who you are");
		return 0;
	}
	if (a->uid == 0) {
		allow(a);
		return 0;
	}
	if (!may_ask(a->bus, a->uid)) {
		deny(a, SD_BUS_ERROR_LIMITS_EXCEEDED, "Too many calls wait for an answer");
		return 0;
	}
	a->asked = true;
	a->bus->n_unknown--;
	a->bus->n_asked++;
	if (ask_polkit(a) < 0)
		deny(a, SD_BUS_ERROR_ACCESS_DENIED, "polkit cannot be asked");
	return 0;
}

int bus_authorize(struct bus *b, sd_bus_message *call, const char *action, const char *device,
		  bus_act act, sd_bus_error *error)
{
	const char *sender = sd_bus_message_get_sender(call);
	unsigned int mine = 0;
	struct auth *a;
	int r;

	if (!sender)
		return -EACCES;
	for (a = LIST_FIRST(&b->auths); a; a = LIST_NEXT(a, link))
		mine += streq(sd_bus_message_get_sender(a->call), sender);
	if (mine >= AUTHS_PER_SENDER || b->n_unknown >= AUTHS_UNKNOWN_MAX)
		return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
					"Too many calls wait for an answer");
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->bus = b;
	a->call = sd_bus_message_ref(call);
	a->action = action;
	a->act = act;
	if (device)
		str_copy(a->device, sizeof(a->device), device);
	LIST_INSERT_HEAD(&b->auths, a, link);
	b->n_unknown++;
	r = sd_bus_call_method_async(b->bus, &a->slot, "org.freedesktop.DBus",
				     "/org/freedesktop/DBus", "org.freedesktop.DBus",
				     "GetConnectionUnixUser", on_user, a, "s", sender);
	if (r < 0) {
		auth_free(a);
		return r;
	}
	return 1;
}
