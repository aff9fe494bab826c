// SPDX-License-Identifier: GPL-2.0-or-later
/* What is counted, and the daemon's file of it. */
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "host.h"

#define FILE_NAME "counters.json"
/* Bytes; 256 devices with all reasons are a quarter of it. */
#define FILE_MAX (256 * 1024)

/* From what a reset takes to what an operator sleeps through. */
const uint64_t metrics_buckets[METRICS_BUCKETS - 1] = {
	100 * USEC_PER_MSEC,  250 * USEC_PER_MSEC, 500 * USEC_PER_MSEC, USEC_PER_SEC,
	2500 * USEC_PER_MSEC, 5 * USEC_PER_SEC,	   10 * USEC_PER_SEC,	30 * USEC_PER_SEC,
	60 * USEC_PER_SEC,    300 * USEC_PER_SEC,
};

void metrics_count_fence(struct metrics *metrics, const char *dev, uint32_t reason)
{
	int i = name_set_add(&metrics->devices, dev);

	metrics->fences[i < 0 ? NAME_SET_MAX : i][reason < METRICS_REASONS ? reason : 0]++;
}

static size_t find_step(struct metrics *metrics, const char *step)
{
	for (size_t i = 0; i < metrics->n_steps; i++)
		if (streq(metrics->steps[i].name, step))
			return i;
	if (metrics->n_steps == METRICS_STEPS)
		return METRICS_STEPS - 1;
	if (metrics->n_steps == METRICS_STEPS - 1)
		step = "other";
	str_copy(metrics->steps[metrics->n_steps].name, sizeof(metrics->steps[0].name), step);
	return metrics->n_steps++;
}

void metrics_count_step(struct metrics *metrics, const char *step, bool timeout)
{
	size_t i = find_step(metrics, step[0] ? step : "prepare");

	if (timeout)
		metrics->steps[i].timeouts++;
	else
		metrics->steps[i].failures++;
}

void metrics_count_recovery(struct metrics *metrics, uint64_t usec)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS - 1 && usec > metrics_buckets[i])
		i++;
	metrics->results[METRICS_RECOVERED]++;
	metrics->duration[i]++;
	metrics->duration_sum += usec;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *numbers_to_json(const uint64_t *numbers, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(array, json_integer((json_int_t)numbers[i])) < 0)
			break;
	return array;
}

static void numbers_from_json(const json_t *array, uint64_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		json_int_t value = json_integer_value(json_array_get(array, i));

		ret[i] = value > 0 ? (uint64_t)value : 0;
	}
}

json_t *metrics_to_json(const struct metrics *metrics)
{
	json_t *fences = json_object();
	json_t *steps = json_object();
	char name[512];

	for (size_t i = 0; i < metrics->devices.n; i++)
		json_object_set_new(fences,
				    str_visible(name, sizeof(name), metrics->devices.names[i]),
				    numbers_to_json(metrics->fences[i], METRICS_REASONS));
	for (size_t i = 0; i < metrics->n_steps; i++)
		json_object_set_new(steps, str_visible(name, sizeof(name), metrics->steps[i].name),
				    json_pack("[I, I]", (json_int_t)metrics->steps[i].failures,
					      (json_int_t)metrics->steps[i].timeouts));
	return json_pack(
		"{s:i, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:b}", "version", 1, "fences",
		fences, "fences_of_others",
		numbers_to_json(metrics->fences[NAME_SET_MAX], METRICS_REASONS), "steps", steps,
		"results", numbers_to_json(metrics->results, _METRICS_RESULT_MAX), "duration",
		numbers_to_json(metrics->duration, METRICS_BUCKETS), "duration_sum",
		(json_int_t)metrics->duration_sum, "attempts", (json_int_t)metrics->attempts,
		"attempts_failed", (json_int_t)metrics->attempts_failed, "events_lost",
		(json_int_t)metrics->events_lost, "policy_refused", (int)metrics->policy_refused);
}

static uint64_t get_number(const json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value > 0 ? (uint64_t)value : 0;
}

