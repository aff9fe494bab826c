# SPDX-License-Identifier: GPL-2.0-or-later
# Tests, the demonstration, and what the targets need from the machine.
#
#   make deps            installs from Debian what the other targets need (root; quick when nothing is missing)
#   make demo            fences and recovers wedged devices on a real kernel in a virtual machine (root)
#   make check           unit, integration, installation and virtual machine tests (root)
#   make check-unit      only the unit tests: no root, no virtual machine, under a minute
#   make check-integration  only smmu-rasd and smmu-rasctl against a kernel made of Python; no root either
#   make check-install   only what make install installs, and where; no root either
#   make check-vm        only the tests in virtual machines (root)
#   make bench           what the daemon's event path, its memory and its rest cost, and what a flush costs in
#                        instructions, stock kernel against patched (root); bench-daemon is the first part alone
#   make deb             Debian packages of daemon and command line tool for amd64 and arm64 (root); DEB_ARCH=,
#                        DEB_SUITE=, DEB_VERSION= say which
#   make check-deb       the same for Debian 12 and 13, and installs, upgrades, boots and purges them in clean roots (root)
#   make lint            formatters and linters over everything
#   make clean-cache     removes what make kernel, demo and check-vm built

.PHONY: deps deps-lint demo check check-install check-deb check-vm lint lint-scripts lint-man bench bench-flush deb clean-cache
deps:
	@tests/lib/deps

deps-lint:
	@tests/lib/deps lint

demo: deps
	@tests/vm/demo

check: deps
	@tests/lib/check check-unit check-integration check-install fuzz-smoke check-vm

check-install:
	@BUILDDIR=$(BUILDDIR) tests/install/check

check-vm: deps
	@tests/vm/run

lint: deps-lint lint-scripts lint-man
	@if [ -f daemon/rules.mk ]; then $(MAKE) --no-print-directory lint-daemon; fi

# Shell scripts are found by their first line: most have no suffix.
lint-scripts:
	@git ls-files -z | xargs -0 grep -IlZ -m1 '^#!/bin/\(sh\|bash\)' | xargs -0 shellcheck
	@git ls-files -z | xargs -0 grep -IlZ -m1 '^#!/usr/bin/python3' | xargs -0 tests/lib/python-syntax
	@tests/lib/spdx

lint-man:
	mandoc -T lint -W warning daemon/man/*.[1-9]

bench: deps
	@tests/lib/check bench-daemon bench-flush

bench-flush:
	@tests/vm/bench-flush

# In a clean root of this machine's Debian; units/package can do more.
deb: deps
	@units/package $(if $(DEB_ARCH),$(addprefix --arch ,$(DEB_ARCH))) $(if $(DEB_SUITE),--suite $(DEB_SUITE)) \
		$(if $(DEB_VERSION),--version $(DEB_VERSION))

check-deb: deps deps-lint
	@BUILDDIR=$(BUILDDIR) tests/deb/check $(DEB_SUITE)

include tests/fuzz/rules.mk

clean-cache:
	@tests/lib/clean-cache
