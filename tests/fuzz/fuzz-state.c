// SPDX-License-Identifier: GPL-2.0-or-later
/* Records in /run/smmu-rasd/devices: what is read can be written, and is then read as the same. */
#include <fcntl.h>

#include "fuzz.h"
#include "state.h"

#define BUS "pci"
#define DEV "0000:01:00.0"

static void count(const struct device_record *record, int error, void *userdata)
{
	struct device_record copy = *record;
	unsigned int *n = userdata;

	FUZZ_INSIST(streq(record->bus, BUS) && streq(record->dev, DEV));
	*n += error == 0;
	record_clear_history(&copy);
}

/* Writes the record, and returns what is then in its file, for the caller to free. */
static char *save(const struct device_record *record)
{
	_cleanup_close_ int fd = -1;
	char *text = NULL;

	FUZZ_INSIST(state_save(record) == 0);
	fd = open(fuzz_path("run/devices/" BUS "@" DEV ".json"), O_RDONLY | O_CLOEXEC);
	FUZZ_INSIST(fd >= 0 && read_all(fd, 1024 * 1024, &text, NULL) == 0);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *written = NULL;
	_cleanup_free_ char *rewritten = NULL;
	struct device_record first = {0};
	struct device_record again = {0};
	unsigned int n = 0;
	bool good;

	fuzz_file("run/devices/" BUS "@" DEV ".json", data, size);
	good = state_load(BUS, DEV, &first) == 0;
	FUZZ_INSIST(state_load_all(count, &n) == 0);
	FUZZ_INSIST(n == good);
	if (!good)
		return 0;
	written = save(&first);
	FUZZ_INSIST(state_load(BUS, DEV, &again) == 0);
	rewritten = save(&again);
	FUZZ_INSIST(streq(written, rewritten));
	record_clear_history(&first);
	record_clear_history(&again);
	return 0;
}
