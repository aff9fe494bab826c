// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl: what is fenced, and what smmu-rasd does about it. */
#include <getopt.h>
#include <locale.h>
#include <signal.h>

#include "ctl-output.h"
#include "ctl.h"

#ifndef SMMU_RAS_VERSION
#define SMMU_RAS_VERSION "0"
#endif

/* Options that not every verb has. */
enum {
	HAS_JSON = 1 << 0,
	HAS_LEGEND = 1 << 1,
	HAS_ALL = 1 << 2,
	HAS_FORCE = 1 << 3,
	HAS_YES = 1 << 4,
	HAS_WAIT = 1 << 5,
	HAS_ROOT = 1 << 6,
	HAS_POLICY = 1 << 7,
	HAS_MATCH = 1 << 8,
};

static const struct verb {
	const char *name;
	int (*run)(const struct ctl *ctl, int argc, char **argv);
	unsigned int options;
	const char *arguments;
	const char *summary; /* of the list of verbs */
	const char *help;
} verbs[] = {
	{"list", ctl_list, HAS_JSON | HAS_LEGEND | HAS_ALL, "", "the devices that are fenced",
	 "Lists the devices that are fenced, the most urgent first; what the daemon does about\n"
	 "each, or why it does nothing. This is what is done without a verb.\n"},
	{"status", ctl_status, HAS_JSON, "", "one sentence, and an exit status for scripts",
	 "Exit status: 0 all is well, 10 devices are being recovered, 11 somebody is needed,\n"
	 "12 smmu-rasd does not run or its policy has a mistake, 3 the kernel cannot fence.\n"},
	{"show", ctl_show, HAS_JSON, "DEV", "all about one device, and what to do",
	 "Shows where the device is, what happened to it, what was tried, what comes next,\n"
	 "what depends on it, and what you can do.\n"},
	{"monitor", ctl_monitor, HAS_JSON, "[DEV]", "follow what happens, as it happens",
	 "Prints what the kernel and the daemon do, until it is interrupted. With --json one\n"
	 "object a line.\n"},
	{"recover", ctl_recover, HAS_FORCE | HAS_YES | HAS_WAIT | HAS_JSON, "DEV",
	 "recover a device now",
	 "Asks smmu-rasd to recover a fenced device now, with all its attempts, and follows the\n"
	 "recovery to its end. Exit status: 0 it works again, 7 it does not.\n"},
	{"isolate", ctl_isolate, HAS_YES | HAS_WAIT | HAS_JSON, "DEV",
	 "give up on a device: it stays fenced",
	 "Asks smmu-rasd to leave a fenced device alone until somebody has it recovered. A step\n"
	 "that runs is let end.\n"},
	{"fence", ctl_fence, HAS_FORCE | HAS_YES | HAS_WAIT | HAS_JSON, "DEV",
	 "fence a healthy device: a drill",
	 "Shows what a fence of this device would touch, asks, has the kernel fence it, and\n"
	 "follows its recovery. This really interrupts the device. What is in use, and would stay\n"
	 "fenced for that, it fences only with --force.\n"},
	{"reattach", ctl_reattach, HAS_JSON, "DEV", "unfence a device that was reset",
	 "Lifts the fence of a sanitized device, one that was reset since it was fenced. The\n"
	 "kernel refuses for all others.\n"},
	{"policy", ctl_policy, HAS_JSON | HAS_ROOT | HAS_MATCH,
	 "check [FILE...] | explain DEV | show | reload",
	 "check, explain, show or reload the policy",
	 "  policy check [FILE...]   read the policy on disk, or files (- for stdin); mistakes "
	 "are\n"
	 "                           printed as FILE:LINE:COLUMN: error: TEXT\n"
	 "  policy explain [DEV]     which rule applies to a device, and why not those before it;\n"
	 "                           --driver= and so on put other things in place of its own\n"
	 "  policy show              all rules in the order in which they are tried\n"
	 "  policy reload            have smmu-rasd read it again; fails when that is refused\n"},
	{"simulate", ctl_simulate, HAS_JSON | HAS_POLICY | HAS_MATCH, "[EVENTS.json]",
	 "what the daemon would do",
	 "Runs a policy over made-up or recorded events and prints what smmu-rasd would do, with\n"
	 "a clock of its own: needs neither root, nor devices, nor our kernel. Without a file it\n"
	 "makes up one fence.\n"},
	{"metrics", ctl_metrics, 0, "", "numbers for a monitoring system",
	 "Prints OpenMetrics text: what is fenced now, and what smmu-rasd has counted since the\n"
	 "machine was started. node_exporter finds the like in /run/smmu-rasd/metrics.prom.\n"},
};

