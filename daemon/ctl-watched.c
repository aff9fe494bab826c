// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-watched.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pci/header.h>

#include "host.h"
#include "sysfs.h"

/* PCI Express Base Specification, 7.9: extended capabilities lie behind the first 256 bytes. */
#define CONFIG_SIZE	   4096
#define CONFIG_USER_SIZE   64 /* all that the kernel shows to those who are not root */
#define EXTENDED_BEGIN	   0x100
#define EXTENDED_STEPS_MAX ((CONFIG_SIZE - EXTENDED_BEGIN) / 8)

static uint32_t config_u32(const uint8_t *config, size_t at)
{
	return (uint32_t)config[at] | (uint32_t)config[at + 1] << 8 |
	       (uint32_t)config[at + 2] << 16 | (uint32_t)config[at + 3] << 24;
}

int pci_ats_enabled(const char *dev)
{
	uint8_t config[CONFIG_SIZE];
	char path[SYSFS_PATH_SIZE];
	_cleanup_close_ int fd = open(sysfs_device_path(path, sizeof(path), "pci", dev, "config"),
				      O_RDONLY | O_CLOEXEC);
	ssize_t n;
	size_t at = EXTENDED_BEGIN;

	if (fd < 0)
		return -errno;
	n = pread(fd, config, sizeof(config), 0);
	if (n < 0)
		return -errno;
	if (n <= CONFIG_USER_SIZE)
		return -EACCES;
	/* What nobody answers reads as ones. */
	if (config_u32(config, 0) == UINT32_MAX)
		return -ENODEV;
	for (unsigned int i = 0;
	     i < EXTENDED_STEPS_MAX && at >= EXTENDED_BEGIN && at + 8 <= (size_t)n; i++) {
		uint32_t header = config_u32(config, at);

		if ((header & 0xffff) == PCI_EXT_CAP_ID_ATS)
			return (config_u32(config, at + 4) >> 16 & PCI_ATS_CTRL_ENABLE) != 0;
		at = header >> 20 & 0xffc;
	}
	return -ENODATA;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int pci_foreach_ats(void (*handler)(const char *dev, void *userdata), void *userdata)
{
	char path[SYSFS_PATH_SIZE];
	struct dirent *entry;
	char **names = NULL;
	size_t n = 0;
	int found = 0;
	int r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/bus/pci/devices", host_dir(HOST_SYS));
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char **grown;
		int enabled;

		if (entry->d_name[0] == '.')
			continue;
		enabled = pci_ats_enabled(entry->d_name);
		if (enabled == -EACCES)
			r = -EACCES;
		if (enabled <= 0)
			continue;
		grown = reallocarray(names, n + 1, sizeof(*names));
		if (!grown)
			break;
		names = grown;
		names[n] = strdup(entry->d_name);
		n += names[n] != NULL;
	}
	if (dir)
		closedir(dir);
	if (n > 0)
		qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 0; i < n; i++) {
		handler(names[i], userdata);
		free(names[i]);
		found++;
	}
	free(names);
	return found ? found : r;
}

static void add_json(const char *dev, void *userdata)
{
	json_array_append_new(userdata, json_string(dev));
}

json_t *watched_devices_json(void)
{
	json_t *list = json_array();

	if (pci_foreach_ats(add_json, list) < 0) {
		json_decref(list);
		return json_null();
	}
	return list;
}

json_t *watched_policy_json(const struct machine *m)
{
	return json_pack("{s:b, s:o, s:o, s:I, s:o}", "good", m->policy != NULL, "error",
			 ctl_json_text(m->policy ? "" : m->policy_error), "sources",
			 ctl_json_text(m->policy && m->policy->sources ? m->policy->sources : ""),
			 "rules", (json_int_t)(m->policy ? m->policy->n_rules - 1 : 0), "in_force",
			 machine_policy_json(m));
}

/* --- for people ------------------------------------------------------------------------------- */

#define LABEL 10

static void print_label(const char *label)
{
	printf("%*s%s ", LABEL, label, label[0] ? ":" : " ");
}

struct list {
	char text[1024];
	size_t used;
	unsigned int n;
};

