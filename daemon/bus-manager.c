// SPDX-License-Identifier: GPL-2.0-or-later
/* /org/smmuras1: the daemon itself. */
#include "bus-internal.h"

#include <errno.h>

#include "log.h"
#include "pci-name.h"

#ifndef SMMU_RAS_VERSION
#define SMMU_RAS_VERSION "0"
#endif

/* --- properties ------------------------------------------------------------------------------ */

void bus_manager_count(const struct manager *m, struct bus_counts *ret)
{
	const struct device *d;
	bool family = m->events.family != 0;
	const char *sources = m->policy->sources ? m->policy->sources : "";

	*ret = (struct bus_counts){.print = HASH_INIT};
	foreach_device (d, &m->devices, all) {
		if (d->kernel.state == IOMMU_RAS_STATE_FENCED ||
		    d->kernel.state == IOMMU_RAS_STATE_SANITIZED)
			ret->fenced++;
		if (d->record.state == RECOVERY_QUEUED || d->record.state == RECOVERY_RUNNING ||
		    d->record.state == RECOVERY_STUCK || d->record.state == RECOVERY_BACKOFF)
			ret->recovering++;
		if (d->record.state == RECOVERY_ISOLATED)
			ret->isolated++;
	}
	ret->print = hash_bytes(ret->print, &family, sizeof(family));
	ret->print = hash_bytes(ret->print, &m->policy_refused, sizeof(m->policy_refused));
	ret->print = hash_bytes(ret->print, sources, strlen(sources));
	ret->print = hash_bytes(ret->print, m->policy_error, strlen(m->policy_error));
	ret->print = hash_bytes(ret->print, &m->force.digest, sizeof(m->force.digest));
	ret->print = hash_bytes(ret->print, &m->force.read, sizeof(m->force.read));
}

int bus_manager_tell(struct bus *b, const struct bus_counts *now)
{
	char *names[12];
	size_t n = 0;

	if (now->fenced != b->told.fenced)
		names[n++] = (char *)(uintptr_t) "Fenced";
	if (now->recovering != b->told.recovering)
		names[n++] = (char *)(uintptr_t) "Recovering";
	if (now->isolated != b->told.isolated)
		names[n++] = (char *)(uintptr_t) "Isolated";
	if (now->print != b->told.print) {
		names[n++] = (char *)(uintptr_t) "KernelSupport";
		names[n++] = (char *)(uintptr_t) "PolicyFiles";
		names[n++] = (char *)(uintptr_t) "PolicyRefused";
		names[n++] = (char *)(uintptr_t) "PolicyError";
		names[n++] = (char *)(uintptr_t) "PolicyTime";
		names[n++] = (char *)(uintptr_t) "PolicyDigest";
	}
	names[n] = NULL;
	b->told = *now;
	return n == 0 ? 0
		      : sd_bus_emit_properties_changed_strv(b->bus, BUS_PATH, BUS_MANAGER, names);
}

static int get_count(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		     const char *property, sd_bus_message *reply, void *userdata,
		     sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	struct bus_counts counts;

	bus_manager_count(b->manager, &counts);
	return sd_bus_message_append(reply, "u",
				     streq(property, "Fenced")	     ? counts.fenced
				     : streq(property, "Recovering") ? counts.recovering
								     : counts.isolated);
}

static int get_kernel_support(sd_bus *bus _unused_, const char *path _unused_,
			      const char *iface _unused_, const char *property _unused_,
			      sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;

	return sd_bus_message_append(reply, "b", b->manager->events.family != 0);
}

static int get_version(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		       const char *property _unused_, sd_bus_message *reply,
		       void *userdata _unused_, sd_bus_error *error _unused_)
{
	return sd_bus_message_append(reply, "s", SMMU_RAS_VERSION);
}

