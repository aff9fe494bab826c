// SPDX-License-Identifier: GPL-2.0-or-later
/* What a hypervisor does for a guest that has an SMMUv3: nested translation and the guest's
 * invalidations. */
#define _GNU_SOURCE
#include "drive.h"
#include "iommufd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void parent(char **words, int count)
{
	struct hwpt_alloc arg = {.size = sizeof(arg),
				 .flags = HWPT_NEST_PARENT,
				 .dev_id = find(words[1], DEVICE)->id,
				 .pt_id = find(words[2], IOAS)->id};

	(void)count;
	if (ioctl(iommufd(), IOMMU_HWPT_ALLOC, &arg))
		fail("IOMMU_HWPT_ALLOC");
	add(words[0], HWPT, -1, arg.out_hwpt_id);
	printf("ok\n");
}

void viommu(char **words, int count)
{
	struct viommu_alloc arg = {.size = sizeof(arg),
				   .type = VIOMMU_ARM_SMMUV3,
				   .dev_id = find(words[1], DEVICE)->id,
				   .hwpt_id = find(words[2], HWPT)->id};

	(void)count;
	if (ioctl(iommufd(), IOMMU_VIOMMU_ALLOC, &arg))
		fail("IOMMU_VIOMMU_ALLOC");
	add(words[0], VIOMMU, -1, arg.out_viommu_id);
	printf("ok\n");
}

void vdevice(char **words, int count)
{
	struct vdevice_alloc arg = {.size = sizeof(arg),
				    .dev_id = find(words[1], DEVICE)->id,
				    .viommu_id = find(words[2], VIOMMU)->id,
				    .virt_id = number(words[3])};

	(void)count;
	if (ioctl(iommufd(), IOMMU_VDEVICE_ALLOC, &arg))
		fail("IOMMU_VDEVICE_ALLOC");
	add(words[0], VDEVICE, -1, arg.out_vdevice_id);
	printf("ok\n");
}

void nested(char **words, int count)
{
	uint64_t ste[2] = {number(words[3]), number(words[4])};
	struct hwpt_alloc arg = {.size = sizeof(arg),
				 .dev_id = find(words[1], DEVICE)->id,
				 .pt_id = find(words[2], VIOMMU)->id,
				 .data_type = HWPT_DATA_ARM_SMMUV3,
				 .data_len = sizeof(ste),
				 .data_uptr = (uintptr_t)ste};

	(void)count;
	if (ioctl(iommufd(), IOMMU_HWPT_ALLOC, &arg))
		fail("IOMMU_HWPT_ALLOC");
	add(words[0], HWPT, -1, arg.out_hwpt_id);
	printf("ok\n");
}

/* Not an error of this program if the kernel reports one: the answer tells both what it said and
 * how far it got */
void invalidate(char **words, int count)
{
	uint64_t array[254];
	struct hwpt_invalidate arg = {.size = sizeof(arg),
				      .hwpt_id = find(words[0], VIOMMU)->id,
				      .data_uptr = (uintptr_t)array,
				      .data_type = INVALIDATE_ARM_SMMUV3,
				      .entry_len = 16,
				      .entry_num = (uint32_t)(count - 1) / 2};
	const char *error = "0";

	for (int i = 1; i < count; i++)
		array[i - 1] = number(words[i]);
	if (ioctl(iommufd(), IOMMU_HWPT_INVALIDATE, &arg))
		error = strerrorname_np(errno);
	printf("ok error=%s handled=%u\n", error, arg.entry_num);
}

void veventq(char **words, int count)
{
	struct veventq_alloc arg = {.size = sizeof(arg),
				    .type = VEVENTQ_ARM_SMMUV3,
				    .viommu_id = find(words[1], VIOMMU)->id,
				    .veventq_depth = 64};

	(void)count;
	if (ioctl(iommufd(), IOMMU_VEVENTQ_ALLOC, &arg))
		fail("IOMMU_VEVENTQ_ALLOC");
	add(words[0], VEVENTQ, (int)arg.out_veventq_fd, arg.out_veventq_id);
	printf("ok\n");
}

void events(char **words, int count)
{
	struct thing *queue = find(words[0], VEVENTQ);
	struct pollfd wait = {.fd = queue->fd, .events = POLLIN};
	struct {
		uint32_t flags, sequence;
		uint64_t event[4];
	} one;
	unsigned long number_of = 0;
	uint64_t last[2] = {0, 0};

	while (poll(&wait, 1, 0) > 0 && wait.revents & POLLIN) {
		ssize_t got = read(queue->fd, &one, sizeof(one));

		if (got < 0)
			fail("read");
		if (got < (ssize_t)sizeof(one))
			continue; /* only the word that some were lost */
		if (count > 1 && one.event[0] >> 32 != number(words[1]))
			continue;
		number_of++;
		last[0] = one.event[0] & 0xff;
		last[1] = one.event[0] >> 32;
	}
	printf("ok count=%lu type=%llu sid=%llu\n", number_of, (unsigned long long)last[0],
	       (unsigned long long)last[1]);
}
