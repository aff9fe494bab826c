// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "recovery.h"
#include "unit.h"

struct walk {
	enum recovery_input input;
	enum recovery_state state;
	enum recovery_action action;
};

static void walk(const struct walk *steps, size_t n)
{
	enum recovery_state state = RECOVERY_IDLE;

	for (size_t i = 0; i < n; i++) {
		struct recovery_transition t = recovery_next(state, steps[i].input);

		ck_assert_msg(t.next == steps[i].state && t.action == steps[i].action,
			      "step %zu: %s in %s leads to %s with action %d", i,
			      recovery_input_name(steps[i].input), recovery_state_name(state),
			      recovery_state_name(t.next), t.action);
		state = t.next;
	}
}
#define WALK(...)                                                                                  \
	walk((const struct walk[]){__VA_ARGS__},                                                   \
	     sizeof((const struct walk[]){__VA_ARGS__}) / sizeof(struct walk))

START_TEST(the_good_way)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE}, {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_UNFENCED_OWING, RECOVERY_RUNNING, DO_NONE},
	     {INPUT_SUCCESS, RECOVERY_IDLE, DO_CLOSE});
}
END_TEST

START_TEST(the_bad_way)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE}, {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_FAILED, RECOVERY_BACKOFF, DO_WAIT},
	     {INPUT_BACKOFF_OVER, RECOVERY_QUEUED, DO_QUEUE},
	     {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_EXHAUSTED, RECOVERY_ISOLATED, DO_GIVE_UP},
	     {INPUT_UNFENCED, RECOVERY_IDLE, DO_RELEASE});
}
END_TEST

START_TEST(stuck_and_back)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE}, {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_STEP_TIMEOUT, RECOVERY_STUCK, DO_KILL},
	     {INPUT_RECOVER, RECOVERY_STUCK, DO_NONE}, {INPUT_FAILED, RECOVERY_BACKOFF, DO_WAIT});
}
END_TEST

START_TEST(gone_and_another_in_its_place)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE}, {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_REMOVED, RECOVERY_GONE, DO_KILL}, {INPUT_RECOVER, RECOVERY_GONE, DO_NONE},
	     {INPUT_REMOVED, RECOVERY_GONE, DO_NONE}, {INPUT_FAILED, RECOVERY_IDLE, DO_FORGET});
}
END_TEST

START_TEST(cut_off_and_finished)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE}, {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_INTERRUPTED, RECOVERY_QUEUED, DO_QUEUE},
	     {INPUT_TURN, RECOVERY_RUNNING, DO_START}, {INPUT_SUCCESS, RECOVERY_IDLE, DO_CLOSE});
}
END_TEST

START_TEST(an_operator_gives_up_and_thinks_again)
{
	WALK({INPUT_RECOVER, RECOVERY_QUEUED, DO_QUEUE},
	     {INPUT_ASK_ISOLATE, RECOVERY_ISOLATED, DO_GIVE_UP},
	     {INPUT_ASK_RECOVER, RECOVERY_QUEUED, DO_QUEUE},
	     {INPUT_TURN, RECOVERY_RUNNING, DO_START},
	     {INPUT_ASK_ISOLATE, RECOVERY_RUNNING, DO_NONE},
	     {INPUT_EXHAUSTED, RECOVERY_ISOLATED, DO_GIVE_UP});
}
END_TEST

/* What the kernel or the operator does can come in any state: none of it may be a surprise. */
START_TEST(the_outside_world_is_never_a_bug)
{
	static const enum recovery_input outside[] = {
		INPUT_RECOVER,	      INPUT_ISOLATE, INPUT_IGNORE,	INPUT_UNFENCED,
		INPUT_UNFENCED_OWING, INPUT_REMOVED, INPUT_ASK_RECOVER, INPUT_ASK_ISOLATE};

	for (enum recovery_state state = 0; state < _RECOVERY_STATE_MAX; state++)
		for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
			ck_assert_msg(recovery_next(state, outside[i]).action != DO_BUG, "%s in %s",
				      recovery_input_name(outside[i]), recovery_state_name(state));
}
END_TEST

