/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What survives a restart of the daemon: one small file for each device in /run/smmu-rasd/devices,
 * replaced atomically. smmu-rasctl reads the same files to say what the daemon is doing.
 *
 * The rule: what has to be undone is on disk before it is done.
 */
#ifndef SMMU_RAS_STATE_H
#define SMMU_RAS_STATE_H

#include <sys/types.h>

#include "kernel-msg.h"
#include "recovery.h"
#include "sysfs.h"

#define STATE_RECOVERIES_MAX 32
#define STATE_NOTE_SIZE	     256
#define STATE_STEP_SIZE	     24
#define RESET_METHOD_SIZE    96
/* More than three attempts of eight steps; of a longer story the beginning is dropped. */
#define RECORD_HISTORY_MAX 32

/* Why a device is ISOLATED or IGNORED, which says what can bring it back. */
enum left_alone {
	LEFT_NOT,
	LEFT_POLICY,	/* a rule says so: another policy may say something else */
	LEFT_RATE,	/* recovered too often: the same, and time passes */
	LEFT_PROTECTED, /* in use: the operator ends that, and reloads */
	LEFT_EXHAUSTED, /* all attempts failed: until it is unfenced, or fenced anew */
	LEFT_OPERATOR,	/* somebody asked for it: likewise, or until somebody asks otherwise */
	_LEFT_MAX,
};

/* How one step of the present, or else the last, story of a device ended. */
struct step_result {
	uint32_t attempt;
	int error; /* 0 or negative errno */
	char step[STATE_STEP_SIZE];
	uint64_t duration; /* us */
	uint64_t time;	   /* us of CLOCK_REALTIME when it ended */
	char note[128];	   /* why it failed, or a remark; "" for none */
};

/* What the kernel has made of a device: how many of each hang below it. */
struct functions {
	uint32_t block;	 /* disks, no partitions */
	uint32_t net;	 /* network interfaces */
	uint32_t nvme;	 /* NVMe controllers */
	uint32_t virtio; /* virtio devices with a driver */
};

#define VF_DRIVERS_SIZE 512

/* The virtual functions of a device; all zero for one that has none. */
struct vf_setup {
	uint32_t n;
	bool autoprobe; /* sriov_drivers_autoprobe */
	/* Runs of "FIRST-LAST DRIVER OVERRIDE;", "-" for none; what does not fit is left out. */
	char drivers[VF_DRIVERS_SIZE];
};

struct device_record {
	char bus[RAS_BUS_SIZE];
	char dev[RAS_DEV_SIZE];
	char identity[SYSFS_IDENTITY_SIZE]; /* whose story this is; "" for not known */
	enum recovery_state state;
	enum recovery_state was; /* of a record in STATE_GONE: the state that it was in */
	uint32_t reason;	 /* likewise, enum iommu_ras_reason; 0: not known */
	uint64_t fence_id;	 /* the fence this is about */
	unsigned int attempts;	 /* begun for it */
	enum left_alone left;
	bool active;	  /* the kernel said so last */
	bool begun;	  /* the present attempt may have done something to the device */
	bool last_resort; /* its attempts are used up, and policy's last resort has its turn */
	bool force;	  /* an operator said that protect is not to be asked */
	char rule[64];

	/* What is owed to the device once a worker has begun; valid when .prepared. */
	bool prepared;
	char driver[RAS_NAME_SIZE];	      /* to be bound again; "" for none */
	char driver_override[RAS_NAME_SIZE];  /* "" for none */
	char reset_method[RESET_METHOD_SIZE]; /* to be written back; "" for leave it alone */
	struct functions functions;
	struct vf_setup vfs;
	/*
	 * A step took it out of the system, or is about to: what comes to its place with the same
	 * ids is the same device. Its slot by name, since then nobody can say any more where it is.
	 */
	bool away;
	char slot[RAS_NAME_SIZE];

	/* The worker: a number alone may belong to another process by now. */
	pid_t worker;	       /* 0 for none */
	uint64_t worker_start; /* in clock ticks since boot, as in proc(5) */

	/* When recoveries began, for rate_limit: us of CLOCK_BOOTTIME, oldest first. */
	unsigned int n_recoveries;
	uint64_t recoveries[STATE_RECOVERIES_MAX];

	/* For people. */
	char step[STATE_STEP_SIZE]; /* the last one that began */
	char note[STATE_NOTE_SIZE]; /* why it is in this state */
	uint64_t since;		    /* us of CLOCK_REALTIME */
	uint64_t next; /* when something happens by itself, us of CLOCK_REALTIME; 0 for never */
	uint64_t recovered_time; /* when it was recovered last, us of CLOCK_REALTIME; 0 for never */
	uint64_t keep_until; /* the rate limit does not need it any more, us of CLOCK_BOOTTIME */
	/* Oldest first; on the heap, RECORD_HISTORY_MAX of them, from the first one on. */
	unsigned int n_history;
	struct step_result *history;
};

/* Adds to the history. Without memory for it, it stays as it is. */
void record_add_history(struct device_record *record, const struct step_result *result);
/* Nothing is to be put back. */
void record_clear_debt(struct device_record *record);
/* Frees what the record holds on the heap; it has no history then. */
void record_clear_history(struct device_record *record);

/*
 * Makes the directory, and becomes the one daemon that uses it. The lock goes with the process.
 * Returns 0, -EBUSY when another daemon runs, or -errno.
 */
int state_open(void);

/* Is there a daemon? Also for those who are not root. */
bool state_daemon_runs(void);

/*
 * Writes the record; it is on disk when this returns 0. Returns -errno otherwise, and what was on
 * disk stays. A directory that somebody removed is made again.
 */
int state_save(const struct device_record *record);

/*
 * The folders below /run/smmu-rasd: what the daemon is busy with, and devices that were removed
 * while it was, for people (gone.h). state_save() and its like are for the first.
 */
#define STATE_DEVICES "devices"
#define STATE_GONE    "gone"
int state_save_in(const char *folder, const struct device_record *record);
int state_load_in(const char *folder, const char *bus, const char *dev, struct device_record *ret);
void state_remove_in(const char *folder, const char *bus, const char *dev);
int state_load_all_in(const char *folder,
		      void (*handler)(const struct device_record *record, int error,
				      void *userdata),
		      void *userdata);

/* Removes the file of the device. */
void state_remove(const char *bus, const char *dev);

/*
 * Puts a file that cannot be read out of the way, so that it is neither read again nor overwritten:
 * it gets the suffix ".bad", in place of an earlier one. Returns 0 or -errno.
 */
int state_set_aside(const char *bus, const char *dev);

/*
 * Reads one. Returns 0 with a record to clear (record_clear_history()), -ENOENT, -EBADMSG for a
 * file that is damaged, or -errno.
 */
int state_load(const char *bus, const char *dev, struct device_record *ret);

/*
 * Reads all, and hands each to @handler, which owns what is on its heap then; @error is that of
 * state_load(), and of the record only .bus and .dev are then filled, with what the file's name
 * says. Returns 0 or -errno.
 */
int state_load_all(void (*handler)(const struct device_record *record, int error, void *userdata),
		   void *userdata);

#endif
