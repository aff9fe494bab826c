// SPDX-License-Identifier: GPL-2.0-or-later
/* Address spaces: what is mapped and unmapped. */
#include "drive.h"
#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void container(char **words, int count)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	(void)count;
	if (fd < 0)
		fail("/dev/vfio/vfio");
	add(words[0], CONTAINER, fd, 0);
	printf("ok\n");
}

void ioas(char **words, int count)
{
	struct ioas_alloc arg = {.size = sizeof(arg)};

	(void)count;
	if (ioctl(iommufd(), IOMMU_IOAS_ALLOC, &arg))
		fail("IOMMU_IOAS_ALLOC");
	add(words[0], IOAS, iommufd(), arg.out_ioas_id);
	printf("ok\n");
}

void map(char **words, int count)
{
	struct thing *space = find(words[0], CONTAINER | IOAS);
	uint64_t iova = number(words[1]), length = number(words[3]) * PAGE;
	uintptr_t address = (uintptr_t)pages(words[2], number(words[3]));

	(void)count;
	if (space->kind == CONTAINER) {
		struct vfio_iommu_type1_dma_map arg = {
			.argsz = sizeof(arg),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = address,
			.iova = iova,
			.size = length,
		};

		if (ioctl(space->fd, VFIO_IOMMU_MAP_DMA, &arg))
			fail("VFIO_IOMMU_MAP_DMA");
	} else {
		struct ioas_map arg = {
			.size = sizeof(arg),
			.flags = MAP_FIXED_IOVA | MAP_READABLE | MAP_WRITEABLE,
			.ioas_id = space->id,
			.user_va = address,
			.iova = iova,
			.length = length,
		};

		if (ioctl(space->fd, IOMMU_IOAS_MAP, &arg))
			fail("IOMMU_IOAS_MAP");
	}
	printf("ok\n");
}

struct unmapping {
	struct thing *space;
	uint64_t iova, length;
	uint8_t *memory;
	pthread_barrier_t *barrier;
	int error;
	uint64_t called, returned; /* by the clock of a pci-ats-test */
};

/* From here on the memory is the program's alone, and it says so at once: whatever changes it
 * afterwards is a device. */
static void do_unmap(struct unmapping *this)
{
	int error;

	this->called = ats_now();
	if (this->space->kind == CONTAINER) {
		struct vfio_iommu_type1_dma_unmap arg = {
			.argsz = sizeof(arg), .iova = this->iova, .size = this->length};

		error = ioctl(this->space->fd, VFIO_IOMMU_UNMAP_DMA, &arg);
	} else {
		struct ioas_unmap arg = {.size = sizeof(arg),
					 .ioas_id = this->space->id,
					 .iova = this->iova,
					 .length = this->length};

		error = ioctl(this->space->fd, IOMMU_IOAS_UNMAP, &arg);
	}
	this->error = error ? errno : 0;
	if (error)
		return;
	ats_flushed();
	this->returned = ats_now();
	__sync_synchronize();
	memset(this->memory, UNMAPPED, this->length);
}

void unmap(char **words, int count)
{
	struct unmapping this = {.space = find(words[0], CONTAINER | IOAS),
				 .iova = number(words[1]),
				 .length = number(words[2]) * PAGE,
				 .memory = pages(words[3], number(words[2]))};

	(void)count;
	do_unmap(&this);
	if (this.error)
		fail_with(this.error, "unmap");
	printf("ok called=%lu returned=%lu\n", this.called, this.returned);
}

static void *unmap_thread(void *argument)
{
	struct unmapping *this = argument;

	pthread_barrier_wait(this->barrier);
	do_unmap(this);
	return NULL;
}

void unmap_both(char **words, int count)
{
	pthread_barrier_t barrier;
	struct unmapping both[2];
	pthread_t threads[2];

	(void)count;
	for (int i = 0; i < 2; i++)
		both[i] = (struct unmapping){.space = find(words[0], CONTAINER | IOAS),
					     .iova = number(words[1 + i]),
					     .length = number(words[3]) * PAGE,
					     .memory = pages(words[4 + i], number(words[3])),
					     .barrier = &barrier};
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++) {
		int error = pthread_create(&threads[i], NULL, unmap_thread, &both[i]);

		if (error)
			fail_with(error, "pthread_create");
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	for (int i = 0; i < 2; i++)
		if (both[i].error)
			fail_with(both[i].error, "unmap %d", i);
	printf("ok\n");
}
