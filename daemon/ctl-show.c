// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl show DEV: the whole story of one device. */
#include <errno.h>

#include "ctl-gone.h"
#include "ctl-show.h"
#include "ctl-watched.h"
#include "gone.h"
#include "sysfs.h"

/* --- for programs ----------------------------------------------------------------------------- */

static json_t *list_json(const struct topology_list *list)
{
	json_t *json = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(json, json_string(list->dev[i]));
	return json;
}

static json_t *rule_json(const struct device_subject *s, const struct machine *m)
{
	const struct rule *rule = m->policy ? policy_match(m->policy, &s->match) : NULL;
	json_t *steps;

	if (!rule)
		return json_null();
	steps = json_array();
	for (size_t i = 0; i < rule->n_steps; i++)
		json_array_append_new(steps, json_string(step_name(rule->steps[i].kind)));
	return json_pack("{s:s, s:s, s:s, s:o, s:I}", "name", rule->name, "origin", rule->origin,
			 "action", action_name(rule->action), "steps", steps, "attempts",
			 (json_int_t)rule->attempts);
}

static int print_json(const struct ctl *ctl, const struct story *story, const struct machine *m,
		      const struct topology *t, const struct device_subject *s)
{
	struct advice advice[ADVICE_MAX];
	char users[512];
	char override[RAS_NAME_SIZE];
	char methods[128];
	const char *dev = story->device.dev;
	json_t *json = story_json(story);
	json_t *list;
	size_t n;
	int ats = pci_ats_enabled(dev);

	if (!json)
		return ctl_no_memory();
	if (sysfs_read("pci", dev, "driver_override", override, sizeof(override)) < 0 ||
	    streq(override, "(null)"))
		override[0] = '\0';
	(void)sysfs_read("pci", dev, "reset_method", methods, sizeof(methods));
	json_object_set_new(json, "present", json_boolean(sysfs_device_exists("pci", dev)));
	json_object_set_new(json, "driver_override", ctl_json_text(override));
	json_object_set_new(json, "reset_methods", ctl_json_text(methods));
	json_object_set_new(json, "ats_enabled", ats < 0 ? json_null() : json_boolean(ats > 0));
	json_object_set_new(json, "slot", ctl_json_text(t->slot));
	json_object_set_new(json, "topology", list_json(&t->path));
	json_object_set_new(json, "functions", list_json(&t->functions));
	json_object_set_new(json, "virtual_functions", list_json(&t->vfs));
	json_object_set_new(json, "physical_function", ctl_json_text(t->pf));
	json_object_set_new(json, "group_members", list_json(&t->group));
	json_object_set_new(json, "rule", rule_json(s, m));
	json_object_set_new(json, "policy_in_force", machine_policy_json(m));
	json_object_set_new(json, "daemon_running", json_boolean(m->daemon));
	json_object_set_new(json, "in_use", json_boolean(show_users(dev, users, sizeof(users))));
	json_object_set_new(json, "users", ctl_json_text(users));
	list = json_array();
	n = story_advice(story, m, advice);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list,
				      json_pack("{s:o, s:o}", "text", ctl_json_text(advice[i].text),
						"command", ctl_json_text(advice[i].command)));
	json_object_set_new(json, "advice", list);
	return ctl_print_json(ctl, json);
}

/* --- the verb --------------------------------------------------------------------------------- */

/* What kernel and daemon know about @name. */
int show_read(const char *name, struct story *story, struct machine *m, char *text, size_t size)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	int r;

	text[0] = '\0';
	*story = (struct story){0};
	str_copy(story->device.bus, sizeof(story->device.bus), "pci");
	str_copy(story->device.dev, sizeof(story->device.dev), name);
	story->device.state = IOMMU_RAS_STATE_ACTIVE;
	r = ctl_connect(&link);
	m->family = r == CTL_OK;
	if (r == CTL_OK) {
		struct ras_device device;

		r = kernel_link_request(&link, IOMMU_RAS_CMD_DEVICE_GET, "pci", name, &device, text,
					size);
		if (r >= 0) {
			story->device = device;
			story->known = true;
			r = CTL_OK;
		} else {
			if (text[0] == '\0')
				snprintf(text, size, "%s",
					 r == -ENODEV ? "it is not behind an IOMMU that can"
						      : strerror(-r));
			r = r == -ENODEV ? CTL_NO_DEVICE : CTL_FAILURE;
		}
	}
	kernel_link_close(&link);
	story->has_record = state_load("pci", name, &story->record) >= 0;
	if (story->has_record && !m->family && !story->record.active &&
	    story->record.state != RECOVERY_IDLE)
		story->device.state = IOMMU_RAS_STATE_FENCED;
	story_judge(story, m);
	/* Nobody else knows of it any more. */
	if (!story->has_record && !sysfs_device_exists("pci", name))
		(void)gone_read("pci", name, story);
	return r;
}

void show_subject(struct device_subject *s, const struct story *story)
{
	const struct device_record *record = &story->record;

	/* Where the daemon has unbound the driver it still is the driver of the device. */
	device_subject_fill(
		s, "pci", story->device.dev,
		story->has_record && record->prepared ? record->driver : NULL, story->device.iommu,
		story->device.reason ? story->device.reason : IOMMU_RAS_REASON_ATC_TIMEOUT);
}

int ctl_show(const struct ctl *ctl, int argc, char **argv)
{
	struct machine m = {0};
	struct topology t;
	struct device_subject s;
	struct story story;
	char name[PCI_NAME_SIZE];
	char text[160];
	int r;
	int shown = CTL_OK;

	if (argc != 2) {
		fprintf(stderr, "\"show\" needs one device, such as: smmu-rasctl show 01:00.0\n");
		return CTL_USAGE;
	}
	r = ctl_find_device(argv[1], name);
	if (r != CTL_OK)
		return r;
	m.daemon = state_daemon_runs();
	machine_read_policy(&m);
	r = show_read(name, &story, &m, text, sizeof(text));
	topology_read(&t, name);
	show_subject(&s, &story);
	if (r != CTL_FAILURE) {
		if (ctl->json) {
			shown = print_json(ctl, &story, &m, &t, &s);
		} else {
			pager_open(ctl->pager);
			show_print(&story, &m, &t, &s);
			pager_close();
		}
	}
	if (r == CTL_NO_FAMILY)
		(void)ctl_no_family();
	else if (r == CTL_NO_DEVICE && sysfs_device_exists("pci", name))
		fprintf(stderr, "%s cannot be fenced: %s\n", name, VISIBLE(text));
	else if (r == CTL_FAILURE)
		fprintf(stderr, "The kernel does not tell about %s: %s\n", name, VISIBLE(text));
	else if (r == CTL_NO_DEVICE && story.has_record)
		r = CTL_OK;
	story_clear(&story);
	policy_unref(m.policy);
	return r == CTL_OK ? shown : r;
}
