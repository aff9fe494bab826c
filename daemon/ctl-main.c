// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl: what is fenced, and what smmu-rasd does about it. */
#include <getopt.h>

#include "ctl.h"

#ifndef SMMU_RAS_VERSION
#define SMMU_RAS_VERSION "0"
#endif

static const struct {
	const char *name;
	int (*run)(const struct ctl *ctl, int argc, char **argv);
} verbs[] = {
	{"list", ctl_list},
	{"show", ctl_show},
	{"monitor", ctl_monitor},
	{"policy", ctl_policy},
};

static void help(void)
{
	printf("Usage: smmu-rasctl [OPTION]... [VERB]\n"
	       "\n"
	       "  list                  the devices that are fenced (this is the default)\n"
	       "  show DEV              all that is known about one device\n"
	       "  monitor               the kernel's events, as they come\n"
	       "  policy check [FILE]   read the policy in force, or FILE (- for stdin)\n"
	       "  policy explain DEV    which rule applies to a device, and why not those before\n"
	       "\n"
	       "      --json        for programs; see daemon/README.md\n"
	       "      --no-legend   no heading, no remarks\n"
	       "  -h, --help        print this text\n"
	       "      --version     print the version\n"
	       "\n"
	       "DEV is 01:00.0, 0000:01:00.0, or a path below /sys.\n"
	       "Exit status: 0 good, 1 failure, 2 wrong usage, 3 the kernel has no iommu-ras\n"
	       "family, 4 no such device.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"no-legend", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct ctl ctl = {.legend = true};
	char *list[] = {(char[]){"list"}, NULL};
	int c;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'j':
			ctl.json = true;
			break;
		case 'n':
			ctl.legend = false;
			break;
		case 'h':
			help();
			return CTL_OK;
		case 'V':
			printf("smmu-rasctl %s\n", SMMU_RAS_VERSION);
			return CTL_OK;
		default:
			fprintf(stderr, "Try: smmu-rasctl --help\n");
			return CTL_USAGE;
		}
	}
	if (optind == argc)
		return ctl_list(&ctl, 1, list);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (streq(argv[optind], verbs[i].name))
			return verbs[i].run(&ctl, argc - optind, argv + optind);
	fprintf(stderr, "Unknown verb \"%s\"; use list, show, monitor or policy\n",
		VISIBLE(argv[optind]));
	return CTL_USAGE;
}