void metrics_from_json(const json_t *json, struct metrics *ret)
{
	json_t *fences = json_object_get(json, "fences");
	json_t *steps = json_object_get(json, "steps");
	const char *key;
	json_t *value;

	*ret = (struct metrics){0};
	if (json_integer_value(json_object_get(json, "version")) != 1)
		return;
	json_object_foreach(fences, key, value)
	{
		int i = name_set_add(&ret->devices, key);

		numbers_from_json(value, ret->fences[i < 0 ? NAME_SET_MAX : i], METRICS_REASONS);
	}
	numbers_from_json(json_object_get(json, "fences_of_others"), ret->fences[NAME_SET_MAX],
			  METRICS_REASONS);
	json_object_foreach(steps, key, value)
	{
		uint64_t numbers[2];
		size_t i = find_step(ret, key);

		numbers_from_json(value, numbers, 2);
		ret->steps[i].failures = numbers[0];
		ret->steps[i].timeouts = numbers[1];
	}
	numbers_from_json(json_object_get(json, "results"), ret->results, _METRICS_RESULT_MAX);
	numbers_from_json(json_object_get(json, "duration"), ret->duration, METRICS_BUCKETS);
	ret->duration_sum = get_number(json, "duration_sum");
	ret->attempts = get_number(json, "attempts");
	ret->attempts_failed = get_number(json, "attempts_failed");
	ret->events_lost = get_number(json, "events_lost");
	ret->policy_refused = json_is_true(json_object_get(json, "policy_refused"));
}

/* --- the file -------------------------------------------------------------------------------- */

int metrics_save(const struct metrics *metrics)
{
	char path[512];
	char new[520];
	json_t *json = metrics_to_json(metrics);
	int r;

	if (!json)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, host_dir(HOST_RUN));
	snprintf(new, sizeof(new), "%s.new", path);
	r = json_dump_file(json, new, JSON_COMPACT) < 0 ? -EIO : 0;
	json_decref(json);
	if (r >= 0 && rename(new, path) < 0)
		r = -errno;
	return r;
}

int metrics_load(struct metrics *ret)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	char path[512];
	json_t *json;
	int r;

	*ret = (struct metrics){0};
	snprintf(path, sizeof(path), "%s/" FILE_NAME, host_dir(HOST_RUN));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_all(fd, FILE_MAX, &text, NULL);
	if (r < 0)
		return r;
	json = json_loads(text, 0, NULL);
	if (!json)
		return -EBADMSG;
	metrics_from_json(json, ret);
	json_decref(json);
	return 0;
}

/* --- now ------------------------------------------------------------------------------------- */

void metrics_now_add(struct metrics_now *now, const struct ras_device *kernel,
		     const struct device_record *record)
{
	bool fenced = kernel->state == IOMMU_RAS_STATE_FENCED ||
		      kernel->state == IOMMU_RAS_STATE_SANITIZED;
	uint64_t boot = now_usec(CLOCK_BOOTTIME);
	uint64_t begun = kernel->fence_time / NSEC_PER_USEC;
	struct metrics_device *device;

	now->fenced += kernel->state == IOMMU_RAS_STATE_FENCED;
	now->sanitized += kernel->state == IOMMU_RAS_STATE_SANITIZED;
	if (record)
		now->recovery[record->state]++;
	if ((!fenced && (!record || record->state == RECOVERY_IDLE)) ||
	    now->n_devices == NAME_SET_MAX)
		return;
	device = &now->devices[now->n_devices++];
	*device = (struct metrics_device){.state = kernel->state, .reason = kernel->reason};
	str_copy(device->dev, sizeof(device->dev), record ? record->dev : kernel->dev);
	str_copy(device->driver, sizeof(device->driver),
		 kernel->driver[0] || !record ? kernel->driver : record->driver);
	device->has_record = record != NULL;
	device->recovery = record ? record->state : RECOVERY_IDLE;
	if (fenced && begun > 0 && begun < boot)
		device->fence_time = now_usec(CLOCK_REALTIME) - (boot - begun);
}
