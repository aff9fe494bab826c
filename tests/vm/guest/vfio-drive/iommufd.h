/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vfio-drive needs of the kernel's interfaces to iommufd, and to VFIO where it has to do with
 * that. The headers that cross compilers come with are older than these.
 */
#ifndef IOMMUFD_H
#define IOMMUFD_H

#include <linux/ioctl.h>
#include <stdint.h>

#define IOMMUFD(number) _IO(';', number)

enum {
	IOMMU_DESTROY = IOMMUFD(0x80),
	IOMMU_IOAS_ALLOC = IOMMUFD(0x81),
	IOMMU_IOAS_MAP = IOMMUFD(0x85),
	IOMMU_IOAS_UNMAP = IOMMUFD(0x86),
	IOMMU_HWPT_ALLOC = IOMMUFD(0x89),
	IOMMU_HWPT_INVALIDATE = IOMMUFD(0x8d),
	IOMMU_VIOMMU_ALLOC = IOMMUFD(0x90),
	IOMMU_VDEVICE_ALLOC = IOMMUFD(0x91),
	IOMMU_VEVENTQ_ALLOC = IOMMUFD(0x93),

	BIND_IOMMUFD = IOMMUFD(118), /* VFIO_DEVICE_… */
	ATTACH_IOMMUFD_PT = IOMMUFD(119),
	DETACH_IOMMUFD_PT = IOMMUFD(120),
};

enum {
	MAP_FIXED_IOVA = 1,
	MAP_WRITEABLE = 2,
	MAP_READABLE = 4,
	HWPT_NEST_PARENT = 1,

	HWPT_DATA_ARM_SMMUV3 = 2,
	VIOMMU_ARM_SMMUV3 = 1,
	VEVENTQ_ARM_SMMUV3 = 1,
	INVALIDATE_ARM_SMMUV3 = 1,
};

struct destroy {
	uint32_t size, id;
};

struct ioas_alloc {
	uint32_t size, flags, out_ioas_id;
};

struct ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct ioas_unmap {
	uint32_t size, ioas_id;
	uint64_t iova, length;
};

struct hwpt_alloc {
	uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
	uint64_t data_uptr;
	uint32_t fault_id, reserved2;
};

struct hwpt_invalidate {
	uint32_t size, hwpt_id;
	uint64_t data_uptr;
	uint32_t data_type, entry_len, entry_num, reserved;
};

struct viommu_alloc {
	uint32_t size, flags, type, dev_id, hwpt_id, out_viommu_id, data_len, reserved;
	uint64_t data_uptr;
};

struct vdevice_alloc {
	uint32_t size, viommu_id, dev_id, out_vdevice_id;
	uint64_t virt_id;
};

struct veventq_alloc {
	uint32_t size, flags, viommu_id, type, veventq_depth, out_veventq_id, out_veventq_fd,
		reserved;
};

struct bind_iommufd {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct attach_iommufd_pt {
	uint32_t argsz, flags, pt_id, pasid;
};

struct detach_iommufd_pt {
	uint32_t argsz, flags, pasid;
};

#endif
