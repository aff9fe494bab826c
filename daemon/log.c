// SPDX-License-Identifier: GPL-2.0-or-later
#include "log.h"

#include <stdarg.h>

#include "host.h"
#include "messages.h"
#include "tell.h"

static bool to_journal;
static int max_level = LOG_INFO;
/* Records that neither journald nor stderr took: how many, and those that may not be lost. */
static unsigned long lost;
static struct log_record *kept[LOG_KEEP_MAX];
static size_t n_kept;
static void (*lost_handler)(void);

void log_open(void)
{
	to_journal = host_stderr_is_journal();
}

void log_set_lost_handler(void (*handler)(void))
{
	lost_handler = handler;
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

/* @more: further fields, before the sentence. */
static bool record_write(const struct log_record *record, const struct iovec *more, size_t n_more)
{
	struct iovec iov[ARRAY_SIZE(record->fields) + LOG_VALUES_MAX];
	const struct iovec *message;
	unsigned int n = 0;

	for (unsigned int i = 0; i < record->n_fields; i++) {
		if (i + 1 == record->n_fields)
			for (size_t k = 0; k < n_more; k++)
				iov[n++] = more[k];
		iov[n].iov_base = (char *)(uintptr_t)record->text + record->fields[i].offset;
		iov[n++].iov_len = record->fields[i].length;
	}
	if (to_journal && host_journal_send(iov, (int)n) >= 0)
		return true;
	message = &iov[n - 1];
	if (n == 0 || strncmp(message->iov_base, "MESSAGE=", 8) != 0)
		return false;
	return tell_stderr((const char *)message->iov_base + 8) >= 0;
}

/* Keeps what nobody took, if it matters so much, or else counts it. */
static void record_lost(const struct log_record *record)
{
	bool first = lost == 0 && n_kept == 0;
	struct log_record *copy = NULL;

	if (record->level <= LOG_ERR)
		copy = n_kept < LOG_KEEP_MAX ? malloc(sizeof(*copy)) : kept[0];
	if (copy && n_kept == LOG_KEEP_MAX) {
		memmove(kept, kept + 1, sizeof(kept) - sizeof(kept[0]));
		n_kept--;
		lost++;
	}
	if (copy) {
		*copy = *record;
		kept[n_kept++] = copy;
	} else {
		lost++;
	}
	if (first && lost_handler)
		lost_handler();
}

/* Once somebody reads again, the first thing to say is that there is a hole. */
bool log_retry(void)
{
	struct log_record record;
	size_t sent = 0;

	if (lost > 0) {
		log_record_init(&record, LOG_WARNING, MESSAGE_RECORDS_LOST);
		log_record_field(&record, "MESSAGE",
				 "%lu record%s lost: the journal did not take %s, and was not "
				 "waited for",
				 lost, lost == 1 ? "" : "s", lost == 1 ? "it" : "them");
		if (!record_write(&record, NULL, 0))
			return false;
		lost = 0;
	}
	while (sent < n_kept && record_write(kept[sent], NULL, 0))
		free(kept[sent++]);
	n_kept -= sent;
	memmove(kept, kept + sent, n_kept * sizeof(kept[0]));
	return n_kept == 0;
}

static void record_submit(struct log_record *record, const struct iovec *more, size_t n_more,
			  const char *format, va_list ap) _printf_(4, 0);

static void record_submit(struct log_record *record, const struct iovec *more, size_t n_more,
			  const char *format, va_list ap)
{
	if (record->level > max_level)
		return;
	/* The sentence is always the last field, whatever there is no room for. */
	if (record->n_fields == ARRAY_SIZE(record->fields))
		record->n_fields--;
	add_field(record, "MESSAGE", format, ap);
	if (!log_retry() || !record_write(record, more, n_more))
		record_lost(record);
}

void log_record_send(struct log_record *record, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	record_submit(record, NULL, 0, format, ap);
	va_end(ap);
}

void log_record_send_list(struct log_record *record, const char *name, const char *const *values,
			  size_t n, const char *format, ...)
{
	struct iovec iov[LOG_VALUES_MAX];
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	size_t used = 0;
	va_list ap;

	if (n > LOG_VALUES_MAX)
		n = LOG_VALUES_MAX;
	for (size_t i = 0; i < n; i++)
		size += strlen(name) + strlen(values[i]) + 2;
	text = malloc(size + 1);
	/* Without memory the record is worth sending all the same. */
	for (size_t i = 0; text && i < n; i++) {
		int length = snprintf(text + used, size + 1 - used, "%s=%s", name, values[i]);

		iov[i] = (struct iovec){.iov_base = text + used, .iov_len = (size_t)length};
		used += (size_t)length + 1;
	}
	va_start(ap, format);
	record_submit(record, iov, text ? n : 0, format, ap);
	va_end(ap);
}

void log_message(int level, const char *format, ...)
{
	struct log_record record;
	va_list ap;

	if (level > max_level)
		return;
	log_record_init(&record, level, NULL);
	va_start(ap, format);
	record_submit(&record, NULL, 0, format, ap);
	va_end(ap);
}
