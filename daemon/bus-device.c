// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /org/smmuras1/device/...: one object for each device that the daemon knows. The objects are made
 * up when somebody asks, so that ten thousand devices cost nothing while nobody does.
 */
#include "bus-internal.h"

#include <errno.h>
#include <time.h>

#include "log.h"

/* --- names ----------------------------------------------------------------------------------- */

int bus_device_path(const struct device *d, char **ret)
{
	char id[RAS_BUS_SIZE + RAS_DEV_SIZE + 1];

	/* PCI addresses alone are short and well known; no other bus has a name with a slash. */
	if (streq(d->record.bus, "pci"))
		str_copy(id, sizeof(id), d->record.dev);
	else
		snprintf(id, sizeof(id), "%s/%s", d->record.bus, d->record.dev);
	return sd_bus_path_encode(BUS_DEVICE_PATH, id, ret);
}

static struct device *device_by_path(const struct bus *b, const char *path)
{
	_cleanup_free_ char *id = NULL;
	char *slash;

	if (sd_bus_path_decode(path, BUS_DEVICE_PATH, &id) <= 0)
		return NULL;
	slash = strchr(id, '/');
	if (!slash)
		return device_find(b->manager, "pci", id);
	*slash = '\0';
	return device_find(b->manager, id, slash + 1);
}

static int find_object(sd_bus *bus _unused_, const char *path, const char *iface _unused_,
		       void *userdata, void **ret, sd_bus_error *error _unused_)
{
	*ret = device_by_path(userdata, path);
	return *ret ? 1 : 0;
}

static int enumerate(sd_bus *bus _unused_, const char *prefix _unused_, void *userdata, char ***ret,
		     sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	char **paths = calloc(b->manager->n_devices + 1, sizeof(*paths));
	struct device *d;
	size_t n = 0;
	int r = paths ? 0 : -ENOMEM;

	if (!paths)
		return r;
	foreach_device (d, &b->manager->devices, all) {
		r = bus_device_path(d, &paths[n]);
		if (r < 0)
			break;
		n++;
	}
	if (r < 0) {
		while (n > 0)
			free(paths[--n]);
		free(paths);
		return r;
	}
	*ret = paths;
	return 0;
}

/* --- what changed ---------------------------------------------------------------------------- */

/* us of CLOCK_REALTIME; remembered, because the two clocks are never read at the same instant. */
static uint64_t fence_time(struct device *d)
{
	uint64_t now = now_usec(CLOCK_BOOTTIME);
	uint64_t begun = d->kernel.fence_time / NSEC_PER_USEC;

	if (d->kernel.fence_time == 0)
		return 0;
	if (d->bus.fence_time != d->kernel.fence_time)
		d->bus.fence_time_realtime =
			now_usec(CLOCK_REALTIME) - (now > begun ? now - begun : 0);
	d->bus.fence_time = d->kernel.fence_time;
	return d->bus.fence_time_realtime;
}

/* Where the value of a property comes from, as far as it takes to see that it is another one. */
struct source {
	const char *property;
	size_t offset[2];
	size_t size[2]; /* 0: there is none; TEXT: up to its NUL */
};

#define TEXT SIZE_MAX
#define PLAIN(field)                                                                               \
	{offsetof(struct device, field)},                                                          \
	{                                                                                          \
		sizeof(((struct device *)NULL)->field)                                             \
	}
#define STRING(field)                                                                              \
	{offsetof(struct device, field)},                                                          \
	{                                                                                          \
		TEXT                                                                               \
	}
#define STRINGS(field1, field2)                                                                    \
	{offsetof(struct device, field1), offsetof(struct device, field2)},                        \
	{                                                                                          \
		TEXT, TEXT                                                                         \
	}
#define PLAINS(field1, field2)                                                                     \
	{offsetof(struct device, field1), offsetof(struct device, field2)},                        \
	{                                                                                          \
		sizeof(((struct device *)NULL)->field1), sizeof(((struct device *)NULL)->field2)   \
	}

static const struct source sources[] = {
	{"State", PLAIN(kernel.state)},
	{"Reason", PLAIN(kernel.reason)},
	{"Driver", STRINGS(kernel.driver, record.driver)},
	{"Iommu", STRING(kernel.iommu)},
	{"Group", PLAIN(kernel.group)},
	{"StreamIds", PLAINS(kernel.stream_ids, kernel.n_stream_ids)},
	{"FenceId", PLAINS(kernel.fence_id, record.fence_id)},
	{"FenceTime", PLAIN(kernel.fence_time)},
	{"FenceCount", PLAIN(kernel.fence_count)},
	{"Suppressed", PLAIN(kernel.suppressed)},
	{"Recovery", PLAIN(record.state)},
	{"Attempts", PLAIN(record.attempts)},
	{"Rule", STRING(record.rule)},
	{"Step", STRING(record.step)},
	{"Note", STRING(record.note)},
	{"Since", PLAIN(record.since)},
	{"Next", PLAIN(record.next)},
	{"History", PLAIN(record.n_history)}, /* and the last entry, see print_of() */
};
#define HISTORY (ARRAY_SIZE(sources) - 1)
_Static_assert(ARRAY_SIZE(sources) == BUS_DEVICE_PROPERTIES, "bus.h has the number");

