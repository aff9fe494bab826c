# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. What each part needs is in its own rules: daemon/rules.mk, kernel/rules.mk, tests/rules.mk.
#
#   make               the daemon and the command line tool
#   make install       DESTDIR=, PREFIX=, SYSCONFDIR=, BINDIR=, UNITDIR= and so on as usual; make uninstall
#   make deps          install from Debian what the targets below need (root)
#   make demo          the whole loop on a real kernel in a virtual machine (root)
#   make check         all tests (root); check-unit needs neither root nor a virtual machine
#   make help          the rest

.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

# daemon/rules.mk:  all, install, uninstall, check-unit, check-integration, lint-daemon
# kernel/rules.mk:  kernel, kernel-stock, kernel-debug, kernel-tree, kernel-export
# tests/rules.mk:   deps, check, check-vm, demo, lint, bench, fuzz, deb, clean-cache
-include daemon/rules.mk
-include kernel/rules.mk
-include tests/rules.mk

.PHONY: all install uninstall help
all:
install: all
uninstall:

help:
	@sed -n 's/^#   //p' Makefile kernel/rules.mk tests/rules.mk tests/fuzz/rules.mk
