// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy-force.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/stat.h>

#include "host.h"

#define FORCE_VERSION  1
#define FORCE_FILE_MAX 4096

static const char *const origins[_FORCE_MAX] = {
	[FORCE_FILES] = "files", [FORCE_KEPT] = "kept", [FORCE_NOTHING] = "nothing"};

uint64_t policy_digest(const struct policy *policy)
{
	uint64_t digest = HASH_INIT;

	for (const struct policy_text *t = policy->texts; t; t = t->next) {
		digest = hash_bytes(digest, t->file, strlen(t->file) + 1);
		digest = hash_bytes(digest, &t->len, sizeof(t->len));
		digest = hash_bytes(digest, t->text, t->len);
	}
	return digest ? digest : 1;
}

const char *policy_digest_text(uint64_t digest, char buf[static POLICY_DIGEST_SIZE])
{
	snprintf(buf, POLICY_DIGEST_SIZE, "%016" PRIx64, digest);
	return buf;
}

static void newest(const char *path, uint64_t *ret)
{
	struct stat st;
	uint64_t usec;

	if (stat(path, &st) < 0 || st.st_mtim.tv_sec < 0)
		return;
	usec = (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC +
	       (uint64_t)st.st_mtim.tv_nsec / NSEC_PER_USEC;
	if (usec > *ret)
		*ret = usec;
}

uint64_t policy_changed(const struct policy *policy)
{
	static const enum host_dir dirs[] = {HOST_ETC, HOST_LIB};
	uint64_t changed = 0;

	for (const struct policy_text *t = policy->texts; t; t = t->next)
		newest(t->file, &changed);
	/* A file that was taken away leaves its trace there. */
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		char path[512];

		newest(host_dir(dirs[i]), &changed);
		snprintf(path, sizeof(path), "%s/policy.d", host_dir(dirs[i]));
		newest(path, &changed);
	}
	return changed;
}

static const char *state_path(char *buf, size_t size)
{
	snprintf(buf, size, "%s/policy.state", host_dir(HOST_RUN));
	return buf;
}

int policy_force_save(const struct policy_force *force)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	char digest[POLICY_DIGEST_SIZE];
	char path[512];
	int r;

	json = json_pack("{s:i, s:s, s:s, s:I, s:I}", "version", FORCE_VERSION, "origin",
			 origins[force->origin], "digest",
			 policy_digest_text(force->digest, digest), "read", (json_int_t)force->read,
			 "refused", (json_int_t)force->refused);
	text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	if (!text)
		return -ENOMEM;
	r = replace_file(state_path(path, sizeof(path)), text, 0644);
	/* What it says is not true any more. */
	if (r < 0)
		unlink(path);
	return r;
}

static uint64_t get_time(json_t *json, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(json, key));

	return value > 0 ? (uint64_t)value : 0;
}

int policy_force_load(struct policy_force *ret)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct policy_force force = {.origin = _FORCE_MAX};
	const char *origin;
	const char *digest;
	char path[512];
	char *end = NULL;
	size_t len = 0;
	int r;

	fd = open(state_path(path, sizeof(path)), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	r = read_all(fd, FORCE_FILE_MAX, &text, &len);
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	json = json_loadb(text, len, 0, NULL);
	origin = json_string_value(json_object_get(json, "origin"));
	digest = json_string_value(json_object_get(json, "digest"));
	if (!origin || !digest ||
	    json_integer_value(json_object_get(json, "version")) != FORCE_VERSION)
		return -EBADMSG;
	for (enum force_origin i = 0; i < _FORCE_MAX; i++)
		if (streq(origin, origins[i]))
			force.origin = i;
	force.digest = strtoull(digest, &end, 16);
	if (force.origin == _FORCE_MAX || *end != '\0' || end == digest)
		return -EBADMSG;
	force.read = get_time(json, "read");
	force.refused = get_time(json, "refused");
	*ret = force;
	return 0;
}
