// SPDX-License-Identifier: GPL-2.0-or-later
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "log.h"
#include "util.h"

/* --- capabilities(7) ------------------------------------------------------------------------- */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/*
	 * Takes CAP_SETPCAP, which the service has not got. The bounding set is for programs that
	 * give capabilities when they are run: with no_new_privs they give none.
	 */
	for (unsigned long capability = 0; capability <= 63; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	/* The library has no function for it; libcap would be one more thing to depend on. */
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* --- landlock(7) ----------------------------------------------------------------------------- */

/* Newer than the headers of some systems that this is built on. */
#define ACCESS_REFER	 (UINT64_C(1) << 13) /* ABI 2 */
#define ACCESS_TRUNCATE	 (UINT64_C(1) << 14) /* ABI 3 */
#define ACCESS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */

/* All kinds of files: what is no record is put aside with a new name, whatever it is. */
#define ACCESS_CHANGE                                                                              \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                            \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM |                               \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define ACCESS_OTHER                                                                               \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

static int allow_below(int ruleset, const char *path, uint64_t access)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};

	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

static int write_only_below(const char *path)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t change = ACCESS_CHANGE;
	/* Of the first field only, so that the kernel need not know of others. */
	struct {
		uint64_t handled_access_fs;
	} attr = {.handled_access_fs = ACCESS_OTHER};
	_cleanup_close_ int ruleset = -1;
	int r;

	if (abi < 0)
		return -errno;
	if (abi >= 2)
		attr.handled_access_fs |= ACCESS_REFER;
	if (abi >= 3)
		change |= ACCESS_TRUNCATE;
	if (abi >= 5)
		attr.handled_access_fs |= ACCESS_IOCTL_DEV;
	attr.handled_access_fs |= change;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	r = allow_below(ruleset, path, change);
	if (r < 0)
		return r;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

/* --- seccomp(2) ------------------------------------------------------------------------------ */

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#endif

static int run_no_programs(void)
{
#ifdef AUDIT_ARCH_HERE
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		/* Calls of another architecture have other numbers; the daemon makes none. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_HERE, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		/* x32, on x86-64. */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
#else
	return -EOPNOTSUPP;
#endif
}

int confine(const char *writable)
{
	int r;

	/* Without it, only who has CAP_SYS_ADMIN may do the rest. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = drop_capabilities();
	if (r < 0)
		return r;
	r = write_only_below(writable);
	if (r < 0)
		log_debug("smmu-rasd is not kept from writing elsewhere than to %s: Landlock: %s",
			  writable, strerror(-r));
	else
		log_debug("smmu-rasd writes to %s only (Landlock)", writable);
	r = run_no_programs();
	if (r < 0)
		log_debug("smmu-rasd is not kept from running programs: seccomp: %s", strerror(-r));
	return 0;
}
