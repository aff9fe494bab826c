// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasd: recovers devices that the IOMMU has fenced. */
#include <errno.h>
#include <getopt.h>

#include "log.h"
#include "manager.h"
#include "memory.h"
#include "spawner.h"
#include "title.h"

#ifndef SMMU_RAS_VERSION
#define SMMU_RAS_VERSION "0"
#endif

static void help(void)
{
	printf("Usage: smmu-rasd [OPTION]...\n"
	       "Recovers devices that the kernel fenced because they stopped acknowledging ATC\n"
	       "invalidations. Runs in the foreground; systemd starts it as smmu-rasd.service.\n"
	       "\n"
	       "  -d, --debug    say more\n"
	       "  -h, --help     print this text\n"
	       "      --version  print the version\n"
	       "\n"
	       "Policy: " SMMU_RAS_SYSCONFDIR "/smmu-rasd/policy.json, " SMMU_RAS_SYSCONFDIR
	       "/smmu-rasd/policy.d/*.json\n"
	       "Signals: SIGHUP reads the policy again, SIGTERM stops.\n"
	       "Exit status: 0 stopped as asked, 1 failure, 2 wrong usage.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"debug", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct spawner spawner = SPAWNER_NONE;
	struct manager *m = NULL;
	int c;
	int r;

	title_init(argc, argv);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while ((c = getopt_long(argc, argv, "dh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			log_set_max_level(LOG_DEBUG);
			break;
		case 'h':
			help();
			return EXIT_SUCCESS;
		case 'V':
			printf("smmu-rasd %s\n", SMMU_RAS_VERSION);
			return EXIT_SUCCESS;
		default:
			fprintf(stderr, "Try: smmu-rasd --help\n");
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"smmu-rasd takes no arguments, found \"%s\"; try: smmu-rasd --help\n",
			argv[optind]);
		return 2;
	}
	log_open();
	/* From here on this process does without what workers need: manager.c gives it up. */
	r = spawner_start(&spawner);
	if (r < 0) {
		log_error("Cannot start the spawner of workers: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	memory_keep();
	r = manager_new(&m, &spawner);
	if (r < 0)
		return EXIT_FAILURE;
	r = manager_run(m);
	manager_free(m);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
