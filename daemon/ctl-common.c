// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <pci/pci.h>
#include <sys/utsname.h>
#include <time.h>

#include "ctl-output.h"
#include "ctl.h"
#include "sysfs.h"

int ctl_connect(struct kernel_link *link)
{
	int r = kernel_link_open(link, false, 1024 * 1024);

	if (r >= 0)
		r = kernel_link_resolve(link);
	if (r == -ENOENT)
		return CTL_NO_FAMILY;
	if (r < 0) {
		fprintf(stderr, "Cannot talk to the kernel: %s\n", strerror(-r));
		return CTL_FAILURE;
	}
	return CTL_OK;
}

const char *ctl_kernel_release(void)
{
	static struct utsname name;

	if (name.release[0] == '\0' && uname(&name) < 0)
		return "an unknown one";
	return name.release;
}

int ctl_no_family(void)
{
	fprintf(stderr,
		"This kernel does not fence devices: it has no netlink family \"%s\". It needs "
		"Linux with the smmu-ras series and CONFIG_IOMMU_RAS; now it runs %s\n",
		IOMMU_RAS_FAMILY_NAME, ctl_kernel_release());
	return CTL_NO_FAMILY;
}

int ctl_no_memory(void)
{
	fprintf(stderr, "Out of memory\n");
	return CTL_FAILURE;
}

static void say_nothing(char *text _unused_, ...)
{
}

const char *ctl_id_name(unsigned int vendor, unsigned int device, char *buf, size_t size)
{
	static struct pci_access *access;

	/* Kept until the program ends; only names are looked up, no bus is scanned. */
	if (!access) {
		access = pci_alloc();
		/*
		 * pci_init() would set these, and end the program where it finds no PCI. Without
		 * them an id that the database lacks is fatal, as libpci then asks udev's and
		 * calls debug() (names-hwdb.c).
		 */
		if (access) {
			access->warning = say_nothing;
			access->debug = say_nothing;
		}
	}
	if (!access || !pci_lookup_name(access, buf, (int)size,
					PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE, vendor, device))
		buf[0] = '\0';
	return buf;
}

const char *ctl_device_name(const char *bus, const char *dev, char *buf, size_t size)
{
	char vendor[16];
	char device[16];

	buf[0] = '\0';
	if (!streq(bus, "pci") || sysfs_read(bus, dev, "vendor", vendor, sizeof(vendor)) < 0 ||
	    sysfs_read(bus, dev, "device", device, sizeof(device)) < 0)
		return buf;
	return ctl_id_name((unsigned int)strtoul(vendor, NULL, 16),
			   (unsigned int)strtoul(device, NULL, 16), buf, size);
}

enum recovery_state ctl_recovery_state(const char *dev)
{
	struct device_record record;

	if (state_load("pci", dev, &record) < 0)
		return RECOVERY_IDLE;
	record_clear_history(&record);
	return record.state;
}

uint64_t ctl_fence_time(const struct ras_device *device)
{
	uint64_t boot = now_usec(CLOCK_BOOTTIME);
	uint64_t begun = device->fence_time / NSEC_PER_USEC;

	if (device->fence_time == 0 || begun > boot)
		return 0;
	return now_usec(CLOCK_REALTIME) - (boot - begun);
}

const char *ctl_time_text(uint64_t usec, char *buf, size_t size)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(buf, size, "%F %T", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

const char *ctl_time_json(uint64_t usec, char *buf, size_t size)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	char text[32];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%FT%T", &tm) == 0)
		text[0] = '\0';
	snprintf(buf, size, "%s.%06" PRIu64 "Z", text, usec % USEC_PER_SEC);
	return buf;
}

uint64_t ctl_age(uint64_t usec)
{
	uint64_t now = now_usec(CLOCK_REALTIME);
	uint64_t age = now > usec ? now - usec : 0;

	/* Nobody wants milliseconds of what was hours ago; format_usec() cares for the rest. */
	return age >= 10 * USEC_PER_SEC ? age / USEC_PER_SEC * USEC_PER_SEC : age;
}

json_t *ctl_json_text(const char *s)
{
	/* Names from the kernel could fail here by not being UTF-8. */
	json_t *text = s[0] ? json_string(s) : json_null();

	return text ? text : json_string(VISIBLE(s));
}

json_t *ctl_json_time(uint64_t usec)
{
	char buf[48];

	return usec ? json_string(ctl_time_json(usec, buf, sizeof(buf))) : json_null();
}

int ctl_print_json(const struct ctl *ctl, json_t *json)
{
	char *text =
		json ? json_dumps(json, ctl->json == CTL_JSON_SHORT ? 0 : JSON_INDENT(2)) : NULL;
	int r = CTL_FAILURE;

	if (text && puts(text) >= 0 && fflush(stdout) == 0)
		r = CTL_OK;
	else
		fprintf(stderr, "Cannot write the answer: %m\n");
	free(text);
	json_decref(json);
	return r;
}

int ctl_ask(const struct ctl *ctl, const char *question)
{
	char answer[16];

	if (ctl->yes)
		return CTL_OK;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		fprintf(stderr, "%s There is no terminal to ask on; say --yes to go on.\n",
			question);
		return CTL_DECLINED;
	}
	fprintf(stderr, "%s [y/N] ", question);
	if (!fgets(answer, sizeof(answer), stdin) ||
	    (strcasecmp(str_chomp(answer), "y") != 0 && strcasecmp(answer, "yes") != 0)) {
		fprintf(stderr, "Nothing was done.\n");
		return CTL_DECLINED;
	}
	return CTL_OK;
}
