// SPDX-License-Identifier: GPL-2.0-or-later
/* What happens in a simulation: config/smmu-rasctl.schema.json, and recorded lines of monitor. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <time.h>

#include "ctl-sim.h"
#include "json-locate.h"
#include "pci-name.h"

struct context {
	struct sim *sim;
	const char *file;
	const char *text;
	char *error;
};

static int fail(struct context *c, const struct json_path *path, const char *format, ...)
	_printf_(3, 4);

static int fail(struct context *c, const struct json_path *path, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	json_complain(c->error, SIM_ERROR_SIZE, c->file, c->text, path, false, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int no_memory(struct context *c)
{
	snprintf(c->error, SIM_ERROR_SIZE, "out of memory, or too many devices or events");
	return -ENOMEM;
}

/* --- the made-up machine ---------------------------------------------------------------------- */

struct sim_device *sim_device(struct sim *sim, const char *dev)
{
	struct sim_device *d;

	for (size_t i = 0; i < sim->n_devices; i++)
		if (streq(sim->devices[i]->dev, dev))
			return sim->devices[i];
	if (sim->n_devices == SIM_DEVICES_MAX)
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	str_copy(d->dev, sizeof(d->dev), dev);
	str_copy(d->values[MATCH_ADDRESS], sizeof(d->values[MATCH_ADDRESS]), dev);
	d->kernel = IOMMU_RAS_STATE_ACTIVE;
	d->timer = USEC_INFINITY;
	sim->devices[sim->n_devices++] = d;
	return d;
}

struct sim_event *sim_event(struct sim *sim, enum sim_event_type type, struct sim_device *device,
			    uint64_t at)
{
	struct sim_event *event;

	if (sim->n_events == SIM_EVENTS_MAX)
		return NULL;
	if (sim->n_events == sim->events_size) {
		size_t size = sim->events_size ? 2 * sim->events_size : 16;
		struct sim_event *grown = reallocarray(sim->events, size, sizeof(*grown));

		if (!grown)
			return NULL;
		sim->events = grown;
		sim->events_size = size;
	}
	event = &sim->events[sim->n_events];
	*event = (struct sim_event){
		.at = at, .order = sim->n_events++, .type = type, .device = device};
	str_copy(event->reason, sizeof(event->reason),
		 ras_reason_name(IOMMU_RAS_REASON_ATC_TIMEOUT));
	return event;
}

void sim_clear(struct sim *sim)
{
	for (size_t i = 0; i < sim->n_devices; i++)
		free(sim->devices[i]);
	free(sim->events);
	sim->n_devices = 0;
	sim->events = NULL;
	sim->n_events = 0;
}

static const char *const event_names[_SIM_EVENT_MAX] = {
	[SIM_FENCED] = "fenced",   [SIM_UNFENCED] = "unfenced", [SIM_REMOVED] = "removed",
	[SIM_RECOVER] = "recover", [SIM_FORCE] = "force",	[SIM_ISOLATE] = "isolate",
};

const char *sim_event_name(enum sim_event_type type)
{
	return event_names[type];
}