static void add_text(const char *dev, void *userdata)
{
	struct list *list = userdata;
	char driver[RAS_NAME_SIZE];

	list->n++;
	if (list->n > 8)
		return;
	(void)sysfs_link("pci", dev, "driver", driver, sizeof(driver));
	list->used += (size_t)snprintf(list->text + list->used, sizeof(list->text) - list->used,
				       "%s%s (%s)", list->used ? ", " : "", dev,
				       driver[0] ? VISIBLE(driver) : "no driver");
	if (list->used >= sizeof(list->text))
		list->used = sizeof(list->text) - 1;
}

static void print_watched(void)
{
	struct list list = {.n = 0};
	char text[1200];
	int r = pci_foreach_ats(add_text, &list);

	print_label("Watched");
	if (r == -EACCES) {
		print_wrapped("only root can see which devices have ATS enabled", LABEL + 2);
		return;
	}
	if (list.n == 0) {
		print_wrapped("no device has ATS enabled, so none can hold stale translations",
			      LABEL + 2);
		return;
	}
	snprintf(text, sizeof(text), "%u device%s with ATS enabled: %s%s", list.n,
		 list.n == 1 ? "" : "s", list.text, list.n > 8 ? ", ..." : "");
	print_wrapped(text, LABEL + 2);
}

static void print_policy(const struct machine *m, bool all)
{
	char text[POLICY_ERROR_SIZE * 2];
	char force[MACHINE_POLICY_TEXT_SIZE];
	size_t n = strlen(m->policy_error);

	machine_policy_text(m, force, sizeof(force));
	if (m->policy_hidden) {
		if (!all)
			return;
		print_label("Policy");
		snprintf(text, sizeof(text), "only root can read it: %s", VISIBLE(m->policy_error));
		print_wrapped(text, LABEL + 2);
	} else if (!m->policy) {
		print_label("Policy");
		if (force[0] == '\0')
			str_copy(force, sizeof(force),
				 "Until it is mended, smmu-rasd goes by the last good one, or "
				 "leaves all devices fenced if it had none");
		snprintf(text, sizeof(text), "has a mistake, and is not in force: %s%s %s",
			 VISIBLE(m->policy_error),
			 n > 0 && strchr("?.", m->policy_error[n - 1]) ? "" : ".", force);
		print_wrapped(text, LABEL + 2);
		return;
	} else if (all) {
		print_label("Policy");
		if (m->policy->sources)
			snprintf(text, sizeof(text), "%s, %zu rule%s", VISIBLE(m->policy->sources),
				 m->policy->n_rules - 1, m->policy->n_rules == 2 ? "" : "s");
		else
			str_copy(text, sizeof(text),
				 "there is no file; the built-in rule recovers every device");
		print_wrapped(text, LABEL + 2);
	}
	if (force[0]) {
		print_label(all ? "" : "Policy");
		fputs(color(COLOR_BUSY), stdout);
		print_wrapped(force, LABEL + 2);
		fputs(color(COLOR_NONE), stdout);
	}
}

/* The last ones, for whoever was paged for something that is over. */
static void print_recovered(const struct machine *m)
{
	unsigned int n = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct story *story = &m->stories[i];
		char text[700];
		char recovery[512];
		char driver[80];

		if (story->verdict != VERDICT_RECOVERED)
			continue;
		print_label(n == 0 ? "Recovered" : "");
		if (++n > 3) {
			print_wrapped("others; all of them: smmu-rasctl --all", LABEL + 2);
			return;
		}
		snprintf(text, sizeof(text), "%s (%s) %s", VISIBLE(story->device.dev),
			 VISIBLE(story_driver(story, driver, sizeof(driver))),
			 story_recovery(story, recovery, sizeof(recovery)) + strlen("recovered "));
		print_wrapped(text, LABEL + 2);
	}
}

void watched_print(const struct machine *m, bool all)
{
	if (all && m->family) {
		print_label("Kernel");
		print_wrapped("fences devices that do not answer ATC invalidations", LABEL + 2);
	}
	if (!m->daemon || all) {
		print_label("Daemon");
		print_wrapped(
			m->daemon && !m->family ? "smmu-rasd runs, and waits for such a kernel"
			: m->daemon ? "smmu-rasd runs, and recovers devices that are fenced"
				    : "smmu-rasd does not run; start it with: systemctl start "
				      "smmu-rasd",
			LABEL + 2);
	}
	print_policy(m, all);
	if (all)
		print_watched();
	if (m->n_damaged > 0) {
		print_label("Records");
		printf("%zu in /run/smmu-rasd cannot be read\n", m->n_damaged);
	}
	if (all)
		print_recovered(m);
}