static int get_policy_files(sd_bus *bus _unused_, const char *path _unused_,
			    const char *iface _unused_, const char *property _unused_,
			    sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	_cleanup_free_ char *files = strdup(b->manager->policy->sources ?: "");
	char *rest = files;
	char *end;
	int r;

	if (!files)
		return -ENOMEM;
	r = sd_bus_message_open_container(reply, 'a', "s");
	for (; r >= 0 && *rest; rest = end ? end + 2 : rest + strlen(rest)) {
		end = strstr(rest, ", ");
		if (end)
			*end = '\0';
		r = sd_bus_message_append(reply, "s", VISIBLE(rest));
		if (!end)
			break;
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_policy_refused(sd_bus *bus _unused_, const char *path _unused_,
			      const char *iface _unused_, const char *property _unused_,
			      sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;

	return sd_bus_message_append(reply, "b", b->manager->policy_refused);
}

static int get_policy_error(sd_bus *bus _unused_, const char *path _unused_,
			    const char *iface _unused_, const char *property _unused_,
			    sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	char text[POLICY_ERROR_SIZE];

	return sd_bus_message_append(
		reply, "s",
		b->manager->policy_refused
			? str_visible(text, sizeof(text), b->manager->policy_error)
			: "");
}

static int get_policy_time(sd_bus *bus _unused_, const char *path _unused_,
			   const char *iface _unused_, const char *property _unused_,
			   sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;

	return sd_bus_message_append(reply, "t", b->manager->force.read);
}

static int get_policy_digest(sd_bus *bus _unused_, const char *path _unused_,
			     const char *iface _unused_, const char *property _unused_,
			     sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	uint64_t digest = b->manager->force.digest;
	char text[POLICY_DIGEST_SIZE];

	return sd_bus_message_append(reply, "s", digest ? policy_digest_text(digest, text) : "");
}

/* --- methods --------------------------------------------------------------------------------- */

/* What people paste is understood, as by smmu-rasctl. Returns @text if it is no PCI address. */
static const char *device_name(const char *text, char buf[static PCI_NAME_SIZE])
{
	struct pci_address address;

	return pci_address_parse(text, &address) >= 0 ? pci_address_format(&address, buf) : text;
}

static int act_recover(struct bus *b, sd_bus_message *call, uint32_t uid)
{
	char name[PCI_NAME_SIZE];
	const char *text = NULL;
	int force = 0;
	int r = sd_bus_message_read(call, "sb", &text, &force);

	return r < 0 ? r : bus_act_recover(b, call, device_name(text, name), force, uid);
}

static int act_isolate(struct bus *b, sd_bus_message *call, uint32_t uid)
{
	char name[PCI_NAME_SIZE];
	const char *text = NULL;
	int r = sd_bus_message_read(call, "s", &text);

	return r < 0 ? r : bus_act_isolate(b, call, device_name(text, name), uid);
}

static int act_reload(struct bus *b, sd_bus_message *call, uint32_t uid)
{
	log_notice("Reading the policy again, as user %u asked on the bus", uid);
	if (manager_reload(b->manager) < 0)
		return sd_bus_reply_method_errorf(call, BUS_ERROR_POLICY_REFUSED, "%s",
						  VISIBLE(b->manager->policy_error));
	return sd_bus_reply_method_return(call, NULL);
}

static int method_recover(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	char name[PCI_NAME_SIZE];
	const char *device = NULL;
	int force = 0;
	int r = sd_bus_message_read(call, "sb", &device, &force);

	return r < 0 ? r
		     : bus_authorize(userdata, call,
				     force ? BUS_ACTION_RECOVER_FORCE : BUS_ACTION_RECOVER,
				     VISIBLE(device_name(device, name)), act_recover, error);
}

static int method_isolate(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	char name[PCI_NAME_SIZE];
	const char *device = NULL;
	int r = sd_bus_message_read(call, "s", &device);

	return r < 0 ? r
		     : bus_authorize(userdata, call, BUS_ACTION_ISOLATE,
				     VISIBLE(device_name(device, name)), act_isolate, error);
}

static int method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	return bus_authorize(userdata, call, BUS_ACTION_RELOAD, NULL, act_reload, error);
}

/* UNPRIVILEGED: sd-bus would wait for the bus to tell who calls. bus_authorize() does not. */
static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("KernelSupport", "b", get_kernel_support, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PolicyFiles", "as", get_policy_files, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PolicyRefused", "b", get_policy_refused, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PolicyError", "s", get_policy_error, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PolicyTime", "t", get_policy_time, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PolicyDigest", "s", get_policy_digest, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Fenced", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Recovering", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Isolated", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_METHOD_WITH_ARGS("Recover", SD_BUS_ARGS("s", device, "b", force), SD_BUS_NO_RESULT,
				method_recover, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Isolate", SD_BUS_ARGS("s", device), SD_BUS_NO_RESULT,
				method_isolate, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int bus_manager_register(struct bus *b)
{
	int r = sd_bus_add_object_vtable(b->bus, NULL, BUS_PATH, BUS_MANAGER, vtable, b);

	return r < 0 ? r : sd_bus_add_object_manager(b->bus, NULL, BUS_PATH);
}
