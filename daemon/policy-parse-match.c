// SPDX-License-Identifier: GPL-2.0-or-later
/* "match": what a rule fits. */
#include "policy-parse.h"

#include <ctype.h>
#include <strings.h>

#include "pci-name.h"

#define GLOBS_MAX 256

static const char *const reasons[] = {"atc-timeout", "sync-timeout", "reset-failed",
				      "administrative"};

/* fnmatch(3) takes a bracket that is never closed for a letter, which nobody means. */
static bool is_unclosed(const char *glob)
{
	const char *open = strchr(glob, '[');

	/* "[]a]" and "[!]a]" hold a bracket. */
	return open && (open[1] == '\0' || open[2] == '\0' || !strchr(open + 2, ']'));
}

static int check_number(struct context *c, const struct json_path *path, enum match_key key,
			const char *glob)
{
	int digits = key == MATCH_CLASS ? 6 : 4;

	for (const char *s = glob; *s; s++)
		if (!isxdigit((unsigned char)*s) && !strchr("*?[]!^-", *s))
			return fail(c, path,
				    "\"%s\" is not a PCI %s; use hexadecimal digits and "
				    "wildcards, such as \"%s\"",
				    SHOWN(glob), match_key_name(key),
				    key == MATCH_CLASS ? "0108*" : "8086");
	if (!strpbrk(glob, "*?[") && strlen(glob) != (size_t)digits)
		return fail(c, path, "\"%s\" can never fit: a PCI %s has %d hexadecimal digits%s",
			    SHOWN(glob), match_key_name(key), digits,
			    key == MATCH_CLASS ? "; for a whole class write \"0108*\"" : "");
	return 0;
}

static int check_address(struct context *c, const struct json_path *path, const char *glob)
{
	char name[PCI_NAME_SIZE];
	struct pci_address address;

	if (strpbrk(glob, "*?["))
		return 0;
	if (strchr(glob, '/') || pci_address_parse(glob, &address) < 0)
		return fail(c, path,
			    "\"%s\" is not a PCI address; use one such as \"0000:01:00.0\", or "
			    "wildcards such as \"0000:01:*\"",
			    SHOWN(glob));
	if (strcasecmp(pci_address_format(&address, name), glob) != 0)
		return fail(c, path, "\"%s\" can never fit: write \"%s\"", SHOWN(glob), name);
	return 0;
}

/* Catches patterns that can never fit: a rule that silently does nothing is worse than an error. */
static int check_glob(struct context *c, const struct json_path *path, enum match_key key,
		      const char *glob)
{
	if (is_unclosed(glob))
		return fail(c, path, "\"%s\" has a \"[\" without its \"]\"", SHOWN(glob));
	switch (key) {
	case MATCH_ADDRESS:
		return check_address(c, path, glob);
	case MATCH_VENDOR:
	case MATCH_DEVICE:
	case MATCH_CLASS:
		return check_number(c, path, key, glob);
	case MATCH_REASON:
		if (!strpbrk(glob, "*?[") && !one_of(glob, reasons, ARRAY_SIZE(reasons)))
			return fail_unknown(c, path, false, "reason", glob, reasons,
					    ARRAY_SIZE(reasons));
		return 0;
	default:
		return 0;
	}
}

static int add_glob(struct context *c, const struct json_path *path, json_t *value,
		    enum match_key key, struct glob_list *list)
{
	const char *glob;
	int r;

	if (!json_is_string(value))
		return fail(c, path, "expected a string, found %s", type_name(value));
	glob = json_string_value(value);
	/* "0x8086" is what lspci's users and sysfs write. */
	if ((key == MATCH_VENDOR || key == MATCH_DEVICE || key == MATCH_CLASS) &&
	    (strncmp(glob, "0x", 2) == 0 || strncmp(glob, "0X", 2) == 0))
		glob += 2;
	r = check_glob(c, path, key, glob);
	if (r < 0)
		return r;
	list->globs[list->n] = strdup(glob);
	if (!list->globs[list->n])
		return no_memory(c);
	list->n++;
	return 0;
}

static int parse_globs(struct context *c, const struct json_path *path, json_t *value,
		       enum match_key key, struct glob_list *list)
{
	size_t n = json_is_array(value) ? json_array_size(value) : 1;

	if (n == 0 || n > GLOBS_MAX)
		return fail(c, path,
			    "expected 1 to %d patterns; leave \"%s\" out to match anything",
			    GLOBS_MAX, match_key_name(key));
	list->globs = calloc(n, sizeof(*list->globs));
	if (!list->globs)
		return no_memory(c);
	if (!json_is_array(value))
		return add_glob(c, path, value, key, list);
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.parent = path, .index = i};
		int r = add_glob(c, &at, json_array_get(value, i), key, list);

		if (r < 0)
			return r;
	}
	return 0;
}

#define MATCH_PARSER(name, key)                                                                    \
	static int parse_match_##name(struct context *c, const struct json_path *path,             \
				      json_t *value, void *target)                                 \
	{                                                                                          \
		struct rule *rule = target;                                                        \
                                                                                                   \
		return parse_globs(c, path, value, key, &rule->match[key]);                        \
	}

MATCH_PARSER(address, MATCH_ADDRESS)
MATCH_PARSER(vendor, MATCH_VENDOR)
MATCH_PARSER(device, MATCH_DEVICE)
MATCH_PARSER(class, MATCH_CLASS)
MATCH_PARSER(driver, MATCH_DRIVER)
MATCH_PARSER(iommu, MATCH_IOMMU)
MATCH_PARSER(reason, MATCH_REASON)
MATCH_PARSER(slot, MATCH_SLOT)

static const struct member match_members[] = {
	{"address", parse_match_address}, {"vendor", parse_match_vendor},
	{"device", parse_match_device},	  {"class", parse_match_class},
	{"driver", parse_match_driver},	  {"iommu", parse_match_iommu},
	{"reason", parse_match_reason},	  {"slot", parse_match_slot},
};

int parse_match(struct context *c, const struct json_path *path, json_t *value, void *target)
{
	return parse_object(c, path, value, match_members, ARRAY_SIZE(match_members), target);
}
