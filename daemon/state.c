// SPDX-License-Identifier: GPL-2.0-or-later
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "host.h"

/* Changes when an older daemon could no longer read the files. */
#define STATE_VERSION  1
#define STATE_FILE_MAX (64 * 1024)

static int lock_fd = -1;

static const char *state_path(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/%s", host_dir(HOST_RUN), name);
	return buf;
}

/* "pci@0000:01:00.0.json": neither name holds a slash, and neither begins with a dot. */
static const char *device_path(char *buf, size_t size, const char *folder, const char *bus,
			       const char *dev, const char *suffix)
{
	snprintf(buf, size, "%s/%s/%s@%s.json%s", host_dir(HOST_RUN), folder, bus, dev, suffix);
	return buf;
}

static int make_directories(void)
{
	char path[512];

	if (mkdir(host_dir(HOST_RUN), 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mkdir(state_path(path, sizeof(path), STATE_DEVICES), 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mkdir(state_path(path, sizeof(path), STATE_GONE), 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int state_open(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[512];
	int r = make_directories();

	if (r < 0)
		return r;
	lock_fd = open(state_path(path, sizeof(path), "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	/* Whoever may read it may keep a daemon from starting, with a read lock. */
	if (lock_fd < 0 || fchmod(lock_fd, 0600) < 0)
		return -errno;
	/* It goes with the daemon: neither the spawner nor a worker has ever had it. */
	if (fcntl(lock_fd, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	return 0;
}

/* proc_locks(5) tells everybody who holds what: "1: OFDLCK ADVISORY WRITE -1 00:1a:123 0 EOF". */
static bool lock_is_listed(const struct stat *st)
{
	char line[256];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(line, sizeof(line), "%s/locks", host_dir(HOST_PROC));
	f = fopen(line, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned int major_number;
		unsigned int minor_number;
		unsigned long inode;

		/* NOLINTNEXTLINE(cert-err34-c) */
		if (sscanf(line, "%*s OFDLCK %*s WRITE %*s %x:%x:%lu", &major_number, &minor_number,
			   &inode) == 3 &&
		    makedev(major_number, minor_number) == st->st_dev && inode == st->st_ino)
			return true;
	}
	return false;
}

bool state_daemon_runs(void)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	char path[512];
	struct stat st;
	_cleanup_close_ int fd = open(state_path(path, sizeof(path), "lock"), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES && stat(path, &st) == 0 && lock_is_listed(&st);
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void record_add_history(struct device_record *record, const struct step_result *result)
{
	if (!record->history) {
		record->history = calloc(RECORD_HISTORY_MAX, sizeof(*record->history));
		if (!record->history)
			return;
		record->n_history = 0;
	}
	if (record->n_history == RECORD_HISTORY_MAX) {
		memmove(record->history, record->history + 1,
			(RECORD_HISTORY_MAX - 1) * sizeof(*record->history));
		record->n_history--;
	}
	record->history[record->n_history++] = *result;
}

void record_clear_debt(struct device_record *record)
{
	record->prepared = false;
	record->driver[0] = '\0';
	record->driver_override[0] = '\0';
	record->reset_method[0] = '\0';
	record->functions = (struct functions){0};
	record->vfs = (struct vf_setup){0};
	record->away = false;
	record->slot[0] = '\0';
}

void record_clear_history(struct device_record *record)
{
	free(record->history);
	record->history = NULL;
	record->n_history = 0;
}

/*
 * What sysfs says may hold any bytes, and has to come back as it was; JSON holds UTF-8 only. Bytes
 * that are no printable ASCII become \xNN, and a backslash is doubled.
 */
static json_t *bytes_to_json(const char *s)
{
	char text[4 * VF_DRIVERS_SIZE];
	size_t used = 0;

	for (; *s && used + 5 <= sizeof(text); s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '\\' || c < 0x20 || c > 0x7e)
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 c == '\\' ? "\\\\" : "\\x%02x", c);
		else
			text[used++] = (char)c;
	}
	return json_stringn(text, used);
}

static json_t *history_to_json(const struct device_record *record)
{
	json_t *history = json_array();

	for (unsigned int i = 0; history && i < record->n_history; i++) {
		const struct step_result *h = &record->history[i];

		/* Words of the kernel that are not UTF-8 cost the one entry, and not the record. */
		json_array_append_new(history,
				      json_pack("{s:I, s:s, s:i, s:I, s:I, s:s}", "attempt",
						(json_int_t)h->attempt, "step", h->step, "error",
						h->error, "duration_usec", (json_int_t)h->duration,
						"time", (json_int_t)h->time, "note", h->note));
	}
	return history;
}

static json_t *vfs_to_json(const struct vf_setup *vfs)
{
	return json_pack("{s:I, s:b, s:o}", "n", (json_int_t)vfs->n, "autoprobe", vfs->autoprobe,
			 "drivers", bytes_to_json(vfs->drivers));
}

static json_t *functions_to_json(const struct functions *f)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "block", (json_int_t)f->block, "net",
			 (json_int_t)f->net, "nvme", (json_int_t)f->nvme, "virtio",
			 (json_int_t)f->virtio);
}

static json_t *record_to_json(const struct device_record *record)
{
	json_t *recoveries = json_array();

	for (unsigned int i = 0; recoveries && i < record->n_recoveries; i++)
		json_array_append_new(recoveries, json_integer((json_int_t)record->recoveries[i]));
	/* clang-format off */
	return json_pack("{s:i, s:s, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:i, s:b, s:b, s:b, s:b, s:o, "
			 "s:b, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:I, s:I, s:o, "
			 "s:s, s:s, s:I, s:I, s:I, s:I, s:o}",
			 "version", STATE_VERSION,
			 "bus", record->bus,
			 "dev", record->dev,
			 "identity", bytes_to_json(record->identity),
			 "state", recovery_state_name(record->state),
			 "was", recovery_state_name(record->was),
			 "reason", (json_int_t)record->reason,
			 "fence_id", (json_int_t)record->fence_id,
			 "attempts", (json_int_t)record->attempts,
			 "left", (int)record->left,
			 "active", record->active,
			 "begun", record->begun,
			 "last_resort", record->last_resort,
			 "force", record->force,
			 "rule", bytes_to_json(record->rule),
			 "prepared", record->prepared,
			 "driver", bytes_to_json(record->driver),
			 "driver_override", bytes_to_json(record->driver_override),
			 "reset_method", bytes_to_json(record->reset_method),
			 "functions", functions_to_json(&record->functions),
			 "vfs", vfs_to_json(&record->vfs),
			 "away", record->away,
			 "slot", bytes_to_json(record->slot),
			 "worker", (json_int_t)record->worker,
			 "worker_start", (json_int_t)record->worker_start,
			 "recoveries", recoveries,
			 "step", record->step,
			 "note", record->note,
			 "since", (json_int_t)record->since,
			 "next", (json_int_t)record->next,
			 "recovered_time", (json_int_t)record->recovered_time,
			 "keep_until", (json_int_t)record->keep_until,
			 "history", history_to_json(record));
	/* clang-format on */
}

int state_save(const struct device_record *record)
{
	return state_save_in(STATE_DEVICES, record);
}

int state_save_in(const char *folder, const struct device_record *record)
{
	_cleanup_(json_decrefp) json_t *json = record_to_json(record);
	_cleanup_free_ char *text = NULL;
	char path[512];
	int r;

	/* Whatever may be no UTF-8 was escaped, and names are ASCII: only memory can be short. */
	if (!json)
		return -ENOMEM;
	text = json_dumps(json, JSON_INDENT(1));
	if (!text)
		return -ENOMEM;
	device_path(path, sizeof(path), folder, record->bus, record->dev, "");
	r = replace_file(path, text, 0644);
	if (r == -ENOENT && make_directories() >= 0)
		r = replace_file(path, text, 0644);
	return r;
}

void state_remove(const char *bus, const char *dev)
{
	state_remove_in(STATE_DEVICES, bus, dev);
}

void state_remove_in(const char *folder, const char *bus, const char *dev)
{
	char path[512];

	unlink(device_path(path, sizeof(path), folder, bus, dev, ""));
}

int state_set_aside(const char *bus, const char *dev)
{
	char path[512];
	char aside[512];

	device_path(path, sizeof(path), STATE_DEVICES, bus, dev, "");
	return rename(path, device_path(aside, sizeof(aside), STATE_DEVICES, bus, dev, ".bad")) < 0
		       ? -errno
		       : 0;
}

static bool get_string(json_t *object, const char *key, char *dst, size_t size)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s && str_copy(dst, size, s);
}

static bool get_hex(const char *s, unsigned char *ret)
{
	unsigned int value = 0;

	for (int i = 0; i < 2; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = s[i] ? strchr(digits, s[i]) : NULL;

		if (!digit)
			return false;
		value = value * 16 + (unsigned int)(digit - digits);
	}
	*ret = (unsigned char)value;
	return true;
}

/* What bytes_to_json() has written. Older daemons escaped nothing: what is no escape stays. */
static bool get_bytes(json_t *object, const char *key, char *dst, size_t size)
{
	const char *s = json_string_value(json_object_get(object, key));
	size_t used = 0;

	while (s && *s && used + 1 < size) {
		unsigned char c = (unsigned char)*s;

		if (s[0] == '\\' && s[1] == '\\')
			s += 2;
		else if (s[0] == '\\' && s[1] == 'x' && get_hex(s + 2, &c))
			s += 4;
		else
			s++;
		if (c == '\0')
			return false;
		dst[used++] = (char)c;
	}
	dst[used] = '\0';
	return s && *s == '\0';
}

static bool get_u64(json_t *object, const char *key, uint64_t *ret)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static uint32_t get_u32(json_t *object, const char *key)
{
	uint64_t value = 0;

	return get_u64(object, key, &value) && value <= UINT32_MAX ? (uint32_t)value : 0;
}

/* Records of older daemons have none of these. */
static void debt_from_json(json_t *json, struct device_record *ret)
{
	json_t *functions = json_object_get(json, "functions");
	json_t *vfs = json_object_get(json, "vfs");

	ret->functions = (struct functions){.block = get_u32(functions, "block"),
					    .net = get_u32(functions, "net"),
					    .nvme = get_u32(functions, "nvme"),
					    .virtio = get_u32(functions, "virtio")};
	ret->vfs.n = get_u32(vfs, "n");
	ret->vfs.autoprobe = json_is_true(json_object_get(vfs, "autoprobe"));
	if (!get_bytes(vfs, "drivers", ret->vfs.drivers, sizeof(ret->vfs.drivers)))
		ret->vfs.drivers[0] = '\0';
}

/* For people only: what cannot be read is left out. */
static void history_from_json(json_t *history, struct device_record *ret)
{
	size_t n = json_array_size(history);

	for (size_t i = n > RECORD_HISTORY_MAX ? n - RECORD_HISTORY_MAX : 0; i < n; i++) {
		json_t *json = json_array_get(history, i);
		json_t *error = json_object_get(json, "error");
		struct step_result h = {0};
		uint64_t attempt = 0;

		if (!get_u64(json, "attempt", &attempt) || attempt > UINT32_MAX ||
		    !json_is_integer(error) || json_integer_value(error) > 0 ||
		    json_integer_value(error) < -4095 ||
		    !get_string(json, "step", h.step, sizeof(h.step)) ||
		    !get_u64(json, "duration_usec", &h.duration) || !get_u64(json, "time", &h.time))
			continue;
		(void)get_string(json, "note", h.note, sizeof(h.note));
		h.attempt = (uint32_t)attempt;
		h.error = (int)json_integer_value(error);
		record_add_history(ret, &h);
	}
}

static bool record_from_json(json_t *json, struct device_record *ret)
{
	json_t *recoveries = json_object_get(json, "recoveries");
	uint64_t version = 0;
	uint64_t attempts = 0;
	uint64_t worker = 0;
	uint64_t left = LEFT_NOT;
	char state[STATE_STEP_SIZE];

	if (!get_u64(json, "version", &version) || version != STATE_VERSION ||
	    !get_string(json, "bus", ret->bus, sizeof(ret->bus)) ||
	    !get_string(json, "dev", ret->dev, sizeof(ret->dev)) ||
	    !get_string(json, "state", state, sizeof(state)) ||
	    recovery_state_from_name(state, &ret->state) < 0 ||
	    !get_u64(json, "fence_id", &ret->fence_id) || !get_u64(json, "attempts", &attempts) ||
	    !get_bytes(json, "rule", ret->rule, sizeof(ret->rule)) ||
	    !get_bytes(json, "driver", ret->driver, sizeof(ret->driver)) ||
	    !get_bytes(json, "driver_override", ret->driver_override,
		       sizeof(ret->driver_override)) ||
	    !get_bytes(json, "reset_method", ret->reset_method, sizeof(ret->reset_method)) ||
	    !get_u64(json, "worker", &worker) ||
	    !get_u64(json, "worker_start", &ret->worker_start) ||
	    !get_string(json, "step", ret->step, sizeof(ret->step)) ||
	    !get_string(json, "note", ret->note, sizeof(ret->note)) ||
	    !get_u64(json, "since", &ret->since) || !get_u64(json, "next", &ret->next) ||
	    !json_is_array(recoveries) || json_array_size(recoveries) > STATE_RECOVERIES_MAX ||
	    attempts > UINT32_MAX || worker > INT32_MAX)
		return false;
	/* Records of older daemons have none of these. */
	if (get_u64(json, "left", &left) && left < _LEFT_MAX)
		ret->left = (enum left_alone)left;
	if (!get_string(json, "was", state, sizeof(state)) ||
	    recovery_state_from_name(state, &ret->was) < 0)
		ret->was = RECOVERY_IDLE;
	ret->reason = get_u32(json, "reason");
	ret->active = json_is_true(json_object_get(json, "active"));
	ret->begun = !json_is_false(json_object_get(json, "begun"));
	ret->last_resort = json_is_true(json_object_get(json, "last_resort"));
	ret->force = json_is_true(json_object_get(json, "force"));
	(void)get_u64(json, "recovered_time", &ret->recovered_time);
	(void)get_u64(json, "keep_until", &ret->keep_until);
	(void)get_bytes(json, "identity", ret->identity, sizeof(ret->identity));
	ret->attempts = (unsigned int)attempts;
	ret->worker = (pid_t)worker;
	ret->prepared = json_is_true(json_object_get(json, "prepared"));
	for (size_t i = 0; i < json_array_size(recoveries); i++) {
		json_t *value = json_array_get(recoveries, i);

		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return false;
		ret->recoveries[ret->n_recoveries++] = (uint64_t)json_integer_value(value);
	}
	debt_from_json(json, ret);
	ret->away = json_is_true(json_object_get(json, "away"));
	(void)get_bytes(json, "slot", ret->slot, sizeof(ret->slot));
	history_from_json(json_object_get(json, "history"), ret);
	return true;
}

int state_load(const char *bus, const char *dev, struct device_record *ret)
{
	return state_load_in(STATE_DEVICES, bus, dev, ret);
}

int state_load_in(const char *folder, const char *bus, const char *dev, struct device_record *ret)
{
	_cleanup_(json_decrefp) json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct device_record record = {0};
	char path[512];
	size_t len = 0;
	int r;

	fd = open(device_path(path, sizeof(path), folder, bus, dev, ""), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_all(fd, STATE_FILE_MAX, &text, &len);
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	json = json_loadb(text, len, 0, NULL);
	if (!json || !record_from_json(json, &record) || !streq(record.bus, bus) ||
	    !streq(record.dev, dev)) {
		record_clear_history(&record);
		return -EBADMSG;
	}
	*ret = record;
	return 0;
}

int state_load_all(void (*handler)(const struct device_record *record, int error, void *userdata),
		   void *userdata)
{
	return state_load_all_in(STATE_DEVICES, handler, userdata);
}

int state_load_all_in(const char *folder,
		      void (*handler)(const struct device_record *record, int error,
				      void *userdata),
		      void *userdata)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(state_path(path, sizeof(path), folder));

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		struct device_record record = {0};
		char name[NAME_MAX + 1];
		size_t len = strlen(entry->d_name);
		char bus[RAS_BUS_SIZE];
		char dev[RAS_DEV_SIZE];
		char *at;
		int r;

		if (entry->d_name[0] == '.' || len < 6 || !streq(entry->d_name + len - 5, ".json"))
			continue;
		str_copy(name, sizeof(name), entry->d_name);
		name[len - 5] = '\0';
		at = strchr(name, '@');
		if (!at)
			continue;
		*at = '\0';
		if (!str_copy(bus, sizeof(bus), name) || !str_copy(dev, sizeof(dev), at + 1))
			continue;
		r = state_load_in(folder, bus, dev, &record);
		if (r < 0) {
			str_copy(record.bus, sizeof(record.bus), bus);
			str_copy(record.dev, sizeof(record.dev), dev);
		}
		handler(&record, r, userdata);
	}
	closedir(dir);
	return 0;
}
