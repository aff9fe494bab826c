// SPDX-License-Identifier: GPL-2.0-or-later
/* The counters that are kept in /run, and the text that monitoring systems read: one broken line
 * spoils all of it. */
#include <ctype.h>

#include "fuzz.h"
#include "metrics.h"

/* name{label="value",...} number; in a value only \\, \" and \n are escapes. Returns what follows
 * the name. */
static const char *check_labels(const char *s)
{
	if (*s != '{')
		return s;
	do {
		s++;
		FUZZ_INSIST(isalpha((unsigned char)*s) || *s == '_');
		while (isalnum((unsigned char)*s) || *s == '_')
			s++;
		FUZZ_INSIST(s[0] == '=' && s[1] == '"');
		for (s += 2; *s != '"'; s++) {
			FUZZ_INSIST(*s != '\0');
			if (*s == '\\') {
				s++;
				FUZZ_INSIST(*s == '\\' || *s == '"' || *s == 'n');
			}
		}
		s++;
	} while (*s == ',');
	FUZZ_INSIST(*s == '}');
	return s + 1;
}

static void check_line(const char *s)
{
	char *end;

	if (*s == '#') {
		FUZZ_INSIST(strncmp(s, "# ", 2) == 0);
		return;
	}
	FUZZ_INSIST(strncmp(s, "smmu_ras_", 9) == 0);
	while (isalnum((unsigned char)*s) || *s == '_' || *s == ':')
		s++;
	s = check_labels(s);
	FUZZ_INSIST(*s == ' ');
	(void)strtod(s + 1, &end);
	FUZZ_INSIST(end != s + 1 && *end == '\0');
}

static void check_text(char *text, bool prometheus)
{
	char *last = NULL;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		check_line(line);
		last = line;
	}
	FUZZ_INSIST(last);
	FUZZ_INSIST(prometheus || streq(last, "# EOF"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Both are large. */
	static struct metrics metrics;
	static struct metrics_now now;
	struct ras_device kernel = {.bus = "pci", .state = IOMMU_RAS_STATE_FENCED, .reason = 1};

	memset(&metrics, 0, sizeof(metrics));
	memset(&now, 0, sizeof(now));
	fuzz_file("run/counters.json", data, size);
	if (metrics_load(&metrics) < 0)
		memset(&metrics, 0, sizeof(metrics));
	/* Names as the kernel sends them were looked at before (fuzz-kernel-msg.c), but may hold
	 * any visible character. */
	for (size_t i = 0; i < size && i < sizeof(kernel.dev) - 1; i++)
		kernel.dev[i] = (char)(data[i] >= ' ' && data[i] < 0x7f ? data[i] : '?');
	str_copy(kernel.driver, sizeof(kernel.driver), kernel.dev);
	metrics_now_add(&now, &kernel, NULL);
	for (int prometheus = 0; prometheus < 2; prometheus++) {
		char *text = NULL;
		size_t length = 0;
		FILE *f = open_memstream(&text, &length);

		FUZZ_INSIST(f);
		FUZZ_INSIST(metrics_write(f, &metrics, &now, prometheus) == 0);
		FUZZ_INSIST(fclose(f) == 0);
		check_text(text, prometheus);
		free(text);
	}
	return 0;
}
