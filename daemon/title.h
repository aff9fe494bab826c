/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ps(1) and `systemctl status` call a process: the daemon's forks are not the daemon. */
#ifndef SMMU_RAS_TITLE_H
#define SMMU_RAS_TITLE_H

/* The command line that titles are written over, as main() got it. */
void title_init(int argc, char **argv);

/*
 * Has the process be called @name (15 bytes of it, as in /proc/PID/comm), and its command line
 * read @title, as much of it as there is room for.
 */
void title_set(const char *name, const char *title);

#endif
