// SPDX-License-Identifier: GPL-2.0-or-later
#include "recovery.h"

#include <errno.h>

#define T(s, a)                                                                                    \
	{                                                                                          \
		RECOVERY_##s, DO_##a                                                               \
	}

/*
 * One row for each state. What is not listed cannot happen, and is answered with DO_BUG.
 *
 * A fence that begins during a recovery (the device wedged again at once) does not change the
 * state: the attempt that is under way fails, because the kernel does not confirm it.
 */
/* clang-format off */
static const struct recovery_transition table[_RECOVERY_STATE_MAX][_RECOVERY_INPUT_MAX] = {
	[RECOVERY_IDLE] = {
		[INPUT_RECOVER]        = T(QUEUED,   QUEUE),
		[INPUT_ISOLATE]        = T(ISOLATED, GIVE_UP),
		[INPUT_IGNORE]         = T(IGNORED,  IGNORE),
		[INPUT_UNFENCED]       = T(IDLE,     RELEASE),
		[INPUT_UNFENCED_OWING] = T(QUEUED,   QUEUE),	/* a restarted daemon finishes the job */
		[INPUT_REMOVED]        = T(IDLE,     FORGET),
		[INPUT_LINGERING]      = T(STUCK,    NONE),
		[INPUT_ASK_RECOVER]    = T(IDLE,     NONE),
		[INPUT_ASK_ISOLATE]    = T(IDLE,     NONE),
	},
	[RECOVERY_QUEUED] = {
		[INPUT_RECOVER]        = T(QUEUED,   NONE),
		[INPUT_ISOLATE]        = T(ISOLATED, GIVE_UP),
		[INPUT_IGNORE]         = T(IGNORED,  IGNORE),
		[INPUT_UNFENCED]       = T(IDLE,     RELEASE),
		[INPUT_UNFENCED_OWING] = T(QUEUED,   NONE),
		[INPUT_REMOVED]        = T(IDLE,     FORGET),
		[INPUT_TURN]           = T(RUNNING,  START),
		[INPUT_ASK_RECOVER]    = T(QUEUED,   NONE),
		[INPUT_ASK_ISOLATE]    = T(ISOLATED, GIVE_UP),
	},
	[RECOVERY_RUNNING] = {
		[INPUT_RECOVER]        = T(RUNNING,  NONE),
		[INPUT_ISOLATE]        = T(RUNNING,  NONE),
		[INPUT_IGNORE]         = T(RUNNING,  NONE),
		[INPUT_UNFENCED]       = T(RUNNING,  NONE),
		[INPUT_UNFENCED_OWING] = T(RUNNING,  NONE),
		[INPUT_REMOVED]        = T(GONE,     KILL),
		[INPUT_STEP_TIMEOUT]   = T(STUCK,    KILL),
		[INPUT_SUCCESS]        = T(IDLE,     CLOSE),
		[INPUT_FAILED]         = T(BACKOFF,  WAIT),
		[INPUT_POSTPONED]      = T(BACKOFF,  WAIT),
		[INPUT_EXHAUSTED]      = T(ISOLATED, GIVE_UP),
		[INPUT_PROTECTED]      = T(ISOLATED, GIVE_UP),
		[INPUT_REFENCED]       = T(BACKOFF,  WAIT),
		[INPUT_INTERRUPTED]    = T(QUEUED,   QUEUE),
		[INPUT_LAST_RESORT]    = T(QUEUED,   QUEUE),
		[INPUT_UNKNOWN]        = T(IDLE,     RESUME),
		[INPUT_ASK_RECOVER]    = T(RUNNING,  NONE),
		[INPUT_ASK_ISOLATE]    = T(RUNNING,  NONE),	/* when its step has ended */
	},
	[RECOVERY_STUCK] = {
		[INPUT_RECOVER]        = T(STUCK,    NONE),
		[INPUT_ISOLATE]        = T(STUCK,    NONE),
		[INPUT_IGNORE]         = T(STUCK,    NONE),
		[INPUT_UNFENCED]       = T(STUCK,    NONE),
		[INPUT_UNFENCED_OWING] = T(STUCK,    NONE),
		[INPUT_REMOVED]        = T(GONE,     NONE),
		[INPUT_SUCCESS]        = T(IDLE,     CLOSE),	/* it was only slow */
		[INPUT_FAILED]         = T(BACKOFF,  WAIT),
		[INPUT_POSTPONED]      = T(BACKOFF,  WAIT),
		[INPUT_EXHAUSTED]      = T(ISOLATED, GIVE_UP),
		[INPUT_PROTECTED]      = T(ISOLATED, GIVE_UP),
		[INPUT_REFENCED]       = T(BACKOFF,  WAIT),
		[INPUT_INTERRUPTED]    = T(QUEUED,   QUEUE),
		[INPUT_LAST_RESORT]    = T(QUEUED,   QUEUE),
		[INPUT_UNKNOWN]        = T(IDLE,     RESUME),
		[INPUT_ASK_RECOVER]    = T(STUCK,    NONE),
		[INPUT_ASK_ISOLATE]    = T(STUCK,    NONE),
	},
	[RECOVERY_BACKOFF] = {
		[INPUT_RECOVER]        = T(BACKOFF,  NONE),
		[INPUT_ISOLATE]        = T(ISOLATED, GIVE_UP),
		[INPUT_IGNORE]         = T(IGNORED,  IGNORE),
		[INPUT_UNFENCED]       = T(IDLE,     RELEASE),
		[INPUT_UNFENCED_OWING] = T(QUEUED,   QUEUE),
		[INPUT_REMOVED]        = T(IDLE,     FORGET),
		[INPUT_BACKOFF_OVER]   = T(QUEUED,   QUEUE),
		[INPUT_ASK_RECOVER]    = T(QUEUED,   QUEUE),
		[INPUT_ASK_ISOLATE]    = T(ISOLATED, GIVE_UP),
	},
	[RECOVERY_ISOLATED] = {
		[INPUT_RECOVER]        = T(QUEUED,   QUEUE),	/* a new fence, or a new policy */
		[INPUT_ISOLATE]        = T(ISOLATED, NONE),
		[INPUT_IGNORE]         = T(IGNORED,  IGNORE),
		[INPUT_UNFENCED]       = T(IDLE,     RELEASE),
		[INPUT_UNFENCED_OWING] = T(QUEUED,   QUEUE),
		[INPUT_REMOVED]        = T(IDLE,     FORGET),
		[INPUT_ASK_RECOVER]    = T(QUEUED,   QUEUE),
		[INPUT_ASK_ISOLATE]    = T(ISOLATED, NONE),
	},
	[RECOVERY_IGNORED] = {
		[INPUT_RECOVER]        = T(QUEUED,   QUEUE),
		[INPUT_ISOLATE]        = T(ISOLATED, GIVE_UP),
		[INPUT_IGNORE]         = T(IGNORED,  NONE),
		[INPUT_UNFENCED]       = T(IDLE,     RELEASE),
		[INPUT_UNFENCED_OWING] = T(QUEUED,   QUEUE),
		[INPUT_REMOVED]        = T(IDLE,     FORGET),
		[INPUT_ASK_RECOVER]    = T(QUEUED,   QUEUE),
		[INPUT_ASK_ISOLATE]    = T(ISOLATED, GIVE_UP),
	},
	/*
	 * Another device may come to the same place while the old worker is still stuck. It waits
	 * for its end, and is then a new device, with nothing of the old one.
	 */
	[RECOVERY_GONE] = {
		[INPUT_RECOVER]        = T(GONE,     NONE),
		[INPUT_ISOLATE]        = T(GONE,     NONE),
		[INPUT_IGNORE]         = T(GONE,     NONE),
		[INPUT_UNFENCED]       = T(GONE,     NONE),
		[INPUT_UNFENCED_OWING] = T(GONE,     NONE),
		[INPUT_REMOVED]        = T(GONE,     NONE),
		[INPUT_STEP_TIMEOUT]   = T(GONE,     NONE),
		[INPUT_POSTPONED]      = T(IDLE,     FORGET),
		[INPUT_SUCCESS]        = T(IDLE,     FORGET),
		[INPUT_FAILED]         = T(IDLE,     FORGET),
		[INPUT_EXHAUSTED]      = T(IDLE,     FORGET),
		[INPUT_PROTECTED]      = T(IDLE,     FORGET),
		[INPUT_REFENCED]       = T(IDLE,     FORGET),
		[INPUT_INTERRUPTED]    = T(IDLE,     FORGET),
		[INPUT_LAST_RESORT]    = T(IDLE,     FORGET),
		[INPUT_ASK_RECOVER]    = T(GONE,     NONE),
		[INPUT_ASK_ISOLATE]    = T(GONE,     NONE),
	},
};
/* clang-format on */

