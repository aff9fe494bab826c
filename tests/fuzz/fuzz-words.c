// SPDX-License-Identifier: GPL-2.0-or-later
/* What people type and what is shown to them: device names, time spans, texts for a terminal. */
#include <errno.h>

#include "fuzz.h"
#include "pci-name.h"

static void device_name(const char *text)
{
	struct pci_address address;
	struct pci_address again;
	char name[PCI_NAME_SIZE];

	memset(&address, 0, sizeof(address));
	memset(&again, 0, sizeof(again));
	if (pci_address_parse(text, &address) < 0)
		return;
	FUZZ_INSIST(address.device <= 0x1f && address.function <= 7);
	pci_address_format(&address, name);
	FUZZ_INSIST(strlen(name) < sizeof(name));
	FUZZ_INSIST(pci_address_parse(name, &again) == 0);
	FUZZ_INSIST(again.domain == address.domain && again.bus == address.bus &&
		    again.device == address.device && again.function == address.function);
}

static void time_span(const char *text)
{
	uint64_t usec = 0;
	uint64_t again = 0;
	char written[48];
	int r = parse_usec(text, &usec);

	FUZZ_INSIST(r == 0 || r == -EINVAL || r == -ERANGE);
	if (r < 0)
		return;
	/* It is rounded for people; what is written must be a time of the same size. */
	format_usec(written, sizeof(written), usec);
	if (!strchr(written, '.')) {
		FUZZ_INSIST(parse_usec(written, &again) == 0);
		FUZZ_INSIST(again <= usec && usec - again <= usec / 2);
	}
}

static void visible(const char *text)
{
	char small[16];
	char large[512];

	for (int i = 0; i < 2; i++) {
		const char *s = i ? str_visible(small, sizeof(small), text)
				  : str_visible(large, sizeof(large), text);

		FUZZ_INSIST(strlen(s) < (i ? sizeof(small) : sizeof(large)));
		for (; *s; s++)
			FUZZ_INSIST((unsigned char)*s >= ' ' && *s != 0x7f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);

	device_name(text);
	time_span(text);
	visible(text);
	str_chomp(text);
	return 0;
}
