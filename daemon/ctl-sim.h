/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smmu-rasctl simulate: the daemon's table (recovery.c) and policy, driven by a clock of its own.
 *
 * ctl-sim-events.c reads what happens, ctl-sim.c lets it happen, ctl-simulate.c prints it.
 */
#ifndef SMMU_RAS_CTL_SIM_H
#define SMMU_RAS_CTL_SIM_H

#include "policy.h"
#include "recovery.h"

#define SIM_DEVICES_MAX	 4096
#define SIM_EVENTS_MAX	 10000
#define SIM_OUTCOMES_MAX 16
/* Longer than the message of any error. */
#define SIM_ERROR_SIZE 512

enum sim_result {
	SIM_OK,
	SIM_FAIL,
	SIM_HANG, /* does not end within the limit of the step, or at all */
};

/* How one run of a step ends. */
struct sim_outcome {
	enum sim_result result;
	uint64_t takes; /* us; USEC_INFINITY for ever */
};

/* How the runs of one kind of step end, one after the other; the last one stays. */
struct sim_outcomes {
	struct sim_outcome outcome[SIM_OUTCOMES_MAX];
	size_t n; /* 0: well, after a moment */
	size_t next;
};

struct sim_device {
	char dev[RAS_DEV_SIZE];
	char values[_MATCH_MAX][RAS_NAME_SIZE];
	char group[24];
	unsigned int in_use; /* mask of enum protect */
	struct sim_outcomes outcomes[_STEP_KIND_MAX];

	/* What the kernel would say. */
	enum iommu_ras_state kernel;
	bool bound;
	bool present;

	/* What the daemon would know. */
	enum recovery_state state;
	const struct rule *rule;
	unsigned int attempts;
	bool last_resort; /* it runs, or is to run, the steps of on_exhausted */
	bool finish;	  /* it is unfenced: the next attempt only binds */
	bool ask_isolate; /* when its step has ended */
	bool force;
	struct step steps[RULE_STEPS_MAX + 1]; /* of the attempt that runs */
	size_t n_steps;
	size_t step;
	struct sim_outcome outcome; /* of the step that runs */
	uint64_t step_begun;
	uint64_t timer; /* us; USEC_INFINITY: none */
	uint64_t recoveries[32];
	unsigned int n_recoveries;
	uint64_t fenced_at;
	uint64_t queued_order;
	char note[160];
	unsigned int n_recovered;
	uint64_t outage; /* us, all together */
};

enum sim_event_type {
	SIM_FENCED,
	SIM_UNFENCED, /* by other hands */
	SIM_REMOVED,
	SIM_RECOVER, /* an operator asks */
	SIM_FORCE,   /* likewise, with --force */
	SIM_ISOLATE, /* likewise */
	_SIM_EVENT_MAX,
};

struct sim_event {
	uint64_t at; /* us from the beginning */
	size_t order;
	enum sim_event_type type;
	struct sim_device *device;
	char reason[32];
	struct sim_outcomes
		outcomes[_STEP_KIND_MAX]; /* in place of the device's, where there are */
};

/* One line of what happens. */
typedef void (*sim_teller)(uint64_t at, const struct sim_device *device, const char *what,
			   const char *text, void *userdata);

struct sim {
	const struct policy *policy;
	uint64_t now;
	struct sim_device *devices[SIM_DEVICES_MAX];
	size_t n_devices;
	struct sim_event *events;
	size_t n_events;
	size_t events_size;
	size_t next_event;
	uint64_t queued;
	sim_teller tell;
	void *userdata;
};

/* --- ctl-sim-events.c ------------------------------------------------------------------------- */

/*
 * Reads the events of @text, from a file called @file: an object of devices and events, or lines as
 * smmu-rasctl monitor --json writes them. Returns 0, or -EINVAL, -ENOMEM with @error filled.
 */
int sim_read(struct sim *sim, const char *file, const char *text, size_t len,
	     char error[static SIM_ERROR_SIZE]);

/* The device called @dev, made when there is none. NULL: too many, or no memory. */
struct sim_device *sim_device(struct sim *sim, const char *dev);
/* Adds an event. NULL: too many, or no memory. */
struct sim_event *sim_event(struct sim *sim, enum sim_event_type type, struct sim_device *device,
			    uint64_t at);
void sim_clear(struct sim *sim);
const char *sim_event_name(enum sim_event_type type);

/* --- ctl-sim-device.c ------------------------------------------------------------------------- */

/* Tells what happened to the device, and remembers why it is as it is. */
void sim_tell(struct sim *sim, const struct sim_device *d, const char *what, const char *format,
	      ...) _printf_(4, 5);
void sim_note(struct sim_device *d, const char *format, ...) _printf_(2, 3);

/* Takes the device a step further, as device_apply() does. */
void sim_apply(struct sim *sim, struct sim_device *d, enum recovery_input input);
/* What policy wants of a fence that began. */
enum recovery_input sim_decide(struct sim *sim, struct sim_device *d);
/* The kernel lifts its fence. */
void sim_unfence(struct sim *sim, struct sim_device *d);
/* The timer of a device whose step runs, and of one whose step had been given up. */
void sim_step_timer(struct sim *sim, struct sim_device *d);
void sim_stuck_ended(struct sim *sim, struct sim_device *d);

/* --- ctl-sim.c -------------------------------------------------------------------------------- */

/* Lets everything happen, until nothing more does. */
void sim_run(struct sim *sim);

#endif