static const struct {
	unsigned int has;
	const char *text;
} option_help[] = {
	{HAS_ALL, "  -a, --all              also those that were recovered lately\n"},
	{HAS_FORCE, "  -f, --force            although it is in use; what uses it may be lost\n"},
	{HAS_YES, "  -y, --yes              do not ask\n"},
	{HAS_WAIT, "      --no-wait          do not follow it to the end\n"},
	{HAS_ROOT,
	 "      --root=DIR         the policy of the system below DIR, whoever owns it\n"},
	{HAS_POLICY,
	 "      --policy=PATH      a policy file, or a directory as " SMMU_RAS_SYSCONFDIR
	 "/smmu-rasd\n"},
	{HAS_MATCH, "      --driver=, --vendor=, --device=, --class=, --iommu=, --reason=,\n"
		    "      --address=, --slot=  explain a device that is like this\n"},
	{HAS_JSON, "      --json[=pretty|short|off]  for programs; smmu-rasctl(1) describes it\n"},
	{HAS_LEGEND, "      --no-legend        no heading, no remarks\n"},
};

static void print_options(unsigned int has)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_help); i++)
		if (option_help[i].has & has)
			fputs(option_help[i].text, stdout);
	fputs("      --no-pager         do not use a pager\n"
	      "  -h, --help             print a help text; of a verb, its own\n"
	      "      --version          print the version\n",
	      stdout);
}

static void help(const struct verb *verb)
{
	if (verb) {
		printf("Usage: smmu-rasctl %s [OPTION]... %s\n\n%s\n", verb->name, verb->arguments,
		       verb->help);
		print_options(verb->options);
		return;
	}
	printf("Usage: smmu-rasctl [OPTION]... [VERB] [ARGUMENT]...\n"
	       "\n"
	       "Devices that the IOMMU fenced, and what smmu-rasd does about them.\n"
	       "\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-22s %s%s\n", verbs[i].name, verbs[i].summary,
		       i == 0 ? " (the default)" : "");
	putchar('\n');
	print_options(HAS_JSON | HAS_LEGEND | HAS_ALL);
	printf("\n"
	       "More of a verb: smmu-rasctl VERB --help. DEV is what you have at hand: 01:00.0, "
	       "nvme0,\n"
	       "/dev/nvme0n1, eth0, a path below /sys, a PCI slot. All of it: man smmu-rasctl\n");
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (streq(name, verbs[i].name))
			return &verbs[i];
	return NULL;
}

