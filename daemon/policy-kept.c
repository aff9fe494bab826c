// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy-kept.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "host.h"

#define KEPT_VERSION 1
/* The main file and all drop-ins at their largest would be more; they are not kept then. */
#define KEPT_FILE_MAX (8 * 1024 * 1024)

static const char *kept_path(char *buf, size_t size)
{
	snprintf(buf, size, "%s/policy.kept", host_dir(HOST_KEPT));
	return buf;
}

static json_t *to_json(const struct policy *policy)
{
	json_t *files = json_array();

	for (const struct policy_text *t = policy->texts; files && t; t = t->next)
		if (json_array_append_new(files,
					  json_pack("{s:s, s:b, s:s%}", "file", t->file, "main",
						    t->main, "text", t->text, t->len)) < 0) {
			json_decref(files);
			return NULL;
		}
	return json_pack("{s:i, s:o}", "version", KEPT_VERSION, "files", files);
}

int policy_keep(const struct policy *policy)
{
	_cleanup_(json_decrefp) json_t *json = to_json(policy);
	_cleanup_free_ char *text = NULL;
	char path[512];

	if (!json)
		return -ENOMEM;
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	if (strlen(text) > KEPT_FILE_MAX)
		return -EFBIG;
	if (mkdir(host_dir(HOST_KEPT), 0755) < 0 && errno != EEXIST)
		return -errno;
	return replace_file(kept_path(path, sizeof(path)), text, 0600);
}

static int fail(char *error, int r, const char *path, const char *what)
{
	snprintf(error, POLICY_ERROR_SIZE, "%s: %s", path, what);
	return r;
}

static int parse_files(struct policy *policy, json_t *files, const char *path, char *error)
{
	json_t *file;
	size_t i;

	json_array_foreach(files, i, file)
	{
		const char *name = json_string_value(json_object_get(file, "file"));
		json_t *text = json_object_get(file, "text");
		int r;

		if (!name || !json_is_string(text))
			return fail(error, -EBADMSG, path, "damaged");
		r = policy_parse(policy, name, json_string_value(text), json_string_length(text),
				 json_is_true(json_object_get(file, "main")), error);
		if (r < 0)
			return r;
	}
	return 0;
}

int policy_load_kept(struct policy **ret, char error[static POLICY_ERROR_SIZE])
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct policy *policy;
	struct stat st;
	char path[512];
	size_t len = 0;
	int r;

	error[0] = '\0';
	fd = open(kept_path(path, sizeof(path)), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : fail(error, -errno, path, strerror(errno));
	/* As strict as with the policy itself: what is in it becomes what root does. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & (S_IWGRP | S_IWOTH))
		return fail(error, -EPERM, path, "others than root may write it");
	r = read_all(fd, KEPT_FILE_MAX, &text, &len);
	if (r < 0)
		return fail(error, r, path, strerror(-r));
	json = json_loadb(text, len, 0, NULL);
	if (!json || json_integer_value(json_object_get(json, "version")) != KEPT_VERSION)
		return fail(error, -EBADMSG, path, "damaged");
	policy = policy_new();
	if (!policy)
		return fail(error, -ENOMEM, path, "out of memory");
	r = parse_files(policy, json_object_get(json, "files"), path, error);
	if (r >= 0) {
		r = policy_finish(policy);
		policy->sources = strdup(path);
	}
	if (r < 0) {
		policy_unref(policy);
		return r;
	}
	*ret = policy;
	return 0;
}
