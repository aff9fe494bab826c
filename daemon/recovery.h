/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a device as the daemon sees it: a state machine without side effects.
 *
 * recovery.c is one table. The files named in device.h turn what happens into inputs, and carry out
 * the actions.
 */
#ifndef SMMU_RAS_RECOVERY_H
#define SMMU_RAS_RECOVERY_H

#include "util.h"

enum recovery_state {
	RECOVERY_IDLE,	  /* nothing to do: not fenced, or not heard of */
	RECOVERY_QUEUED,  /* waits for its turn: related devices go one after the other */
	RECOVERY_RUNNING, /* a worker carries out the steps */
	RECOVERY_STUCK, /* a step took too long; its worker has been killed and has not ended yet */
	RECOVERY_BACKOFF,  /* waits before the next attempt */
	RECOVERY_ISOLATED, /* given up, or left to the operator by policy */
	RECOVERY_IGNORED,  /* left alone by policy */
	RECOVERY_GONE,	   /* removed from the system while a worker was busy with it */
	_RECOVERY_STATE_MAX,
};

enum recovery_input {
	INPUT_RECOVER,	      /* fenced, and policy says recover */
	INPUT_ISOLATE,	      /* fenced, and policy or its rate limit says isolate */
	INPUT_IGNORE,	      /* fenced, and policy says ignore */
	INPUT_UNFENCED,	      /* the kernel unfenced it, and no driver waits to be bound again */
	INPUT_UNFENCED_OWING, /* the kernel unfenced it, but we still owe it its driver */
	INPUT_REMOVED,	      /* the device is gone */
	INPUT_TURN, /* no related device is being recovered, and there is room for a worker */
	INPUT_STEP_TIMEOUT, /* the worker's step took too long */
	INPUT_SUCCESS,	    /* the worker ended, and the kernel confirms */
	INPUT_FAILED,	    /* the worker ended without success; there are attempts left */
	INPUT_EXHAUSTED,    /* the same, and there are none */
	INPUT_PROTECTED,    /* the worker found something on the device that policy protects */
	INPUT_REFENCED,	    /* it ended well, but the device has been fenced anew meanwhile */
	INPUT_INTERRUPTED,  /* it was cut off; the kernel unfenced the device, the rest is to do */
	INPUT_LAST_RESORT,  /* there are no attempts left, but what policy wants in the end */
	INPUT_POSTPONED,    /* there is no room for a worker just now */
	INPUT_BACKOFF_OVER,
	INPUT_LINGERING,   /* a worker of an earlier daemon is still busy with the device */
	INPUT_UNKNOWN,	   /* it has ended, before the kernel has said how the device is */
	INPUT_ASK_RECOVER, /* an operator wants it recovered now */
	INPUT_ASK_ISOLATE, /* an operator wants it left alone */
	_RECOVERY_INPUT_MAX,
};

enum recovery_action {
	DO_BUG, /* cannot happen; said loudly, changes nothing */
	DO_NONE,
	DO_QUEUE,   /* put it into the queue */
	DO_START,   /* start a worker; this is one attempt */
	DO_KILL,    /* kill the worker, and say so */
	DO_WAIT,    /* set the timer for the next attempt */
	DO_CLOSE,   /* the story has ended well: say so, and forget what is owed */
	DO_RELEASE, /* unfenced without us: forget what is owed */
	DO_GIVE_UP, /* say what the operator can do */
	DO_IGNORE,  /* say so */
	DO_RESUME,  /* look at it when the kernel tells of it */
	DO_FORGET,  /* drop everything about the device */
};

struct recovery_transition {
	enum recovery_state next;
	enum recovery_action action;
};

/* What follows when @input comes in @state. Pure. */
struct recovery_transition recovery_next(enum recovery_state state, enum recovery_input input);

/* Words for people and for the state files; NULL when there is none. */
const char *recovery_state_name(enum recovery_state state);
const char *recovery_input_name(enum recovery_input input);

/* The state called @name. Returns 0 or -EINVAL. */
int recovery_state_from_name(const char *name, enum recovery_state *ret);

#endif
