// SPDX-License-Identifier: GPL-2.0-or-later
/* An NVMe controller's admin queue: the controller reads commands, writes a page for each, and a
 * completion. */
#include "drive.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define ENTRIES 64

enum {
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30,
	SQ_TAIL = 0x1000,
	CQ_HEAD = 0x1004,
};

static void set(struct nvme *nvme, unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(nvme->registers + offset) = value;
}

static void set_address(struct nvme *nvme, unsigned int offset, uint64_t value)
{
	set(nvme, offset, (uint32_t)value);
	set(nvme, offset + 4, (uint32_t)(value >> 32));
}

static bool wait_ready(struct nvme *nvme, uint32_t ready)
{
	long long end = now_ms() + 20000;

	while ((*(volatile uint32_t *)(nvme->registers + CSTS) & 1) != ready) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

void start(char **words, int count)
{
	struct thing *device = find(words[0], DEVICE);
	struct nvme *nvme = &device->nvme;
	struct vfio_region_info bar = {.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX};
	uint64_t iova = number(words[2]);
	uint8_t *queues = pages(words[1], 2);

	(void)count;
	if (!nvme->registers) {
		if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &bar))
			fail("VFIO_DEVICE_GET_REGION_INFO");
		nvme->registers = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				       device->fd, (off_t)bar.offset);
		if (nvme->registers == MAP_FAILED) {
			nvme->registers = NULL;
			fail("mmap");
		}
	}
	set(nvme, CC, 0);
	if (!wait_ready(nvme, 0))
		fail_with(ETIMEDOUT, "the controller does not stop");
	memset(queues, 0, 2 * PAGE);
	nvme->sq = queues;
	nvme->cq = queues + PAGE;
	nvme->tail = nvme->head = 0;
	nvme->phase = 1;
	set(nvme, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	set_address(nvme, ASQ, iova);
	set_address(nvme, ACQ, iova + PAGE);
	set(nvme, CC, 0x00460001);
	if (!wait_ready(nvme, 1))
		fail_with(ETIMEDOUT, "the controller does not start");
	printf("ok\n");
}

/* Identify Controller into the page at iova. Returns its status, or a negative number if there was
 * no completion. */
static int do_identify(struct nvme *nvme, uint64_t iova, long long ms, _Atomic int *stop)
{
	volatile uint16_t *completion = (volatile uint16_t *)(nvme->cq + 16u * nvme->head);
	uint8_t *command = nvme->sq + 64u * nvme->tail;
	long long end = now_ms() + ms;
	const uint32_t cns = 1;

	memset(command, 0, 64);
	command[0] = 0x06;
	memcpy(command + 2, &nvme->id, sizeof(nvme->id));
	nvme->id++;
	memcpy(command + 24, &iova, sizeof(iova));
	memcpy(command + 40, &cns, sizeof(cns));
	nvme->tail = (nvme->tail + 1) % ENTRIES;
	__sync_synchronize();
	set(nvme, SQ_TAIL, nvme->tail);
	while ((completion[7] & 1) != nvme->phase) {
		if (now_ms() > end || (stop && *stop))
			return -1;
		sched_yield();
	}
	__sync_synchronize();
	nvme->head = (nvme->head + 1) % ENTRIES;
	nvme->phase ^= nvme->head == 0;
	set(nvme, CQ_HEAD, nvme->head);
	return completion[7] >> 1;
}

static struct nvme *started(const char *name)
{
	struct nvme *nvme = &find(name, DEVICE)->nvme;

	if (!nvme->sq || nvme->running)
		fail_with(EBUSY, "%s is not started, or busy", name);
	return nvme;
}

void identify(char **words, int count)
{
	struct nvme *nvme = started(words[0]);
	int status = do_identify(nvme, number(words[1]), (long long)number(words[2]), NULL);

	(void)count;
	if (status < 0)
		fail_with(ETIMEDOUT, "identify");
	printf("ok status=%d\n", status);
}

/*
 * Whether the device still reaches the page. The caller may be a real-time thread on the only CPU,
 * with which nothing that the kernel has put off happens before this is over; so it does not sleep.
 */
void watch(char **words, int count)
{
	struct nvme *nvme = started(words[0]);
	volatile uint8_t *bytes = pages(words[2], 1);
	long long ms = (long long)number(words[3]), end = now_ms() + ms;
	unsigned int changed = 0;

	(void)count;
	do_identify(nvme, number(words[1]), ms, NULL);
	while (now_ms() < end)
		;
	for (int i = 0; i < PAGE; i++)
		changed += bytes[i] != UNMAPPED;
	printf("ok bytes=%u\n", changed);
}

static void *keep_busy(void *argument)
{
	struct nvme *nvme = argument;

	/* One without a completion is the last: it may still come, into a queue that is not its own
	 * any more */
	while (!nvme->stop) {
		int status = do_identify(nvme, nvme->iova, 60000, &nvme->stop);

		if (status == 0) {
			nvme->done++;
			continue;
		}
		if (status > 0 || !nvme->stop)
			nvme->failed++;
		break;
	}
	return NULL;
}

void busy(char **words, int count)
{
	struct nvme *nvme = started(words[0]);
	int error;

	(void)count;
	nvme->iova = number(words[1]);
	nvme->stop = 0;
	nvme->done = nvme->failed = 0;
	error = pthread_create(&nvme->thread, NULL, keep_busy, nvme);
	if (error)
		fail_with(error, "pthread_create");
	nvme->running = true;
	printf("ok\n");
}

void stop_busy(struct nvme *nvme)
{
	if (!nvme->running)
		return;
	nvme->stop = 1;
	pthread_join(nvme->thread, NULL);
	nvme->running = false;
}

/* How far a busy one has come; it goes on */
void progress(char **words, int count)
{
	struct nvme *nvme = &find(words[0], DEVICE)->nvme;

	(void)count;
	printf("ok done=%lu failed=%lu\n", nvme->done, nvme->failed);
}

void idle(char **words, int count)
{
	struct nvme *nvme = &find(words[0], DEVICE)->nvme;

	(void)count;
	stop_busy(nvme);
	printf("ok done=%lu failed=%lu\n", nvme->done, nvme->failed);
}
