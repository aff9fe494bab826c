/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/iommu-ras.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _UAPI_LINUX_IOMMU_RAS_H
#define _UAPI_LINUX_IOMMU_RAS_H

#define IOMMU_RAS_FAMILY_NAME		"iommu-ras"
#define IOMMU_RAS_FAMILY_VERSION	1

/**
 * enum iommu_ras_state - What the IOMMU lets a device do.
 * @IOMMU_RAS_STATE_ACTIVE: Not fenced.
 * @IOMMU_RAS_STATE_FENCED: Blocked, and its ATC may hold stale translations.
 *   Only a successful reset leads out of this state.
 * @IOMMU_RAS_STATE_SANITIZED: Reset successfully since it was fenced, so that
 *   its ATC is empty. Still blocked, until a domain is attached.
 */
enum iommu_ras_state {
	IOMMU_RAS_STATE_ACTIVE = 1,
	IOMMU_RAS_STATE_FENCED,
	IOMMU_RAS_STATE_SANITIZED,
};

/**
 * enum iommu_ras_reason - Why a device was fenced.
 * @IOMMU_RAS_REASON_ATC_TIMEOUT: The IOMMU reported that an ATC invalidation
 *   was not completed.
 * @IOMMU_RAS_REASON_SYNC_TIMEOUT: The IOMMU driver stopped waiting before the
 *   hardware said whether an ATC invalidation was completed.
 * @IOMMU_RAS_REASON_RESET_FAILED: A reset failed, so it is unknown what the
 *   ATC of the device holds, and whether the device completes invalidations.
 * @IOMMU_RAS_REASON_ADMINISTRATIVE: Somebody asked for it with device-fence.
 */
enum iommu_ras_reason {
	IOMMU_RAS_REASON_ATC_TIMEOUT = 1,
	IOMMU_RAS_REASON_SYNC_TIMEOUT,
	IOMMU_RAS_REASON_RESET_FAILED,
	IOMMU_RAS_REASON_ADMINISTRATIVE,
};

enum {
	IOMMU_RAS_A_DEVICE_PAD = 1,
	IOMMU_RAS_A_DEVICE_EVENT_SEQ,
	IOMMU_RAS_A_DEVICE_FENCE_ID,
	IOMMU_RAS_A_DEVICE_BUS,
	IOMMU_RAS_A_DEVICE_DEV,
	IOMMU_RAS_A_DEVICE_IOMMU,
	IOMMU_RAS_A_DEVICE_GROUP,
	IOMMU_RAS_A_DEVICE_STREAM_ID,
	IOMMU_RAS_A_DEVICE_DRIVER,
	IOMMU_RAS_A_DEVICE_REASON,
	IOMMU_RAS_A_DEVICE_STATE,
	IOMMU_RAS_A_DEVICE_FENCE_TIME,
	IOMMU_RAS_A_DEVICE_FENCE_COUNT,
	IOMMU_RAS_A_DEVICE_SUPPRESSED,
	IOMMU_RAS_A_DEVICE_STREAM_COUNT,

	__IOMMU_RAS_A_DEVICE_MAX,
	IOMMU_RAS_A_DEVICE_MAX = (__IOMMU_RAS_A_DEVICE_MAX - 1)
};

enum {
	IOMMU_RAS_CMD_DEVICE_GET = 1,
	IOMMU_RAS_CMD_DEVICE_FENCE,
	IOMMU_RAS_CMD_DEVICE_REATTACH,
	IOMMU_RAS_CMD_DEVICE_FENCED_NTF,
	IOMMU_RAS_CMD_DEVICE_SANITIZED_NTF,
	IOMMU_RAS_CMD_DEVICE_UNFENCED_NTF,
	IOMMU_RAS_CMD_DEVICE_REMOVED_NTF,

	__IOMMU_RAS_CMD_MAX,
	IOMMU_RAS_CMD_MAX = (__IOMMU_RAS_CMD_MAX - 1)
};

#define IOMMU_RAS_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_IOMMU_RAS_H */