struct recovery_transition recovery_next(enum recovery_state state, enum recovery_input input)
{
	struct recovery_transition t = {state, DO_BUG};

	if ((size_t)state >= _RECOVERY_STATE_MAX || (size_t)input >= _RECOVERY_INPUT_MAX)
		return t;
	/* An entry that is not listed is all zero. */
	return table[state][input].action == DO_BUG ? t : table[state][input];
}

static const char *const state_names[_RECOVERY_STATE_MAX] = {
	[RECOVERY_IDLE] = "idle",	[RECOVERY_QUEUED] = "queued",
	[RECOVERY_RUNNING] = "running", [RECOVERY_STUCK] = "stuck",
	[RECOVERY_BACKOFF] = "backoff", [RECOVERY_ISOLATED] = "isolated",
	[RECOVERY_IGNORED] = "ignored", [RECOVERY_GONE] = "gone",
};

const char *recovery_state_name(enum recovery_state state)
{
	return (size_t)state < _RECOVERY_STATE_MAX ? state_names[state] : NULL;
}

int recovery_state_from_name(const char *name, enum recovery_state *ret)
{
	for (enum recovery_state state = 0; state < _RECOVERY_STATE_MAX; state++) {
		if (streq(name, state_names[state])) {
			*ret = state;
			return 0;
		}
	}
	return -EINVAL;
}

