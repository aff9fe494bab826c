// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "host.h"
#include "trusted.h"

#define POLICY_FILE_MAX	     (1024 * 1024)
#define MAX_PARALLEL_DEFAULT 128

static int set_error(char *error, int r, const char *format, ...) _printf_(3, 4);

static int set_error(char *error, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(error, POLICY_ERROR_SIZE, format, ap);
	va_end(ap);
	return r;
}

struct rule *rule_new(const char *name, const char *origin)
{
	static const enum step_kind steps[] = {STEP_UNBIND, STEP_RESET, STEP_REATTACH, STEP_BIND};
	struct rule *rule = calloc(1, sizeof(*rule));

	if (!rule)
		return NULL;
	rule->name = strdup(name);
	rule->origin = strdup(origin);
	if (!rule->name || !rule->origin)
		return rule_free(rule);
	rule->action = ACTION_RECOVER;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		rule->steps[i].kind = steps[i];
	rule->n_steps = ARRAY_SIZE(steps);
	/*
	 * The kernel waits 60 s for a device to come back from a reset, and does so again for the
	 * next method (drivers/pci/pci.c, PCIE_RESET_READY_POLL_MS).
	 */
	rule->steps[1].timeout = 150 * USEC_PER_SEC;
	/* Longer than the 30 s that drivers such as nvme wait for their own commands in unbind. */
	rule->step_timeout = 60 * USEC_PER_SEC;
	rule->attempts = 3;
	rule->backoff = USEC_PER_SEC;
	rule->backoff_max = 60 * USEC_PER_SEC;
	rule->rate_count = 5;
	rule->rate_window = 3600 * USEC_PER_SEC;
	rule->protect = PROTECT_ALL;
	return rule;
}

struct rule *rule_free(struct rule *rule)
{
	if (!rule)
		return NULL;
	for (size_t i = 0; i < _MATCH_MAX; i++) {
		for (size_t j = 0; j < rule->match[i].n; j++)
			free(rule->match[i].globs[j]);
		free(rule->match[i].globs);
	}
	free(rule->name);
	free(rule->origin);
	free(rule->reset_methods);
	free(rule);
	return NULL;
}

struct policy *policy_new(void)
{
	struct policy *policy = calloc(1, sizeof(*policy));

	if (policy)
		policy->refs = 1;
	return policy;
}

struct policy *policy_ref(struct policy *policy)
{
	policy->refs++;
	return policy;
}

static void free_commands(struct command *command)
{
	while (command) {
		struct command *next = command->next;

		for (size_t i = 0; command->argv[i]; i++)
			free(command->argv[i]);
		free(command->origin);
		free(command);
		command = next;
	}
}

void policy_drop_texts(struct policy *policy)
{
	struct policy_text *next;

	for (struct policy_text *t = policy->texts; t; t = next) {
		next = t->next;
		free(t->file);
		free(t->text);
		free(t);
	}
	policy->texts = NULL;
}

struct policy *policy_unref(struct policy *policy)
{
	if (!policy || --policy->refs > 0)
		return NULL;
	for (size_t i = 0; i < policy->n_rules; i++)
		rule_free(policy->rules[i]);
	rule_free(policy->fallback);
	free_commands(policy->commands);
	free(policy->rules);
	free(policy->sources);
	policy_drop_texts(policy);
	free(policy);
	return NULL;
}

static void policy_unrefp(struct policy **policy)
{
	policy_unref(*policy);
}

int policy_finish(struct policy *policy)
{
	if (!policy->fallback)
		policy->fallback = rule_new("default", "built in");
	if (!policy->fallback)
		return -ENOMEM;
	if (!policy->rules) {
		policy->rules = calloc(1, sizeof(*policy->rules));
		if (!policy->rules)
			return -ENOMEM;
	}
	policy->rules[policy->n_rules++] = policy->fallback;
	policy->fallback = NULL;
	if (policy->max_parallel == 0)
		policy->max_parallel = MAX_PARALLEL_DEFAULT;
	return 0;
}

static int add_source(struct policy *policy, const char *path)
{
	char *sources = NULL;

	if (asprintf(&sources, "%s%s%s", policy->sources ? policy->sources : "",
		     policy->sources ? ", " : "", path) < 0)
		return -ENOMEM;
	free(policy->sources);
	policy->sources = sources;
	return 0;
}

/*
 * The policy decides what root does to hardware, and is going to name commands that root runs:
 * nobody else may be able to change what is read. Checked on what is open, not on a name.
 */
