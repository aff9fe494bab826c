// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio-drive: uses devices through VFIO and iommufd, as it is told line by line.
 *
 * Reads commands from standard input and answers each with one line, "ok" and what there is to say,
 * or "err" with the name of an error and where it happened. Several on a line, with ; between them,
 * are carried out one right after the other, up to the first error. The devices are NVMe
 * controllers, whose admin queue reads, writes, and needs neither interrupts nor a disk with
 * contents; or QEMU's pci-ats-test. What it opens is closed when its input ends.
 *
 * Names are free. PAGE is one of 256 pages of memory, by number; PT is a container, an IOAS or, to
 * attach a device to, a HWPT.
 *
 *   fill PAGE COUNT BYTE
 *   differ PAGE COUNT BYTE          how many bytes are something else
 *   poke PAGE OFFSET VALUE          64 bits
 *   container NAME
 *   ioas NAME
 *   map PT IOVA PAGE COUNT
 *   unmap PT IOVA COUNT PAGE        fills PAGE with 0x5a as soon as it may be used again; says when
 *                                   that was, by the clock of a pci-ats-test
 *   unmap-both PT IOVA IOVA COUNT PAGE PAGE    the same in two threads at once
 *   group NAME ADDRESS CONTAINER
 *   cdev NAME ADDRESS
 *   attach DEVICE PT
 *   detach DEVICE
 *   reset DEVICE
 *   hot-reset DEVICE                resets its slot or its bus
 *   close NAME
 *   start DEVICE PAGE IOVA          the queues, in two pages
 *   identify DEVICE IOVA MS         has the device write a page; how long to wait for that
 *   watch DEVICE IOVA PAGE MS       the same; afterwards, how many bytes of PAGE are not 0x5a
 *   busy DEVICE IOVA                has it write the page again and again
 *   progress DEVICE                 how many of these were completed
 *   idle DEVICE                     the same, and no more of them
 *   registers DEVICE                maps those of a pci-ats-test
 *   wedge DEVICE MODE BYTE US       its registers of these names; it writes BYTE by itself every US
 *   order DEVICE COMMAND IOVA BYTE  its command, for a page; says its status and result
 *   record DEVICE                   what it has noticed since it was wedged
 *   parent NAME DEVICE IOAS         a HWPT for nesting
 *   viommu NAME DEVICE PARENT
 *   vdevice NAME DEVICE VIOMMU SID
 *   nested NAME DEVICE VIOMMU STE0 STE1
 *   invalidate VIOMMU LOW HIGH ...  commands of a guest: how many were handled, and the error
 *   veventq NAME VIOMMU
 *   events NAME [SID]               the events that wait there; of a stream, and others are lost
 */
#define _GNU_SOURCE
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct thing things[MAX_THINGS];
static uint8_t *memory;
static jmp_buf next_line;

void fail_with(int error, const char *format, ...)
{
	const char *name = strerrorname_np(error);
	va_list arguments;

	printf("err %s ", name ? name : "?");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	longjmp(next_line, 1);
}

void fail(const char *what)
{
	fail_with(errno, "%s", what);
}

long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

struct thing *find(const char *name, unsigned int kinds)
{
	for (int i = 0; i < MAX_THINGS; i++)
		if (things[i].kind & kinds && !strcmp(things[i].name, name))
			return &things[i];
	fail_with(ENOENT, "%s", name);
}

struct thing *add(const char *name, enum kind kind, int fd, uint32_t id)
{
	for (int i = 0; i < MAX_THINGS; i++) {
		struct thing *thing = &things[i];

		if (thing->kind)
			continue;
		*thing = (struct thing){.kind = kind, .fd = fd, .group = -1, .id = id};
		snprintf(thing->name, sizeof(thing->name), "%s", name);
		return thing;
	}
	fail_with(ENOSPC, "too many things");
}

void drop(struct thing *thing)
{
	memset(thing, 0, sizeof(*thing));
}

uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*end || end == text)
		fail_with(EINVAL, "not a number: %s", text);
	return value;
}

uint8_t *pages(const char *first, uint64_t count)
{
	uint64_t which = number(first);

	if (which >= PAGES || count > PAGES - which)
		fail_with(ERANGE, "page %s and so on", first);
	return memory + which * PAGE;
}

int iommufd(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("/dev/iommu");
	return fd;
}

static void fill(char **words, int count)
{
	uint64_t length = number(words[1]);

	(void)count;
	memset(pages(words[0], length), (int)number(words[2]), length * PAGE);
	printf("ok\n");
}

static void differ(char **words, int count)
{
	uint64_t length = number(words[1]), byte = number(words[2]);
	volatile uint8_t *data = pages(words[0], length);
	unsigned long bytes = 0;

	(void)count;
	for (uint64_t i = 0; i < length * PAGE; i++)
		bytes += data[i] != byte;
	printf("ok bytes=%lu\n", bytes);
}

static void poke(char **words, int count)
{
	uint64_t offset = number(words[1]), value = number(words[2]);

	(void)count;
	if (offset > PAGE - sizeof(value))
		fail_with(ERANGE, "offset");
	memcpy(pages(words[0], 1) + offset, &value, sizeof(value));
	printf("ok\n");
}

static const struct {
	const char *name;
	int least; /* number of words after the name; a negative one: that many, or more */
	void (*function)(char **words, int count);
} commands[] = {
	{"fill", 3, fill},	     {"differ", 3, differ},
	{"poke", 3, poke},	     {"container", 1, container},
	{"ioas", 1, ioas},	     {"map", 4, map},
	{"unmap", 4, unmap},	     {"unmap-both", 6, unmap_both},
	{"group", 3, open_group},    {"cdev", 2, open_cdev},
	{"attach", 2, attach},	     {"detach", 1, detach},
	{"reset", 1, reset},	     {"hot-reset", 1, hot_reset},
	{"close", 1, close_thing},   {"start", 3, start},
	{"identify", 3, identify},   {"watch", 4, watch},
	{"busy", 2, busy},	     {"idle", 1, idle},
	{"registers", 1, registers}, {"wedge", 4, wedge},
	{"order", 4, order},	     {"record", 1, record},
	{"progress", 1, progress},   {"parent", 3, parent},
	{"viommu", 3, viommu},	     {"vdevice", 4, vdevice},
	{"nested", 5, nested},	     {"invalidate", -1, invalidate},
	{"veventq", 2, veventq},     {"events", -1, events},
};

static void run(char *line)
{
	char *words[256], *rest = line;
	int count = 0;

	while (count < 256 && (words[count] = strtok_r(rest, " \n", &rest)))
		count++;
	if (!count)
		fail_with(EINVAL, "an empty line");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		int least = commands[i].least;

		if (strcmp(commands[i].name, words[0]))
			continue;
		if (least < 0 ? count - 1 < -least : count - 1 != least)
			fail_with(EINVAL, "%s takes %d words", words[0], abs(least));
		commands[i].function(words + 1, count - 1);
		return;
	}
	fail_with(EINVAL, "no such command: %s", words[0]);
}

static void run_line(char *line)
{
	char *command, *rest = line;

	while ((command = strtok_r(rest, ";", &rest)))
		run(command);
}

int main(void)
{
	static char line[16384];

	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("vfio-drive");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		if (!setjmp(next_line))
			run_line(line);
	return 0;
}