/* The verb for what other tools call it, or NULL. */
static const char *synonym(const char *name)
{
	static const struct {
		const char *other;
		const char *verb;
	} synonyms[] = {
		{"unfence", "recover"}, {"unblock", "recover"}, {"reset", "recover"},
		{"retry", "recover"},	{"fix", "recover"},	{"drill", "fence"},
		{"ls", "list"},		{"info", "show"},	{"help", "--help"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++)
		if (streq(name, synonyms[i].other))
			return synonyms[i].verb;
	return NULL;
}

static int unknown_verb(const char *name)
{
	const char *names[ARRAY_SIZE(verbs)];
	const char *near;
	struct pci_address address;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		names[i] = verbs[i].name;
	near = synonym(name);
	if (!near)
		near = ctl_closest(name, names, ARRAY_SIZE(names));
	if (near && near[0] == '-')
		fprintf(stderr, "Unknown verb \"%s\"; did you mean: smmu-rasctl %s\n",
			VISIBLE(name), near);
	else if (near)
		fprintf(stderr, "Unknown verb \"%s\"; did you mean \"%s\"?\n", VISIBLE(name), near);
	else if (pci_address_parse(name, &address) >= 0 || name[0] == '/')
		fprintf(stderr, "\"%s\" is no verb; did you mean: smmu-rasctl show %s\n",
			VISIBLE(name), VISIBLE(name));
	else
		fprintf(stderr, "Unknown verb \"%s\"; \"smmu-rasctl --help\" lists them\n",
			VISIBLE(name));
	return CTL_USAGE;
}

enum {
	OPTION_JSON = 0x100,
	OPTION_NO_LEGEND,
	OPTION_NO_PAGER,
	OPTION_NO_WAIT,
	OPTION_ROOT,
	OPTION_POLICY,
	OPTION_VERSION,
	OPTION_MATCH, /* and those that follow, in the order of enum match_key */
};

static const struct option long_options[] = {
	{"json", optional_argument, NULL, OPTION_JSON},
	{"no-legend", no_argument, NULL, OPTION_NO_LEGEND},
	{"no-pager", no_argument, NULL, OPTION_NO_PAGER},
	{"all", no_argument, NULL, 'a'},
	{"force", no_argument, NULL, 'f'},
	{"yes", no_argument, NULL, 'y'},
	{"no-wait", no_argument, NULL, OPTION_NO_WAIT},
	{"root", required_argument, NULL, OPTION_ROOT},
	{"policy", required_argument, NULL, OPTION_POLICY},
	{"address", required_argument, NULL, OPTION_MATCH + MATCH_ADDRESS},
	{"vendor", required_argument, NULL, OPTION_MATCH + MATCH_VENDOR},
	{"device", required_argument, NULL, OPTION_MATCH + MATCH_DEVICE},
	{"class", required_argument, NULL, OPTION_MATCH + MATCH_CLASS},
	{"driver", required_argument, NULL, OPTION_MATCH + MATCH_DRIVER},
	{"iommu", required_argument, NULL, OPTION_MATCH + MATCH_IOMMU},
	{"reason", required_argument, NULL, OPTION_MATCH + MATCH_REASON},
	{"slot", required_argument, NULL, OPTION_MATCH + MATCH_SLOT},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

struct arguments {
	struct ctl ctl;
	unsigned int used; /* HAS_* of the options that were given */
	bool help;
	bool version;
};

static int parse_json_mode(struct arguments *a, const char *mode)
{
	a->used |= HAS_JSON;
	if (!mode || streq(mode, "pretty"))
		a->ctl.json = CTL_JSON_PRETTY;
	else if (streq(mode, "short"))
		a->ctl.json = CTL_JSON_SHORT;
	else if (streq(mode, "off"))
		a->ctl.json = CTL_TEXT;
	else {
		fprintf(stderr, "--json=%s: use pretty, short or off\n", VISIBLE(mode));
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int parse_option(struct arguments *a, int c)
{
	struct ctl *ctl = &a->ctl;

	switch (c) {
	case OPTION_JSON:
		return parse_json_mode(a, optarg);
	case OPTION_NO_LEGEND:
		ctl->legend = false;
		a->used |= HAS_LEGEND;
		break;
	case OPTION_NO_PAGER:
		ctl->pager = false;
		break;
	case 'a':
		ctl->all = true;
		a->used |= HAS_ALL;
		break;
	case 'f':
		ctl->force = true;
		a->used |= HAS_FORCE;
		break;
	case 'y':
		ctl->yes = true;
		a->used |= HAS_YES;
		break;
	case OPTION_NO_WAIT:
		ctl->wait = false;
		a->used |= HAS_WAIT;
		break;
	case OPTION_ROOT:
		ctl->root = optarg;
		a->used |= HAS_ROOT;
		break;
	case OPTION_POLICY:
		ctl->policy = optarg;
		a->used |= HAS_POLICY;
		break;
	case 'h':
		a->help = true;
		break;
	case OPTION_VERSION:
		a->version = true;
		break;
	default:
		if (c < OPTION_MATCH || c >= OPTION_MATCH + (int)_MATCH_MAX) {
			fprintf(stderr, "Try: smmu-rasctl --help\n");
			return CTL_USAGE;
		}
		ctl->match[c - OPTION_MATCH] = optarg;
		a->used |= HAS_MATCH;
		break;
	}
	return CTL_OK;
}

/* The option that @verb does not have. */
static int wrong_option(const struct verb *verb, unsigned int wrong)
{
	static const char *const names[] = {"--json",  "--no-legend", "--all",
					    "--force", "--yes",	      "--no-wait",
					    "--root",  "--policy",    "--driver and its like"};
	unsigned int i = 0;

	while (!(wrong & 1U << i))
		i++;
	fprintf(stderr, "\"%s\" has no option %s; try: smmu-rasctl %s --help\n", verb->name,
		names[i], verb->name);
	return CTL_USAGE;
}

int main(int argc, char **argv)
{
	struct arguments a = {.ctl = {.legend = true, .pager = true, .wait = true}};
	char *list[] = {(char[]){"list"}, NULL};
	const struct verb *verb;
	int c;
	int r = CTL_OK;

	setlocale(LC_CTYPE, "");
	/* Whoever reads us may leave, as head(1) and a pager do; writing then fails instead. */
	signal(SIGPIPE, SIG_IGN);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (r == CTL_OK && (c = getopt_long(argc, argv, "afhy", long_options, NULL)) >= 0)
		r = parse_option(&a, c);
	if (r != CTL_OK)
		return r;
	verb = optind == argc ? &verbs[0] : find_verb(argv[optind]);
	if (a.version) {
		printf("smmu-rasctl %s\n", SMMU_RAS_VERSION);
		return CTL_OK;
	}
	if (verb && a.help) {
		help(optind == argc ? NULL : verb);
		return CTL_OK;
	}
	if (!verb)
		return unknown_verb(argv[optind]);
	if (a.used & ~verb->options)
		return wrong_option(verb, a.used & ~verb->options);
	if (optind == argc)
		r = verb->run(&a.ctl, 1, list);
	else
		r = verb->run(&a.ctl, argc - optind, argv + optind);
	pager_close();
	if (ferror(stdout) && r == CTL_OK)
		r = CTL_FAILURE;
	return r;
}