static int check_owner(int fd, const char *path, bool is_dir, char *error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return set_error(error, -errno, "%s: cannot stat: %m", path);
	if (!is_dir && !S_ISREG(st.st_mode))
		return set_error(error, -EINVAL, "%s: not a regular file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return set_error(error, -EPERM,
				 "%s: belongs to user %u, who could make root act through it; "
				 "run: chown root:root %s",
				 path, st.st_uid, path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return set_error(error, -EPERM,
				 "%s: users other than root may write it (mode %04o); "
				 "run: chmod go-w %s",
				 path, st.st_mode & 07777U, path);
	return 0;
}

/* Takes over @text. */
static int add_text(struct policy *policy, const char *file, char *text, size_t len, bool main)
{
	struct policy_text **end = &policy->texts;
	struct policy_text *t = malloc(sizeof(*t));
	char *name = strdup(file);

	if (!t || !name) {
		free(t);
		free(name);
		free(text);
		return -ENOMEM;
	}
	*t = (struct policy_text){.file = name, .text = text, .len = len, .main = main};
	while (*end)
		end = &(*end)->next;
	*end = t;
	return 0;
}

static int read_file(struct policy *policy, int fd, const char *path, bool main, char *error)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = read_all(fd, POLICY_FILE_MAX, &text, &len);

	if (r == -EFBIG)
		return set_error(error, r, "%s: larger than %d MiB; this is no policy", path,
				 POLICY_FILE_MAX / (1024 * 1024));
	if (r < 0)
		return set_error(error, r, "%s: cannot read: %s", path, strerror(-r));
	r = policy_parse(policy, path, text, len, main, error);
	if (r < 0)
		return r;
	r = add_source(policy, path);
	if (r >= 0) {
		r = add_text(policy, path, text, len, main);
		text = NULL;
	}
	return r < 0 ? set_error(error, r, "out of memory") : 0;
}

/* /dev/null in place of a file switches it off, as in systemd's directories. */
static bool is_masked(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* Returns 1 when there was a file, 0 when there is none, or -errno. */
static int load_trusted(struct policy *policy, const char *path, bool main, bool any_owner,
			char *error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return set_error(error, -errno, "%s: cannot open: %m", path);
	if (is_masked(fd))
		return 1;
	r = any_owner ? 0 : check_owner(fd, path, false, error);
	if (r < 0)
		return r;
	r = read_file(policy, fd, path, main, error);
	return r < 0 ? r : 1;
}

/* Whoever may write the directory may replace the file. */
static int check_dir(const char *path, char *error)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return set_error(error, -errno, "%s: cannot open: %m", path);
	return check_owner(fd, path, true, error);
}

#define DROP_INS_MAX 256

struct drop_in {
	const char *name; /* behind the last slash of path */
	char path[];
};

struct drop_ins {
	struct drop_in *files[DROP_INS_MAX];
	size_t n;
};

static void drop_ins_clear(struct drop_ins *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->files[i]);
	list->n = 0;
}

