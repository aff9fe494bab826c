// SPDX-License-Identifier: GPL-2.0-or-later
#include "log.h"

#include <stdarg.h>

#include "host.h"
#include "messages.h"
#include "tell.h"

static bool to_journal;
static int max_level = LOG_INFO;
/* Records that neither journald nor stderr took. */
static unsigned long lost;

void log_open(void)
{
	to_journal = host_stderr_is_journal();
}

void log_set_max_level(int level)
{
	max_level = level;
}

static void add_field(struct log_record *record, const char *name, const char *format, va_list ap)
	_printf_(3, 0);

static void add_field(struct log_record *record, const char *name, const char *format, va_list ap)
{
	size_t room = sizeof(record->text) - record->used;
	size_t start = record->used;
	char raw[sizeof(record->text)];
	int head;
	int body;

	if (record->n_fields >= ARRAY_SIZE(record->fields))
		return;
	head = snprintf(record->text + start, room, "%s=", name);
	if (head < 0 || (size_t)head >= room)
		return;
	room -= (size_t)head;
	/* Names come from the kernel, from files and from others' mount points. */
	if (vsnprintf(raw, sizeof(raw), format, ap) < 0)
		return;
	body = (int)strlen(str_visible(record->text + start + head, room, raw));
	record->fields[record->n_fields].offset = start;
	record->fields[record->n_fields].length = (size_t)head + (size_t)body;
	record->n_fields++;
	/* Step over the NUL: the text printer wants a string. */
	record->used = start + (size_t)head + (size_t)body + 1;
	if (record->used >= sizeof(record->text))
		record->used = sizeof(record->text) - 1;
}

void log_record_field(struct log_record *record, const char *name, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_field(record, name, format, ap);
	va_end(ap);
}

void log_record_init(struct log_record *record, int level, const char *message_id)
{
	record->level = level;
	record->used = 0;
	record->n_fields = 0;
	log_record_field(record, "PRIORITY", "%d", level);
	log_record_field(record, "SYSLOG_FACILITY", "%d", LOG_DAEMON >> 3);
	if (message_id)
		log_record_field(record, "MESSAGE_ID", "%s", message_id);
}

static bool record_write(const struct log_record *record)
{
	struct iovec iov[ARRAY_SIZE(record->fields)];
	const struct iovec *message;

	for (unsigned int i = 0; i < record->n_fields; i++) {
		iov[i].iov_base = (char *)(uintptr_t)record->text + record->fields[i].offset;
		iov[i].iov_len = record->fields[i].length;
	}
	if (to_journal && host_journal_send(iov, (int)record->n_fields) >= 0)
		return true;
	message = &iov[record->n_fields - 1];
	if (record->n_fields == 0 || strncmp(message->iov_base, "MESSAGE=", 8) != 0)
		return false;
	return tell_stderr((const char *)message->iov_base + 8) >= 0;
}

static void record_submit(struct log_record *record, const char *format, va_list ap) _printf_(2, 0);

static void record_submit(struct log_record *record, const char *format, va_list ap)
{
	add_field(record, "MESSAGE", format, ap);
	if (record->level > max_level)
		return;
	if (!record_write(record))
		lost++;
}

/* Once somebody reads again, the first thing to say is that there is a hole. */
static void report_lost(void)
{
	struct log_record record;

	if (lost == 0)
		return;
	log_record_init(&record, LOG_WARNING, MESSAGE_RECORDS_LOST);
	log_record_field(&record, "MESSAGE",
			 "%lu record%s lost: the journal did not take %s, and was not waited for",
			 lost, lost == 1 ? "" : "s", lost == 1 ? "it" : "them");
	if (record_write(&record))
		lost = 0;
}

void log_record_send(struct log_record *record, const char *format, ...)
{
	va_list ap;

	report_lost();
	va_start(ap, format);
	record_submit(record, format, ap);
	va_end(ap);
}

void log_message(int level, const char *format, ...)
{
	struct log_record record;
	va_list ap;

	if (level > max_level)
		return;
	log_record_init(&record, level, NULL);
	report_lost();
	va_start(ap, format);
	record_submit(&record, format, ap);
	va_end(ap);
}
