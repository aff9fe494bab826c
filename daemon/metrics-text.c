// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Metrics as text: OpenMetrics 1.0
 * (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md), or the format
 * that Prometheus had before it, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/).
 */
#include <errno.h>
#include <inttypes.h>

#include "metrics.h"

#ifndef SMMU_RAS_VERSION
#define SMMU_RAS_VERSION "0"
#endif

struct out {
	FILE *f;
	bool prometheus;
};

/* @name without the suffix that the type asks for ("_total", "_info"). */
static void head(const struct out *out, const char *name, const char *type, const char *unit,
		 const char *help)
{
	const char *suffix = "";

	if (out->prometheus && streq(type, "counter"))
		suffix = "_total";
	if (out->prometheus && streq(type, "info")) {
		suffix = "_info";
		type = "gauge";
	}
	fprintf(out->f, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
	if (unit && !out->prometheus)
		fprintf(out->f, "# UNIT %s %s\n", name, unit);
}

/* The value of a label; str_visible() leaves only these two to be escaped. */
static const char *label(const char *value, char *buf, size_t size)
{
	char visible[512];
	size_t used = 0;

	str_visible(visible, sizeof(visible), value);
	for (const char *s = visible; *s && used + 3 < size; s++) {
		if (*s == '\\' || *s == '"')
			buf[used++] = '\\';
		buf[used++] = *s;
	}
	buf[used] = '\0';
	return buf;
}
#define LABEL(value) label((value), (char[1024]){0}, 1024)

static const char *reason_label(uint32_t reason)
{
	return reason == 0 ? "unknown" : ras_reason_name(reason);
}

static void write_fences(const struct out *out, const struct metrics *metrics)
{
	head(out, "smmu_ras_fences", "counter", NULL,
	     "Fences that the kernel has put up, by device and reason.");
	for (size_t i = 0; i <= NAME_SET_MAX; i++) {
		const char *dev = i < NAME_SET_MAX ? metrics->devices.names[i] : "other";

		if (i < NAME_SET_MAX && i >= metrics->devices.n)
			continue;
		for (uint32_t reason = 0; reason < METRICS_REASONS; reason++)
			if (metrics->fences[i][reason] > 0)
				fprintf(out->f,
					"smmu_ras_fences_total{device=\"%s\",reason=\"%s\"} "
					"%" PRIu64 "\n",
					LABEL(dev), reason_label(reason),
					metrics->fences[i][reason]);
	}
}

static void write_duration(const struct out *out, const struct metrics *metrics)
{
	uint64_t sum = 0;

	head(out, "smmu_ras_recovery_duration_seconds", "histogram", "seconds",
	     "Time from a fence to the end of the recovery that lifted it.");
	for (size_t i = 0; i < METRICS_BUCKETS - 1; i++) {
		sum += metrics->duration[i];
		fprintf(out->f,
			"smmu_ras_recovery_duration_seconds_bucket{le=\"%" PRIu64 ".%" PRIu64
			"\"} %" PRIu64 "\n",
			metrics_buckets[i] / USEC_PER_SEC,
			/* One digit, two where it takes them. */
			metrics_buckets[i] % USEC_PER_SEC % 100000
				? metrics_buckets[i] % USEC_PER_SEC / 10000
				: metrics_buckets[i] % USEC_PER_SEC / 100000,
			sum);
	}
	sum += metrics->duration[METRICS_BUCKETS - 1];
	fprintf(out->f,
		"smmu_ras_recovery_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
		"smmu_ras_recovery_duration_seconds_sum %" PRIu64 ".%06" PRIu64 "\n"
		"smmu_ras_recovery_duration_seconds_count %" PRIu64 "\n",
		sum, metrics->duration_sum / USEC_PER_SEC, metrics->duration_sum % USEC_PER_SEC,
		sum);
}

static void write_counter(const struct out *out, const char *name, const char *help, uint64_t value)
{
	head(out, name, "counter", NULL, help);
	fprintf(out->f, "%s_total %" PRIu64 "\n", name, value);
}

static void write_counters(const struct out *out, const struct metrics *metrics)
{
	static const char *const results[_METRICS_RESULT_MAX] = {
		[METRICS_RECOVERED] = "recovered", [METRICS_EXHAUSTED] = "exhausted",
		[METRICS_PROTECTED] = "protected", [METRICS_RATE_LIMITED] = "rate-limited",
		[METRICS_POLICY] = "policy",	   [METRICS_OPERATOR] = "operator",
	};

	write_fences(out, metrics);
	head(out, "smmu_ras_recoveries", "counter", NULL,
	     "Fences that smmu-rasd is done with, by what came of it.");
	for (size_t i = 0; i < _METRICS_RESULT_MAX; i++)
		fprintf(out->f, "smmu_ras_recoveries_total{result=\"%s\"} %" PRIu64 "\n",
			results[i], metrics->results[i]);
	write_counter(out, "smmu_ras_recovery_attempts", "Attempts to recover a device.",
		      metrics->attempts);
	write_counter(out, "smmu_ras_recovery_attempt_failures",
		      "Attempts that failed, and were followed by another one.",
		      metrics->attempts_failed);
	head(out, "smmu_ras_step_failures", "counter", NULL, "Steps of recoveries that failed.");
	for (size_t i = 0; i < metrics->n_steps; i++)
		fprintf(out->f, "smmu_ras_step_failures_total{step=\"%s\"} %" PRIu64 "\n",
			LABEL(metrics->steps[i].name), metrics->steps[i].failures);
	head(out, "smmu_ras_step_timeouts", "counter", NULL,
	     "Steps of recoveries that did not end in time.");
	for (size_t i = 0; i < metrics->n_steps; i++)
		fprintf(out->f, "smmu_ras_step_timeouts_total{step=\"%s\"} %" PRIu64 "\n",
			LABEL(metrics->steps[i].name), metrics->steps[i].timeouts);
	write_duration(out, metrics);
	write_counter(out, "smmu_ras_kernel_events_lost",
		      "Times that events of the kernel were lost, and made up for by a dump.",
		      metrics->events_lost);
	head(out, "smmu_ras_policy_refused", "gauge", NULL,
	     "1 when the policy on disk has an error and is not the one in force.");
	fprintf(out->f, "smmu_ras_policy_refused %d\n", metrics->policy_refused);
}

static void write_devices(const struct out *out, const struct metrics_now *now)
{
	head(out, "smmu_ras_device", "info", NULL,
	     "Each device that is fenced, or that smmu-rasd is not done with.");
	for (size_t i = 0; i < now->n_devices; i++) {
		const struct metrics_device *device = &now->devices[i];

		fprintf(out->f,
			"smmu_ras_device_info{device=\"%s\",driver=\"%s\",state=\"%s\",reason=\"%"
			"s\","
			"recovery=\"%s\"} 1\n",
			LABEL(device->dev), LABEL(device->driver),
			device->state ? ras_state_name(device->state) : "unknown",
			reason_label(device->reason),
			device->has_record ? recovery_state_name(device->recovery) : "none");
	}
	head(out, "smmu_ras_device_fence_timestamp_seconds", "gauge", "seconds",
	     "When the device was fenced, since 1970.");
	for (size_t i = 0; i < now->n_devices; i++)
		if (now->devices[i].fence_time)
			fprintf(out->f,
				"smmu_ras_device_fence_timestamp_seconds{device=\"%s\"} %" PRIu64
				".%03" PRIu64 "\n",
				LABEL(now->devices[i].dev),
				now->devices[i].fence_time / USEC_PER_SEC,
				now->devices[i].fence_time % USEC_PER_SEC / USEC_PER_MSEC);
}

int metrics_write(FILE *f, const struct metrics *metrics, const struct metrics_now *now,
		  bool prometheus)
{
	const struct out out = {.f = f, .prometheus = prometheus};

	head(&out, "smmu_ras_build", "info", NULL, "The version that these numbers are of.");
	fprintf(f, "smmu_ras_build_info{version=\"%s\"} 1\n", SMMU_RAS_VERSION);
	head(&out, "smmu_ras_daemon_running", "gauge", NULL, "1 while smmu-rasd is running.");
	fprintf(f, "smmu_ras_daemon_running %d\n", now->daemon_runs);
	head(&out, "smmu_ras_kernel_support", "gauge", NULL,
	     "1 when the kernel fences devices (netlink family iommu-ras).");
	fprintf(f, "smmu_ras_kernel_support %d\n", now->kernel_support);
	head(&out, "smmu_ras_fenced_devices", "gauge", NULL,
	     "Devices that the IOMMU blocks; sanitized: reset since, and to be attached.");
	fprintf(f,
		"smmu_ras_fenced_devices{state=\"fenced\"} %" PRIu64 "\n"
		"smmu_ras_fenced_devices{state=\"sanitized\"} %" PRIu64 "\n",
		now->fenced, now->sanitized);
	head(&out, "smmu_ras_recovery_devices", "gauge", NULL,
	     "Devices by the state of their recovery; isolated: given up.");
	for (size_t i = 0; i < _RECOVERY_STATE_MAX; i++)
		if (i != RECOVERY_IDLE)
			fprintf(f, "smmu_ras_recovery_devices{state=\"%s\"} %" PRIu64 "\n",
				recovery_state_name(i), now->recovery[i]);
	write_devices(&out, now);
	if (metrics)
		write_counters(&out, metrics);
	if (!prometheus)
		fputs("# EOF\n", f);
	return ferror(f) ? -EIO : 0;
}
