// SPDX-License-Identifier: GPL-2.0-or-later
#include "memory.h"

#include <errno.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/*
 * Reads in what the program or a library has in its file. Locking what can be written to would
 * make a copy of each page; read in is enough for it, as mlockall() keeps what is there.
 */
static int read_in(struct dl_phdr_info *info, size_t size _unused_, void *userdata)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	int *error = userdata;

	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		uintptr_t end =
			(info->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & ~(page - 1);
		void *address = (void *)begin; /* NOLINT(performance-no-int-to-ptr) */

		if (p->p_type != PT_LOAD || p->p_filesz == 0)
			continue;
		if (p->p_flags & PF_W)
			/* Linux 5.14; before, it is read in when it is used first. */
			(void)madvise(address, end - begin, MADV_POPULATE_READ);
		else if (mlock(address, end - begin) < 0)
			*error = -errno;
	}
	return 0;
}

void memory_keep(void)
{
	struct rlimit limit = {0};
	bool unlimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
	int flags = MCL_CURRENT | MCL_ONFAULT;
	int r = 0;

	if (unlimited)
		flags |= MCL_FUTURE;
	/* The kernel reads nothing in for this: it keeps what is there, and what is used later. */
	if (mlockall(flags) < 0)
		r = -errno;
	dl_iterate_phdr(read_in, &r);
	if (r < 0 && unlimited)
		log_warning(
			"Cannot keep smmu-rasd in memory: %s; if the disk that it or swap is on "
			"is fenced, it may wait for that disk instead of recovering it",
			strerror(-r));
	else if (r < 0)
		log_debug("smmu-rasd is not kept in memory: %s", strerror(-r));
}
