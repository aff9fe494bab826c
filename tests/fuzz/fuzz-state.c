// SPDX-License-Identifier: GPL-2.0-or-later
/* Records in /run/smmu-rasd/devices: what is read can be written, and is then read as the same. */
#include "fuzz.h"
#include "state.h"

#define BUS "pci"
#define DEV "0000:01:00.0"

static void count(const struct device_record *record, int error, void *userdata)
{
	unsigned int *n = userdata;

	FUZZ_INSIST(streq(record->bus, BUS) && streq(record->dev, DEV));
	*n += error == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct device_record first;
	struct device_record again;
	unsigned int n = 0;
	bool good;

	memset(&first, 0, sizeof(first));
	memset(&again, 0, sizeof(again));
	fuzz_file("run/devices/" BUS "@" DEV ".json", data, size);
	good = state_load(BUS, DEV, &first) == 0;
	FUZZ_INSIST(state_load_all(count, &n) == 0);
	FUZZ_INSIST(n == good);
	if (!good)
		return 0;
	FUZZ_INSIST(state_save(&first) == 0);
	FUZZ_INSIST(state_load(BUS, DEV, &again) == 0);
	/* Both began as zeroes. NOLINTNEXTLINE */
	FUZZ_INSIST(memcmp(&first, &again, sizeof(first)) == 0);
	return 0;
}