const char *recovery_input_name(enum recovery_input input)
{
	static const char *const names[_RECOVERY_INPUT_MAX] = {
		[INPUT_RECOVER] = "recover",
		[INPUT_ISOLATE] = "isolate",
		[INPUT_IGNORE] = "ignore",
		[INPUT_UNFENCED] = "unfenced",
		[INPUT_UNFENCED_OWING] = "unfenced, driver owed",
		[INPUT_REMOVED] = "removed",
		[INPUT_TURN] = "turn",
		[INPUT_STEP_TIMEOUT] = "step timeout",
		[INPUT_SUCCESS] = "success",
		[INPUT_FAILED] = "failed",
		[INPUT_EXHAUSTED] = "exhausted",
		[INPUT_PROTECTED] = "protected",
		[INPUT_REFENCED] = "fenced anew",
		[INPUT_INTERRUPTED] = "interrupted",
		[INPUT_LAST_RESORT] = "last resort",
		[INPUT_POSTPONED] = "postponed",
		[INPUT_BACKOFF_OVER] = "backoff over",
		[INPUT_LINGERING] = "lingering worker",
		[INPUT_UNKNOWN] = "not known yet",
		[INPUT_ASK_RECOVER] = "asked to recover",
		[INPUT_ASK_ISOLATE] = "asked to isolate",
	};

	return (size_t)input < _RECOVERY_INPUT_MAX ? names[input] : NULL;
}