/* However a worker ends, there is a row for it in every state that has a worker. */
START_TEST(the_end_of_a_worker_is_never_a_bug)
{
	static const enum recovery_state busy[] = {RECOVERY_RUNNING, RECOVERY_STUCK, RECOVERY_GONE};
	static const enum recovery_input ends[] = {
		INPUT_SUCCESS,	INPUT_FAILED,	   INPUT_EXHAUSTED,   INPUT_PROTECTED,
		INPUT_REFENCED, INPUT_INTERRUPTED, INPUT_LAST_RESORT, INPUT_POSTPONED};

	for (size_t s = 0; s < ARRAY_SIZE(busy); s++) {
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
			struct recovery_transition t = recovery_next(busy[s], ends[i]);

			ck_assert_int_ne(t.action, DO_BUG);
			ck_assert_int_ne(t.next, RECOVERY_RUNNING);
			ck_assert_int_ne(t.next, RECOVERY_STUCK);
			ck_assert_int_ne(t.next, RECOVERY_GONE);
		}
	}
}
END_TEST

/* Only a worker's confirmed end closes a story, and only RUNNING is entered with a new worker. */
START_TEST(rules_of_the_table)
{
	for (enum recovery_state state = 0; state < _RECOVERY_STATE_MAX; state++) {
		for (enum recovery_input input = 0; input < _RECOVERY_INPUT_MAX; input++) {
			struct recovery_transition t = recovery_next(state, input);

			if (t.action == DO_CLOSE)
				ck_assert_int_eq(input, INPUT_SUCCESS);
			if (t.action == DO_START)
				ck_assert_int_eq(t.next, RECOVERY_RUNNING);
			if (t.next == RECOVERY_RUNNING && state != RECOVERY_RUNNING)
				ck_assert_int_eq(t.action, DO_START);
			if (t.action == DO_QUEUE)
				ck_assert_int_eq(t.next, RECOVERY_QUEUED);
			if (t.next == RECOVERY_BACKOFF && state != RECOVERY_BACKOFF)
				ck_assert_int_eq(t.action, DO_WAIT);
			if (t.action == DO_BUG)
				ck_assert_int_eq(t.next, state);
			/* A fenced device is not forgotten while nobody has unfenced or removed it.
			 */
			if (t.next == RECOVERY_IDLE && state != RECOVERY_IDLE &&
			    state != RECOVERY_GONE)
				ck_assert(input == INPUT_UNFENCED || input == INPUT_REMOVED ||
					  input == INPUT_SUCCESS || t.action == DO_RESUME);
		}
	}
	ck_assert_int_eq(recovery_next(_RECOVERY_STATE_MAX, INPUT_TURN).action, DO_BUG);
	ck_assert_int_eq(recovery_next(RECOVERY_IDLE, _RECOVERY_INPUT_MAX).action, DO_BUG);
}
END_TEST

START_TEST(names_go_both_ways)
{
	enum recovery_state state;

	for (enum recovery_state s = 0; s < _RECOVERY_STATE_MAX; s++) {
		ck_assert_int_eq(recovery_state_from_name(recovery_state_name(s), &state), 0);
		ck_assert_int_eq(state, s);
	}
	ck_assert_int_eq(recovery_state_from_name("", &state), -EINVAL);
	for (enum recovery_input i = 0; i < _RECOVERY_INPUT_MAX; i++)
		ck_assert_ptr_nonnull(recovery_input_name(i));
}
END_TEST

Suite *recovery_suite(void)
{
	Suite *suite = suite_create("recovery");
	TCase *c = tcase_create("recovery");

	tcase_add_test(c, the_good_way);
	tcase_add_test(c, the_bad_way);
	tcase_add_test(c, stuck_and_back);
	tcase_add_test(c, gone_and_another_in_its_place);
	tcase_add_test(c, cut_off_and_finished);
	tcase_add_test(c, an_operator_gives_up_and_thinks_again);
	tcase_add_test(c, the_outside_world_is_never_a_bug);
	tcase_add_test(c, the_end_of_a_worker_is_never_a_bug);
	tcase_add_test(c, rules_of_the_table);
	tcase_add_test(c, names_go_both_ways);
	suite_add_tcase(suite, c);
	return suite;
}
