# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel: building it, and the way between the patch series and a tree to work in.
#
#   make kernel          the arm64 test kernel with our series (and the stock one beside it); prints where it is
#   make kernel-debug    the same with the kernel's own checkers switched on
#   make kernel-deb      Debian packages of an arm64 kernel for servers; prints where they are.
#                        KERNEL_CONFIG=/boot/config-… has it start from a distribution's configuration
#   make check-kernel    proves that the series is clean: style, warnings, builds, boots, kernels with checkers (hours;
#                        kernel/check takes names of steps)
#   make kernel-tree     a git tree with the series as commits on branch smmu-ras, to work in
#   make kernel-export   writes that branch's commits back to kernel/patches/

.PHONY: kernel kernel-debug kernel-deb deps-deb deps-check check-kernel kernel-tree kernel-export
kernel: deps
	@kernel/build stock patched

kernel-debug: deps
	@kernel/build debug

kernel-deb: deps-deb
	@kernel/package $(if $(KERNEL_CONFIG),--config "$(KERNEL_CONFIG)")

deps-deb:
	@tests/lib/deps deb

deps-check:
	@tests/lib/deps check

check-kernel: deps deps-check
	@kernel/check

kernel-tree:
	@kernel/tree

kernel-export:
	@kernel/export