static int compare_drop_ins(const void *a, const void *b)
{
	const struct drop_in *const *x = a;
	const struct drop_in *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Adds the *.json of @dir/policy.d whose names are not in @list yet. */
static int find_drop_ins(const char *dir, struct drop_ins *list, bool any_owner, char *error)
{
	char path[512];
	struct dirent *entry;
	DIR *d;
	int r;

	snprintf(path, sizeof(path), "%s/policy.d", dir);
	r = any_owner ? 0 : check_dir(path, error);
	if (r < 0)
		return r;
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : set_error(error, -errno, "%s: cannot open: %m", path);
	while ((entry = readdir(d))) {
		size_t len = strlen(entry->d_name);
		struct drop_in *file;
		size_t i;

		if (entry->d_name[0] == '.' || len < 6 || !streq(entry->d_name + len - 5, ".json"))
			continue;
		for (i = 0; i < list->n; i++)
			if (streq(list->files[i]->name, entry->d_name))
				break;
		if (i < list->n)
			continue;
		if (list->n == DROP_INS_MAX) {
			closedir(d);
			return set_error(error, -E2BIG, "%s: more than %d drop-ins", path,
					 DROP_INS_MAX);
		}
		file = malloc(sizeof(*file) + strlen(path) + 1 + len + 1);
		if (!file) {
			closedir(d);
			return set_error(error, -ENOMEM, "out of memory");
		}
		sprintf(file->path, "%s/%s", path, entry->d_name);
		file->name = file->path + strlen(path) + 1;
		list->files[list->n++] = file;
	}
	closedir(d);
	return 0;
}

/*
 * The programs that root is going to run. They are looked at again before each of them is run: a
 * mistake is better known now.
 */
static int check_commands(const struct policy *policy, char *error)
{
	for (const struct command *c = policy->commands; c; c = c->next) {
		char text[POLICY_ERROR_SIZE / 2];
		int r = trusted_program(c->argv[0], text, sizeof(text));

		if (r < 0)
			return set_error(error, r, "%s: %s", c->origin, VISIBLE(text));
	}
	return 0;
}

/* From the one or two directories @dirs, the first of which counts more. */
static int load_dirs(const char *const *dirs, size_t n_dirs, bool any_owner, struct policy **ret,
		     char *error)
{
	_cleanup_(policy_unrefp) struct policy *policy = policy_new();
	_cleanup_(drop_ins_clear) struct drop_ins drop_ins = {.n = 0};
	int r;

	error[0] = '\0';
	if (!policy)
		return set_error(error, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n_dirs; i++) {
		r = any_owner ? 0 : check_dir(dirs[i], error);
		if (r >= 0)
			r = find_drop_ins(dirs[i], &drop_ins, any_owner, error);
		if (r < 0)
			return r;
	}
	qsort(drop_ins.files, drop_ins.n, sizeof(drop_ins.files[0]), compare_drop_ins);
	/* Rules of drop-ins are tried before those of the main file. */
	for (size_t i = 0; i < drop_ins.n; i++) {
		r = load_trusted(policy, drop_ins.files[i]->path, false, any_owner, error);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n_dirs; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/policy.json", dirs[i]);
		r = load_trusted(policy, path, true, any_owner, error);
		if (r < 0)
			return r;
		if (r > 0)
			break;
	}
	/* A policy of another machine names programs of that one. */
	r = any_owner ? 0 : check_commands(policy, error);
	if (r < 0)
		return r;
	r = policy_finish(policy);
	if (r < 0)
		return set_error(error, r, "out of memory");
	*ret = policy;
	policy = NULL;
	return 0;
}

int policy_load(struct policy **ret, char error[static POLICY_ERROR_SIZE])
{
	const char *const dirs[] = {host_dir(HOST_ETC), host_dir(HOST_LIB)};

	return load_dirs(dirs, ARRAY_SIZE(dirs), false, ret, error);
}

int policy_load_below(const char *etc, const char *lib, struct policy **ret,
		      char error[static POLICY_ERROR_SIZE])
{
	const char *const dirs[] = {etc, lib};

	return load_dirs(dirs, lib ? 2 : 1, true, ret, error);
}

/* Seconds for whoever is to write into a pipe, such as "policy check <(generate)", to begin. */
#define PIPE_PATIENCE 5

/* Opens what somebody named: anything that has an end. */
static int open_any(const char *path, char *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st = {0};
	int r = 0;

	if (fd < 0)
		return set_error(error, -errno, "%s: cannot open: %m", path);
	(void)fstat(fd, &st);
	if (S_ISDIR(st.st_mode))
		r = set_error(error, -EISDIR, "%s: a directory; name a file in it", path);
	else if (S_ISFIFO(st.st_mode) &&
		 poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PIPE_PATIENCE * 1000) == 0)
		r = set_error(error, -ETIMEDOUT,
			      "%s: a pipe, and nobody has written to it for %d s", path,
			      PIPE_PATIENCE);
	if (r < 0) {
		close(fd);
		return r;
	}
	(void)fcntl(fd, F_SETFL, O_RDONLY);
	return fd;
}

static int load_one(const char *path, bool elsewhere, struct policy **ret, char *error)
{
	_cleanup_(policy_unrefp) struct policy *policy = policy_new();
	bool is_stdin = streq(path, "-");
	_cleanup_close_ int fd = -1;
	int r;

	error[0] = '\0';
	if (!policy)
		return set_error(error, -ENOMEM, "out of memory");
	if (!is_stdin) {
		fd = open_any(path, error);
		if (fd < 0)
			return fd;
	}
	r = read_file(policy, is_stdin ? STDIN_FILENO : fd, is_stdin ? "<stdin>" : path, true,
		      error);
	if (r >= 0 && !elsewhere)
		r = check_commands(policy, error);
	if (r < 0)
		return r;
	r = policy_finish(policy);
	if (r < 0)
		return set_error(error, r, "out of memory");
	*ret = policy;
	policy = NULL;
	return 0;
}

int policy_load_file(const char *path, struct policy **ret, char error[static POLICY_ERROR_SIZE])
{
	return load_one(path, false, ret, error);
}

int policy_load_file_elsewhere(const char *path, struct policy **ret,
			       char error[static POLICY_ERROR_SIZE])
{
	return load_one(path, true, ret, error);
}