static uint64_t print_of(const struct device *d, const struct source *source)
{
	uint64_t print = HASH_INIT;

	for (size_t i = 0; i < 2 && source->size[i] > 0; i++) {
		const char *value = (const char *)d + source->offset[i];

		print = hash_bytes(print, value,
				   source->size[i] == TEXT ? strlen(value) + 1 : source->size[i]);
	}
	/* A full history loses its first entry for each new one. */
	if (source == &sources[HISTORY] && d->record.n_history > 0)
		print = hash_bytes(print, &d->record.history[d->record.n_history - 1],
				   sizeof(d->record.history[0]));
	return print;
}

void bus_device_take_prints(struct device *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		d->bus.prints[i] = print_of(d, &sources[i]);
}

int bus_device_tell(struct bus *b, struct device *d)
{
	char *names[ARRAY_SIZE(sources) + 1];
	_cleanup_free_ char *path = NULL;
	size_t n = 0;
	int r = bus_device_path(d, &path);

	if (r < 0)
		return r;
	if (!d->bus.announced) {
		d->bus.announced = true;
		bus_device_take_prints(d);
		return sd_bus_emit_interfaces_added(b->bus, path, BUS_DEVICE_INTERFACE, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		uint64_t print = print_of(d, &sources[i]);

		if (print == d->bus.prints[i])
			continue;
		d->bus.prints[i] = print;
		names[n++] = (char *)(uintptr_t)sources[i].property;
	}
	names[n] = NULL;
	return n == 0 ? 0
		      : sd_bus_emit_properties_changed_strv(b->bus, path, BUS_DEVICE_INTERFACE,
							    names);
}

/* --- properties ------------------------------------------------------------------------------ */

/* @userdata is the string itself: what is no UTF-8 would cost us the connection. */
static int get_text(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		    const char *property _unused_, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	return sd_bus_message_append(reply, "s", VISIBLE((const char *)userdata));
}

static int get_word(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		    const char *property, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	const struct device *d = userdata;
	const char *word;

	if (streq(property, "State"))
		word = d->kernel.state ? ras_state_name(d->kernel.state) : "unknown";
	else if (streq(property, "Reason"))
		word = d->kernel.reason ? ras_reason_name(d->kernel.reason) : "";
	else if (streq(property, "Recovery"))
		word = recovery_state_name(d->record.state);
	else
		word = d->kernel.driver[0] ? d->kernel.driver : d->record.driver;
	return sd_bus_message_append(reply, "s", VISIBLE(word));
}

static int get_number(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		      const char *property, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	struct device *d = userdata;
	uint64_t value;

	if (streq(property, "FenceId"))
		value = d->kernel.fence_id ? d->kernel.fence_id : d->record.fence_id;
	else if (streq(property, "FenceTime"))
		value = fence_time(d);
	else
		value = d->kernel.fence_count;
	return sd_bus_message_append(reply, "t", value);
}

static int get_stream_ids(sd_bus *bus _unused_, const char *path _unused_,
			  const char *iface _unused_, const char *property _unused_,
			  sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	const struct device *d = userdata;
	size_t n = d->kernel.n_stream_ids;

	if (n > RAS_STREAM_IDS_MAX)
		n = RAS_STREAM_IDS_MAX;
	return sd_bus_message_append_array(reply, 'u', d->kernel.stream_ids,
					   n * sizeof(d->kernel.stream_ids[0]));
}

static int get_history(sd_bus *bus _unused_, const char *path _unused_, const char *iface _unused_,
		       const char *property _unused_, sd_bus_message *reply, void *userdata,
		       sd_bus_error *error _unused_)
{
	const struct device *d = userdata;
	int r = sd_bus_message_open_container(reply, 'a', "(usitts)");

	for (size_t i = 0; r >= 0 && i < d->record.n_history; i++) {
		const struct step_result *result = &d->record.history[i];

		r = sd_bus_message_append(reply, "(usitts)", result->attempt, VISIBLE(result->step),
					  result->error, result->duration, result->time,
					  VISIBLE(result->note));
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- methods --------------------------------------------------------------------------------- */

static int answer(sd_bus_message *call, int r, const char *reason)
{
	const char *name;

	if (r >= 0)
		return sd_bus_reply_method_return(call, NULL);
	switch (r) {
	case -ENODEV:
		name = BUS_ERROR_NO_SUCH_DEVICE;
		break;
	case -ENOENT:
		name = BUS_ERROR_NOT_FENCED;
		break;
	case -EALREADY:
		name = BUS_ERROR_BUSY;
		break;
	case -EBUSY:
		name = BUS_ERROR_STUCK;
		break;
	default:
		name = SD_BUS_ERROR_FAILED;
		break;
	}
	return sd_bus_reply_method_errorf(call, name, "%s", VISIBLE(reason));
}

/* Who asked is told before what comes of it. */
static void tell_who(struct bus *b, const char *dev, const char *what, uint32_t uid)
{
	const struct device *d = device_find(b->manager, "pci", dev);

	if (d)
		report_asked(d, what, uid);
}

int bus_act_recover(struct bus *b, sd_bus_message *call, const char *dev, bool force, uint32_t uid)
{
	char reason[OPERATOR_REASON_SIZE] = "";

	tell_who(b, dev, force ? "recover it, whatever depends on it" : "recover it", uid);
	return answer(call, device_request_recover(b->manager, dev, force, reason), reason);
}

int bus_act_isolate(struct bus *b, sd_bus_message *call, const char *dev, uint32_t uid)
{
	char reason[OPERATOR_REASON_SIZE] = "";

	tell_who(b, dev, "leave it fenced", uid);
	return answer(call, device_request_isolate(b->manager, dev, reason), reason);
}

/* The name for an operator's request; the device itself may be freed by it. */
static int name_by_path(const struct bus *b, const char *path, char ret[static RAS_DEV_SIZE])
{
	const struct device *d = device_by_path(b, path);

	if (!d)
		return -ENODEV;
	return str_copy(ret, RAS_DEV_SIZE, d->record.dev) ? 0 : -ENODEV;
}

static int act_recover(struct bus *b, sd_bus_message *call, uint32_t uid)
{
	char dev[RAS_DEV_SIZE];
	int force = 0;
	int r = sd_bus_message_read(call, "b", &force);

	if (r < 0)
		return r;
	if (name_by_path(b, sd_bus_message_get_path(call), dev) < 0)
		return answer(call, -ENODEV, "The device is gone");
	return bus_act_recover(b, call, dev, force, uid);
}

static int act_isolate(struct bus *b, sd_bus_message *call, uint32_t uid)
{
	char dev[RAS_DEV_SIZE];

	if (name_by_path(b, sd_bus_message_get_path(call), dev) < 0)
		return answer(call, -ENODEV, "The device is gone");
	return bus_act_isolate(b, call, dev, uid);
}

static int method_recover(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct device *d = userdata;
	int force = 0;
	int r = sd_bus_message_read(call, "b", &force);

	return r < 0 ? r
		     : bus_authorize(d->manager->bus, call,
				     force ? BUS_ACTION_RECOVER_FORCE : BUS_ACTION_RECOVER,
				     d->record.dev, act_recover, error);
}

static int method_isolate(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct device *d = userdata;

	return bus_authorize(d->manager->bus, call, BUS_ACTION_ISOLATE, d->record.dev, act_isolate,
			     error);
}

#define CHANGES	      SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define OFFSET(field) offsetof(struct device, field)

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_text, OFFSET(record.dev), SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Bus", "s", get_text, OFFSET(record.bus), SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("State", "s", get_word, 0, CHANGES),
	SD_BUS_PROPERTY("Reason", "s", get_word, 0, CHANGES),
	SD_BUS_PROPERTY("Driver", "s", get_word, 0, CHANGES),
	SD_BUS_PROPERTY("Iommu", "s", get_text, OFFSET(kernel.iommu), CHANGES),
	SD_BUS_PROPERTY("Group", "u", NULL, OFFSET(kernel.group), CHANGES),
	SD_BUS_PROPERTY("StreamIds", "au", get_stream_ids, 0, CHANGES),
	SD_BUS_PROPERTY("FenceId", "t", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("FenceTime", "t", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("FenceCount", "t", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Suppressed", "t", NULL, OFFSET(kernel.suppressed), CHANGES),
	SD_BUS_PROPERTY("Recovery", "s", get_word, 0, CHANGES),
	SD_BUS_PROPERTY("Attempts", "u", NULL, OFFSET(record.attempts), CHANGES),
	SD_BUS_PROPERTY("Rule", "s", get_text, OFFSET(record.rule), CHANGES),
	SD_BUS_PROPERTY("Step", "s", get_text, OFFSET(record.step), CHANGES),
	SD_BUS_PROPERTY("Note", "s", get_text, OFFSET(record.note), CHANGES),
	SD_BUS_PROPERTY("Since", "t", NULL, OFFSET(record.since), CHANGES),
	SD_BUS_PROPERTY("Next", "t", NULL, OFFSET(record.next), CHANGES),
	SD_BUS_PROPERTY("History", "a(usitts)", get_history, 0, CHANGES),
	SD_BUS_METHOD_WITH_ARGS("Recover", SD_BUS_ARGS("b", force), SD_BUS_NO_RESULT,
				method_recover, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Isolate", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_isolate,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int bus_device_register(struct bus *b)
{
	int r = sd_bus_add_fallback_vtable(b->bus, NULL, BUS_DEVICE_PATH, BUS_DEVICE_INTERFACE,
					   vtable, find_object, b);

	return r < 0 ? r : sd_bus_add_node_enumerator(b->bus, NULL, BUS_DEVICE_PATH, enumerate, b);
}
