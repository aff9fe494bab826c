// SPDX-License-Identifier: GPL-2.0-or-later
#include "pci-name.h"

#include <ctype.h>
#include <errno.h>

/* Reads 1 to @max hexadecimal digits at *@s and moves past them. Returns false when none is there.
 */
static bool parse_hex(const char **s, unsigned int max, uint32_t *ret)
{
	uint32_t value = 0;
	unsigned int n = 0;

	while (n < max && isxdigit((unsigned char)**s)) {
		int c = tolower((unsigned char)**s);

		value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
		(*s)++;
		n++;
	}
	*ret = value;
	return n > 0 && !isxdigit((unsigned char)**s);
}

int pci_address_parse(const char *text, struct pci_address *ret)
{
	uint32_t part[4];
	uint32_t domain = 0;
	const char *s = text;
	const char *slash;
	size_t end = strlen(text);
	char name[64];

	/* The last component of a path; a trailing slash is how shells complete directories. */
	while (end > 1 && text[end - 1] == '/')
		end--;
	slash = memrchr(text, '/', end);
	if (slash)
		s = slash + 1;
	if ((size_t)(text + end - s) >= sizeof(name))
		return -EINVAL;
	memcpy(name, s, (size_t)(text + end - s));
	name[text + end - s] = '\0';
	s = name;

	if (!parse_hex(&s, 8, &part[0]) || *s++ != ':' || !parse_hex(&s, 2, &part[1]))
		return -EINVAL;
	if (*s == ':') {
		s++;
		domain = part[0];
		part[0] = part[1];
		if (!parse_hex(&s, 2, &part[1]))
			return -EINVAL;
	}
	if (*s++ != '.' || !parse_hex(&s, 1, &part[2]) || *s != '\0')
		return -EINVAL;
	if (part[0] > 0xff || part[1] > 0x1f || part[2] > 7)
		return -EINVAL;
	ret->domain = domain;
	ret->bus = (uint8_t)part[0];
	ret->device = (uint8_t)part[1];
	ret->function = (uint8_t)part[2];
	return 0;
}

const char *pci_address_format(const struct pci_address *address, char buf[static PCI_NAME_SIZE])
{
	snprintf(buf, PCI_NAME_SIZE, "%04x:%02x:%02x.%x", address->domain, address->bus,
		 address->device & 0x1fU, address->function & 7U);
	return buf;
}