static int compare_events(const void *a, const void *b)
{
	const struct sim_event *x = a;
	const struct sim_event *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* --- parts of both forms ---------------------------------------------------------------------- */

static int parse_device_name(struct context *c, const struct json_path *path, json_t *value,
			     struct sim_device **ret)
{
	struct pci_address address;
	char name[PCI_NAME_SIZE];

	if (!json_is_string(value) || pci_address_parse(json_string_value(value), &address) < 0)
		return fail(c, path, "write the device as lspci does, such as \"0000:01:00.0\"");
	*ret = sim_device(c->sim, pci_address_format(&address, name));
	return *ret ? 0 : no_memory(c);
}

static int parse_span(struct context *c, const struct json_path *path, json_t *value, uint64_t *ret)
{
	if (!json_is_string(value) || parse_usec(json_string_value(value), ret) < 0)
		return fail(c, path, "expected a time such as \"1.5s\" or \"1min 30s\"");
	return 0;
}

static int parse_outcome(struct context *c, const struct json_path *path, json_t *value,
			 struct sim_outcomes *ret)
{
	struct sim_outcome outcome = {.takes = 100 * USEC_PER_MSEC};
	json_t *takes = json_is_object(value) ? json_object_get(value, "takes") : NULL;
	const char *result =
		json_string_value(json_is_object(value) ? json_object_get(value, "result") : value);

	if (result && streq(result, "hang")) {
		outcome.result = SIM_HANG;
		outcome.takes = USEC_INFINITY;
	} else if (result && streq(result, "fail")) {
		outcome.result = SIM_FAIL;
	} else if (!result || !streq(result, "ok")) {
		return fail(c, path,
			    "expected \"ok\", \"fail\" or \"hang\", or {\"result\": one of them, "
			    "\"takes\": a time}");
	}
	if (takes) {
		struct json_path member = {.parent = path, .key = "takes"};
		int r = parse_span(c, &member, takes, &outcome.takes);

		if (r < 0)
			return r;
		/* What comes back has an end; whether that is in time is the rule's to say. */
		if (outcome.result == SIM_HANG)
			outcome.result = SIM_OK;
	}
	if (ret->n == SIM_OUTCOMES_MAX)
		return fail(c, path, "more than %d results of one step", SIM_OUTCOMES_MAX);
	ret->outcome[ret->n++] = outcome;
	return 0;
}

static int parse_results(struct context *c, const struct json_path *path, json_t *results,
			 struct sim_outcomes outcomes[_STEP_KIND_MAX])
{
	const char *key;
	json_t *value;

	if (!json_is_object(results))
		return fail(c, path, "expected an object of steps, such as {\"reset\": \"fail\"}");
	json_object_foreach(results, key, value)
	{
		struct json_path member = {.parent = path, .key = key};
		enum step_kind kind = 0;
		int r = 0;

		while (kind < _STEP_KIND_MAX && !streq(step_name(kind), key))
			kind++;
		if (kind == _STEP_KIND_MAX)
			return fail(c, &member, "there is no step of that name");
		if (!json_is_array(value)) {
			r = parse_outcome(c, &member, value, &outcomes[kind]);
		} else {
			for (size_t i = 0; i < json_array_size(value) && r == 0; i++) {
				struct json_path element = {.parent = &member, .index = i};

				r = parse_outcome(c, &element, json_array_get(value, i),
						  &outcomes[kind]);
			}
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the made-up form ------------------------------------------------------------------------- */

static int parse_in_use(struct context *c, const struct json_path *path, json_t *value,
			unsigned int *ret)
{
	static const char *const names[] = {"mounted", "swap", "default-route", "vfio"};

	if (!json_is_array(value))
		return fail(c, path, "expected a list, such as [\"mounted\"]");
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct json_path element = {.parent = path, .index = i};
		const char *name = json_string_value(json_array_get(value, i));
		size_t bit = 0;

		while (name && bit < ARRAY_SIZE(names) && !streq(name, names[bit]))
			bit++;
		if (!name || bit == ARRAY_SIZE(names))
			return fail(
				c, &element,
				"expected \"mounted\", \"swap\", \"default-route\" or \"vfio\"");
		*ret |= 1U << bit;
	}
	return 0;
}

static int parse_device_key(struct context *c, const struct json_path *path, const char *key,
			    json_t *value, struct sim_device *d)
{
	const char *text = json_string_value(value);

	if (streq(key, "device") || streq(key, "description"))
		return 0;
	if (streq(key, "in_use"))
		return parse_in_use(c, path, value, &d->in_use);
	if (streq(key, "results"))
		return parse_results(c, path, value, d->outcomes);
	if (!text)
		return fail(c, path, "expected a string");
	if (streq(key, "group")) {
		if (!str_copy(d->group, sizeof(d->group), text))
			return fail(c, path, "longer than a group's name");
		return 0;
	}
	if (streq(key, "id"))
		key = match_key_name(MATCH_DEVICE);
	for (enum match_key k = 0; k < _MATCH_MAX; k++) {
		if (!streq(key, match_key_name(k)))
			continue;
		if (!str_copy(d->values[k], sizeof(d->values[k]), text))
			return fail(c, path, "too long");
		return 0;
	}
	return fail(c, path,
		    "unknown key; use device, driver, vendor, id, class, iommu, slot, group, "
		    "in_use or results");
}

static int parse_devices(struct context *c, json_t *devices)
{
	struct json_path path = {.key = "devices"};

	if (!json_is_array(devices))
		return fail(c, &path, "expected a list of devices");
	for (size_t i = 0; i < json_array_size(devices); i++) {
		struct json_path element = {.parent = &path, .index = i};
		struct json_path name = {.parent = &element, .key = "device"};
		json_t *object = json_array_get(devices, i);
		struct sim_device *d = NULL;
		const char *key;
		json_t *value;
		int r;

		if (!json_is_object(object))
			return fail(c, &element, "expected an object");
		r = parse_device_name(c, json_object_get(object, "device") ? &name : &element,
				      json_object_get(object, "device"), &d);
		if (r < 0 || !d)
			return r;
		json_object_foreach(object, key, value)
		{
			struct json_path member = {.parent = &element, .key = key};

			r = parse_device_key(c, &member, key, value, d);
			if (r < 0)
				return r;
		}
		d->bound = d->values[MATCH_DRIVER][0] != '\0';
	}
	return 0;
}

static int parse_reason(struct context *c, const struct json_path *path, json_t *value,
			struct sim_event *event)
{
	const char *reason = json_string_value(value);

	for (uint32_t i = 1; reason && i <= IOMMU_RAS_REASON_ADMINISTRATIVE; i++) {
		if (streq(reason, ras_reason_name(i))) {
			str_copy(event->reason, sizeof(event->reason), reason);
			return 0;
		}
	}
	return fail(c, path,
		    "expected \"atc-timeout\", \"sync-timeout\", \"reset-failed\" or "
		    "\"administrative\"");
}

static int parse_event(struct context *c, const struct json_path *path, json_t *object)
{
	struct json_path at_path = {.parent = path, .key = "at"};
	struct json_path event_path = {.parent = path, .key = "event"};
	struct json_path device_path = {.parent = path, .key = "device"};
	struct json_path reason_path = {.parent = path, .key = "reason"};
	struct json_path results_path = {.parent = path, .key = "results"};
	const char *name = json_string_value(json_object_get(object, "event"));
	enum sim_event_type type = 0;
	struct sim_device *device = NULL;
	struct sim_event *event;
	uint64_t at = 0;
	int r = 0;

	if (!json_is_object(object))
		return fail(c, path, "expected an object");
	while (name && type < _SIM_EVENT_MAX && !streq(name, event_names[type]))
		type++;
	if (!name || type == _SIM_EVENT_MAX)
		return fail(c, name ? &event_path : path,
			    "expected an \"event\": fenced, unfenced, removed, recover, force or "
			    "isolate");
	if (json_object_get(object, "at"))
		r = parse_span(c, &at_path, json_object_get(object, "at"), &at);
	if (r == 0)
		r = parse_device_name(c, json_object_get(object, "device") ? &device_path : path,
				      json_object_get(object, "device"), &device);
	if (r < 0)
		return r;
	event = sim_event(c->sim, type, device, at);
	if (!event)
		return no_memory(c);
	if (json_object_get(object, "reason"))
		r = parse_reason(c, &reason_path, json_object_get(object, "reason"), event);
	if (r == 0 && json_object_get(object, "results"))
		r = parse_results(c, &results_path, json_object_get(object, "results"),
				  event->outcomes);
	return r;
}

static int parse_made_up(struct context *c, json_t *root)
{
	struct json_path path = {.key = "events"};
	json_t *devices = json_object_get(root, "devices");
	json_t *events = json_object_get(root, "events");
	int r = devices ? parse_devices(c, devices) : 0;

	if (r == 0 && !json_is_array(events))
		return fail(c, &path, "expected a list of events");
	for (size_t i = 0; i < json_array_size(events) && r == 0; i++) {
		struct json_path element = {.parent = &path, .index = i};

		r = parse_event(c, &element, json_array_get(events, i));
	}
	return r;
}

/* --- recorded lines --------------------------------------------------------------------------- */

/* "2026-01-31T12:34:56.000000Z" in us; 0 for something else. */
static uint64_t parse_time(const char *text)
{
	struct tm tm = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	unsigned int usec = 0;

	if (!rest)
		return 0;
	/* NOLINTNEXTLINE(cert-err34-c) */
	(void)sscanf(rest, ".%6u", &usec);
	return (uint64_t)timegm(&tm) * USEC_PER_SEC + usec;
}

/* Only what happened to a device counts; what the daemon made of it is what is to be found out. */
static int parse_recorded(struct context *c, json_t *line, uint64_t *begun)
{
	static const struct {
		const char *key;
		enum match_key match;
	} keys[] = {{"driver", MATCH_DRIVER}, {"iommu", MATCH_IOMMU}};
	const char *name = json_string_value(json_object_get(line, "event"));
	const char *reason = json_string_value(json_object_get(line, "reason"));
	uint64_t at = parse_time(json_string_value(json_object_get(line, "time")));
	json_t *group = json_object_get(line, "group");
	struct sim_device *d = NULL;
	struct sim_event *event;
	int r;

	if (!name || (!streq(name, "fenced") && !streq(name, "removed")))
		return 0;
	r = parse_device_name(c, NULL, json_object_get(line, "device"), &d);
	if (r < 0 || !d)
		return r;
	if (*begun == 0)
		*begun = at;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = json_string_value(json_object_get(line, keys[i].key));

		/* One that was unbound when it was fenced anew still is the driver of the device.
		 */
		if (value)
			str_copy(d->values[keys[i].match], sizeof(d->values[0]), value);
	}
	if (json_is_integer(group))
		snprintf(d->group, sizeof(d->group), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(group));
	d->bound = d->values[MATCH_DRIVER][0] != '\0';
	event = sim_event(c->sim, streq(name, "fenced") ? SIM_FENCED : SIM_REMOVED, d,
			  at > *begun ? at - *begun : 0);
	if (!event)
		return no_memory(c);
	if (reason)
		str_copy(event->reason, sizeof(event->reason), reason);
	return 0;
}

static int parse_lines(struct context *c, size_t len)
{
	const char *p = c->text;
	uint64_t begun = 0;
	unsigned int number = 1;

	while (p < c->text + len) {
		const char *end = memchr(p, '\n', (size_t)(c->text + len - p));
		size_t n = end ? (size_t)(end - p) : (size_t)(c->text + len - p);
		json_error_t error;
		json_t *line;
		int r;

		if (strspn(p, " \t\r") < n) {
			line = json_loadb(p, n, JSON_REJECT_DUPLICATES, &error);
			if (!line) {
				snprintf(c->error, SIM_ERROR_SIZE, "%s:%u:%d: %s", c->file, number,
					 error.column, error.text);
				return -EINVAL;
			}
			r = parse_recorded(c, line, &begun);
			json_decref(line);
			if (r < 0)
				return r;
		}
		p += n + 1;
		number++;
	}
	return 0;
}

int sim_read(struct sim *sim, const char *file, const char *text, size_t len,
	     char error[static SIM_ERROR_SIZE])
{
	struct context c = {.sim = sim, .file = file, .text = text, .error = error};
	json_error_t json_error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_error);
	const char *newline = memchr(text, '\n', len);
	int r;

	error[0] = '\0';
	if (root && json_object_get(root, "events")) {
		r = parse_made_up(&c, root);
	} else if (root && json_is_object(root) && json_object_get(root, "event")) {
		r = parse_lines(&c, len);
	} else if (root) {
		r = fail(&c, NULL,
			 "expected an object with \"events\", or lines of \"smmu-rasctl monitor "
			 "--json\"");
	} else if (newline && text[0] == '{' && newline > text + 1 && newline[-1] == '}') {
		/* A first line that is whole: there are more of them. */
		r = parse_lines(&c, len);
	} else {
		snprintf(error, SIM_ERROR_SIZE, "%s:%d:%d: %s", file, json_error.line,
			 json_error.column, json_error.text);
		r = -EINVAL;
	}
	json_decref(root);
	if (r == 0 && sim->n_events > 0)
		qsort(sim->events, sim->n_events, sizeof(*sim->events), compare_events);
	return r;
}
