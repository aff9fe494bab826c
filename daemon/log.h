/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging: to journald with fields when that is where stderr leads, otherwise as text to stderr.
 */
#ifndef SMMU_RAS_LOG_H
#define SMMU_RAS_LOG_H

#include <stdint.h>
#include <syslog.h>

#include "util.h"

/* Decides where records go. Call once at start; before it everything goes to stderr. */
void log_open(void);

/* One plain message; @level is a LOG_* of syslog(3). */
void log_message(int level, const char *format, ...) _printf_(2, 3);

#define log_debug(...)	 log_message(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)	 log_message(LOG_INFO, __VA_ARGS__)
#define log_notice(...)	 log_message(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_error(...)	 log_message(LOG_ERR, __VA_ARGS__)

/* Messages above this level are dropped; LOG_INFO at first. */
void log_set_max_level(int level);

/*
 * Calls @handler when the journal did not take a record, and there was none to make up for before:
 * log_retry() is due then, once in a while.
 */
void log_set_lost_handler(void (*handler)(void));

/*
 * Tries to say how many records were lost, and to send those that may not be lost (LOG_ERR and
 * above; the last LOG_KEEP_MAX of them). Returns true when there is nothing left to make up for.
 */
bool log_retry(void);
#define LOG_KEEP_MAX 32

/* A record under construction. Text that does not fit is cut; a record is never lost for that. */
struct log_record {
	int level;
	size_t used;
	unsigned int n_fields;
	struct {
		size_t offset;
		size_t length;
	} fields[24];
	char text[4096];
};

/* Begins a record of the kind @message_id (one of messages.h, or NULL for none). */
void log_record_init(struct log_record *record, int level, const char *message_id);

/* Adds NAME=value. */
void log_record_field(struct log_record *record, const char *name, const char *format, ...)
	_printf_(3, 4);

/* Adds the sentence for people, and sends it all. */
void log_record_send(struct log_record *record, const char *format, ...) _printf_(2, 3);

/*
 * The same with a field that has several values: @name once for each of @values, at most
 * LOG_VALUES_MAX of them. journald finds the record by each.
 */
void log_record_send_list(struct log_record *record, const char *name, const char *const *values,
			  size_t n, const char *format, ...) _printf_(5, 6);
#define LOG_VALUES_MAX 256

#endif
