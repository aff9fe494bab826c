// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl simulate: what the daemon would do, without a daemon, devices, or a kernel of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "ctl-output.h"
#include "ctl-rule.h"
#include "ctl-sim.h"

#define EVENTS_FILE_MAX (16 * 1024 * 1024)

struct output {
	const struct ctl *ctl;
	json_t *timeline;
};

static enum color color_of(const char *what)
{
	static const struct {
		const char *what;
		enum color color;
	} colors[] = {{"fenced", COLOR_BAD},   {"isolated", COLOR_BAD},	  {"stuck", COLOR_BAD},
		      {"backoff", COLOR_BUSY}, {"recovered", COLOR_GOOD}, {"attempt", COLOR_BUSY}};

	for (size_t i = 0; i < ARRAY_SIZE(colors); i++)
		if (streq(what, colors[i].what))
			return colors[i].color;
	return COLOR_NONE;
}

/* "0:01:02.345": to the millisecond also after hours. */
static const char *clock_text(uint64_t usec, char *buf, size_t size)
{
	uint64_t seconds = usec / USEC_PER_SEC;

	snprintf(buf, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64, seconds / 3600,
		 seconds / 60 % 60, seconds % 60, usec % USEC_PER_SEC / USEC_PER_MSEC);
	return buf;
}

static void tell(uint64_t at, const struct sim_device *device, const char *what, const char *text,
		 void *userdata)
{
	struct output *output = userdata;
	char when[64];

	if (output->ctl->json) {
		json_array_append_new(output->timeline,
				      json_pack("{s:I, s:s, s:s, s:o}", "at_usec", (json_int_t)at,
						"device", device->dev, "event", what, "text",
						ctl_json_text(text)));
		return;
	}
	printf("%11s  %-12s  %s%-9s%s  ", clock_text(at, when, sizeof(when)), device->dev,
	       color(color_of(what)), what, color(COLOR_NONE));
	print_wrapped(VISIBLE(text), 38);
}

/* --- what it runs over ------------------------------------------------------------------------ */

static int load_policy(const struct ctl *ctl, struct policy **ret)
{
	char error[POLICY_ERROR_SIZE];
	struct stat st;
	int r;

	if (!ctl->policy)
		r = policy_load(ret, error);
	else if (stat(ctl->policy, &st) == 0 && S_ISDIR(st.st_mode))
		r = policy_load_below(ctl->policy, NULL, ret, error);
	else
		r = policy_load_file_elsewhere(ctl->policy, ret, error);
	if (r < 0)
		fprintf(stderr, "%s\n", VISIBLE(error));
	return r < 0 ? CTL_FAILURE : CTL_OK;
}

/* One device, fenced once. */
static int make_up(const struct ctl *ctl, struct sim *sim)
{
	const char *dev = ctl->match[MATCH_ADDRESS];
	struct sim_device *d = sim_device(sim, dev ? dev : "0000:01:00.0");
	struct sim_event *event = d ? sim_event(sim, SIM_FENCED, d, 0) : NULL;

	if (!event)
		return ctl_no_memory();
	for (enum match_key key = 0; key < _MATCH_MAX; key++)
		if (ctl->match[key])
			str_copy(d->values[key], sizeof(d->values[key]), ctl->match[key]);
	if (!ctl->match[MATCH_DRIVER])
		str_copy(d->values[MATCH_DRIVER], sizeof(d->values[MATCH_DRIVER]), "example");
	if (ctl->match[MATCH_REASON])
		str_copy(event->reason, sizeof(event->reason), ctl->match[MATCH_REASON]);
	d->bound = true;
	return CTL_OK;
}

static int read_events(struct sim *sim, const char *path)
{
	bool is_stdin = streq(path, "-");
	_cleanup_close_ int fd = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	char error[SIM_ERROR_SIZE];
	size_t len = 0;
	int r;

	if (!is_stdin && fd < 0) {
		fprintf(stderr, "%s: %s\n", VISIBLE(path), strerror(errno));
		return CTL_FAILURE;
	}
	r = read_all(is_stdin ? STDIN_FILENO : fd, EVENTS_FILE_MAX, &text, &len);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", VISIBLE(path), strerror(-r));
		return CTL_FAILURE;
	}
	r = sim_read(sim, is_stdin ? "<stdin>" : path, text, len, error);
	if (r < 0) {
		fprintf(stderr, "%s\n", VISIBLE(error));
		return CTL_FAILURE;
	}
	return CTL_OK;
}

/* --- how it ends ------------------------------------------------------------------------------ */

static const char *end_of(const struct sim_device *d)
{
	if (d->state != RECOVERY_IDLE)
		return recovery_state_name(d->state);
	return d->kernel == IOMMU_RAS_STATE_ACTIVE ? "well" : "fenced";
}

static json_t *devices_json(const struct sim *sim)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sim->n_devices; i++) {
		const struct sim_device *d = sim->devices[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I, s:I}", "device", d->dev,
						      "end", end_of(d), "rule",
						      ctl_json_text(d->rule ? d->rule->name : ""),
						      "recovered", (json_int_t)d->n_recovered,
						      "outage_usec", (json_int_t)d->outage));
	}
	return list;
}

static void print_end(const struct sim *sim)
{
	printf("\n%sIn the end:%s\n", color(COLOR_HEAD), color(COLOR_NONE));
	for (size_t i = 0; i < sim->n_devices; i++) {
		const struct sim_device *d = sim->devices[i];
		bool well = d->state == RECOVERY_IDLE && d->kernel == IOMMU_RAS_STATE_ACTIVE;

		printf("  %-12s  %s%s%s", d->dev, color(well ? COLOR_GOOD : COLOR_BAD), end_of(d),
		       color(COLOR_NONE));
		if (d->n_recovered)
			printf(", recovered %u time%s, out for %s", d->n_recovered,
			       d->n_recovered == 1 ? "" : "s", USEC_TEXT(d->outage));
		putchar('\n');
	}
}

int ctl_simulate(const struct ctl *ctl, int argc, char **argv)
{
	struct output output = {.ctl = ctl};
	struct sim sim = {.tell = tell, .userdata = &output};
	struct policy *policy = NULL;
	int r;

	if (argc > 2) {
		fprintf(stderr, "\"simulate\" takes one file of events, found \"%s\" too\n",
			VISIBLE(argv[2]));
		return CTL_USAGE;
	}
	r = load_policy(ctl, &policy);
	if (r == CTL_OK)
		r = argc == 2 ? read_events(&sim, argv[1]) : make_up(ctl, &sim);
	if (r == CTL_OK) {
		sim.policy = policy;
		if (ctl->json)
			output.timeline = json_array();
		else
			pager_open(ctl->pager);
		sim_run(&sim);
		if (ctl->json)
			r = ctl_print_json(ctl, json_pack("{s:o, s:o}", "timeline", output.timeline,
							  "devices", devices_json(&sim)));
		else
			print_end(&sim);
	}
	sim_clear(&sim);
	policy_unref(policy);
	return r;
}
