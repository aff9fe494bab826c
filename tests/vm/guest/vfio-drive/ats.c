// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's pci-ats-test, by its registers.
 *
 * Every unmap tells all of these that it has returned, before anything else happens. Each looks at
 * that moment whether a stale translation of its would still take it to memory, and counts that.
 */
#include "drive.h"

#include "../../module/ats-test/hw.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static void set32(struct thing *device, unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(device->registers + offset) = value;
}

static uint32_t get32(struct thing *device, unsigned int offset)
{
	return *(volatile uint32_t *)(device->registers + offset);
}

static void set64(struct thing *device, unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(device->registers + offset) = value;
}

static uint64_t get64(struct thing *device, unsigned int offset)
{
	return *(volatile uint64_t *)(device->registers + offset);
}

static struct thing *function(const char *name)
{
	struct thing *device = find(name, DEVICE);

	if (!device->registers)
		fail_with(EINVAL, "the registers of %s are not mapped", name);
	return device;
}

/* The clock of the first one, in ns; 0 if there is none */
uint64_t ats_now(void)
{
	for (int i = 0; i < MAX_THINGS; i++)
		if (things[i].registers)
			return get64(&things[i], REG_NOW_NS);
	return 0;
}

void ats_flushed(void)
{
	for (int i = 0; i < MAX_THINGS; i++)
		if (things[i].registers)
			set32(&things[i], REG_FLUSHED, 0);
}

void registers(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE);
	struct vfio_region_info bar = {.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX};
	void *mapped;

	(void)count;
	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &bar))
		fail("VFIO_DEVICE_GET_REGION_INFO");
	mapped =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, (off_t)bar.offset);
	if (mapped == MAP_FAILED)
		fail("mmap");
	device->registers = mapped;
	if (get32(device, REG_MAGIC) != ATS_TEST_MAGIC) {
		ats_close(device);
		fail_with(ENODEV, "%s is no pci-ats-test", words[0]);
	}
	printf("ok\n");
}

/* A mapping keeps the device open. */
void ats_close(struct thing *device)
{
	if (device->registers)
		munmap((void *)device->registers, PAGE);
	device->registers = NULL;
}

void wedge(char **words, int count)
{
	struct thing *device = function(words[0]);

	(void)count;
	set32(device, REG_VIOLATIONS, 0);
	set32(device, REG_MODE, (uint32_t)number(words[1]));
	set32(device, REG_PATTERN, (uint32_t)number(words[2]));
	set32(device, REG_HAMMER, (uint32_t)number(words[3]));
	printf("ok\n");
}

void order(char **words, int count)
{
	struct thing *device = function(words[0]);

	(void)count;
	set64(device, REG_IOVA, number(words[2]));
	set32(device, REG_LEN, PAGE);
	set32(device, REG_PASID, 0);
	set32(device, REG_PATTERN, (uint32_t)number(words[3]));
	set32(device, REG_COMMAND, (uint32_t)number(words[1]));
	printf("ok status=%u result=%lu\n", get32(device, REG_STATUS),
	       (unsigned long)get64(device, REG_RESULT));
}

void record(char **words, int count)
{
	struct thing *device = function(words[0]);

	(void)count;
	printf("ok violations=%u stale=%lu missed=%lu cut_off=%lu\n", get32(device, REG_VIOLATIONS),
	       (unsigned long)get64(device, REG_STALE), (unsigned long)get64(device, REG_MISSED_NS),
	       (unsigned long)get64(device, REG_CUT_OFF_NS));
}
