# SPDX-License-Identifier: GPL-2.0-or-later
# smmu-rasd and smmu-rasctl: build, install, unit and integration tests, lint.
#
#   make daemon-build              BUILDDIR=, CC=, CFLAGS=, LDFLAGS=, PKG_CONFIG=, WERROR=1, V=1
#   make daemon-install            DESTDIR= and the directories below; daemon/install.mk lists the files
#   make daemon-check-unit         needs neither root nor a virtual machine
#   make daemon-check-integration  the daemon against a kernel made of Python; no root either
#   make lint-daemon               clang-format, clang-tidy, cppcheck, and both compilers with -Werror
#
# Cross-compiling is CC= and PKG_CONFIG= with a BUILDDIR= of its own.

BUILDDIR       ?= build
PREFIX         ?= /usr
SYSCONFDIR     ?= /etc
SBINDIR        ?= $(PREFIX)/sbin
BINDIR         ?= $(PREFIX)/bin
DATADIR        ?= $(PREFIX)/share
MANDIR         ?= $(DATADIR)/man
DOCDIR         ?= $(DATADIR)/doc/smmu-rasd
VENDORDIR      ?= $(PREFIX)/lib/smmu-rasd
UNITDIR        ?= $(PREFIX)/lib/systemd/system
CATALOGDIR     ?= $(PREFIX)/lib/systemd/catalog
BASHCOMPDIR    ?= $(DATADIR)/bash-completion/completions
ZSHCOMPDIR     ?= $(DATADIR)/zsh/site-functions
DBUSPOLICYDIR  ?= $(DATADIR)/dbus-1/system.d
DBUSSERVICEDIR ?= $(DATADIR)/dbus-1/system-services
POLKITDIR      ?= $(DATADIR)/polkit-1/actions
PKG_CONFIG     ?= pkg-config
INSTALL        ?= install
PYTHON3        ?= python3

DAEMON_VERSION := 0.1
DAEMON_OBJDIR = $(BUILDDIR)/daemon

DAEMON_COMMON = util tell log pci-name kernel-msg kernel-link sysfs state gone by-hand recovery json-locate \
	policy policy-parse policy-parse-base policy-parse-match policy-parse-rule policy-parse-steps \
	policy-match policy-subject policy-force pci-slot trusted name-set metrics metrics-text
DAEMON_RASD = rasd-main memory title spawner job-message programs confine manager manager-kernel manager-policy device device-table device-kernel device-load device-policy device-record \
	attempt attempt-end operator policy-kept bus bus-auth bus-device bus-manager report journal metrics-daemon \
	worker steps steps-reset steps-return steps-sriov steps-exec exec hooks sriov verify $(DAEMON_PROTECT)
DAEMON_PROTECT = protect protect-find protect-mounts protect-block protect-net protect-vfio
DAEMON_CTL = ctl-main ctl-common ctl-output ctl-device ctl-machine ctl-standing ctl-gone ctl-story ctl-advice \
	ctl-topology ctl-watched ctl-list ctl-status ctl-show ctl-show-text ctl-watch ctl-follow ctl-monitor ctl-bus \
	ctl-recover ctl-fence ctl-rule ctl-policy ctl-sim ctl-sim-device ctl-sim-events ctl-simulate ctl-metrics \
	$(DAEMON_PROTECT)

DAEMON_RASD_OBJS = $(patsubst %,$(DAEMON_OBJDIR)/%.o,$(DAEMON_COMMON) $(DAEMON_RASD))
DAEMON_CTL_OBJS = $(patsubst %,$(DAEMON_OBJDIR)/%.o,$(DAEMON_COMMON) $(DAEMON_CTL))

# Looked up when something is compiled, not when make starts: most targets do not need it.
DAEMON_PKGS = libnl-3.0 libnl-genl-3.0 libsystemd jansson
DAEMON_PKG_CFLAGS = $(eval DAEMON_PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(DAEMON_PKGS) libpci))$(DAEMON_PKG_CFLAGS)
DAEMON_RASD_LIBS = $(eval DAEMON_RASD_LIBS := $$(shell $(PKG_CONFIG) --libs $(DAEMON_PKGS)))$(DAEMON_RASD_LIBS)
DAEMON_CTL_LIBS = $(eval DAEMON_CTL_LIBS := $$(shell $(PKG_CONFIG) --libs $(DAEMON_PKGS) libpci))$(DAEMON_CTL_LIBS)

DAEMON_MACHINE = $(eval DAEMON_MACHINE := $$(shell $(CC) -dumpmachine))$(DAEMON_MACHINE)
DAEMON_ARCH_FLAGS = $(if $(filter x86_64-% i%86-%,$(DAEMON_MACHINE)),-fcf-protection) \
	$(if $(filter aarch64-%,$(DAEMON_MACHINE)),-mbranch-protection=standard)
DAEMON_WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wformat=2 -Wno-format-nonliteral $(if $(WERROR),-Werror)

CFLAGS ?= -O2 -g
DAEMON_CFLAGS = -std=gnu17 $(DAEMON_WARNINGS) -fPIE -fstack-protector-strong \
	-fstack-clash-protection $(DAEMON_ARCH_FLAGS)
DAEMON_CPPFLAGS = -D_GNU_SOURCE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
	-DSMMU_RAS_VERSION='"$(DAEMON_VERSION)"' -DSMMU_RAS_SYSCONFDIR='"$(SYSCONFDIR)"' \
	-DSMMU_RAS_VENDORDIR='"$(VENDORDIR)"' -Iinclude/uapi -Idaemon
DAEMON_LDFLAGS = -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed

.PHONY: daemon-build daemon-check-unit daemon-check-integration lint-daemon \
	daemon-lint check-unit check-integration bench-daemon
all: daemon-build
check-unit: daemon-check-unit
check-integration: daemon-check-integration
daemon-lint: lint-daemon

daemon-build: $(DAEMON_OBJDIR)/smmu-rasd $(DAEMON_OBJDIR)/smmu-rasctl $(DAEMON_OBJDIR)/smmu-rasd.service

# One short line for each command; V=1 shows the commands.
DAEMON_RUN = $(if $(V),,@printf '  %-8s %s\n' $(1) $@;)

# Objects are made again when the flags or the compiler change.
DAEMON_FLAGS_TEXT = $(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS)
$(DAEMON_OBJDIR)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(DAEMON_FLAGS_TEXT))' | cmp -s - $@ || \
		echo '$(subst ','\'',$(DAEMON_FLAGS_TEXT))' > $@
.PHONY: FORCE
FORCE:

$(DAEMON_OBJDIR)/%.o: daemon/%.c $(DAEMON_OBJDIR)/flags
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(DAEMON_OBJDIR)/smmu-rasd: $(DAEMON_RASD_OBJS) $(DAEMON_OBJDIR)/host.o
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) $(DAEMON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(DAEMON_RASD_LIBS)

$(DAEMON_OBJDIR)/smmu-rasctl: $(DAEMON_CTL_OBJS) $(DAEMON_OBJDIR)/host.o
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) $(DAEMON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(DAEMON_CTL_LIBS)

# systemd learned Type=notify-reload in 253 and RestartSteps= in 254 (Debian 12 has 252). It is the systemd whose library
# we are built with that will read the unit.
DAEMON_SYSTEMD = $(eval DAEMON_SYSTEMD := $$(shell $(PKG_CONFIG) --modversion libsystemd))$(DAEMON_SYSTEMD)
DAEMON_UNIT_LINES = $(if $(shell test $(firstword $(subst ., ,$(DAEMON_SYSTEMD))) -ge 254 && echo yes),NEW OLD,OLD NEW)

$(DAEMON_OBJDIR)/smmu-rasd.service: units/smmu-rasd.service.in $(DAEMON_OBJDIR)/flags
	$(call DAEMON_RUN,SED)sed \
		-e 's|^@$(word 1,$(DAEMON_UNIT_LINES))@||' -e '/^@$(word 2,$(DAEMON_UNIT_LINES))@/d' $< > $@

include daemon/install.mk

# --- tests ---------------------------------------------------------------------------------------

TEST_OBJDIR = $(BUILDDIR)/tests
TEST_UNITS = test-util test-log test-journal test-metrics test-pci-name test-by-hand test-kernel-msg test-policy test-policy-errors test-policy-shipped \
	test-pci-slot test-exec test-job-message test-confine test-recovery test-state test-operator test-protect test-protect-net test-uapi
TEST_PKGS = $(eval TEST_PKGS := $$(shell $(PKG_CONFIG) --libs $(DAEMON_PKGS) check))$(TEST_PKGS)
TEST_PKG_CFLAGS = $(eval TEST_PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags check))$(TEST_PKG_CFLAGS)
TEST_UNIT_OBJS = $(patsubst %,$(TEST_OBJDIR)/%.o,$(TEST_UNITS) unit-main unit-host)

$(TEST_OBJDIR)/%.o: tests/unit/%.c $(DAEMON_OBJDIR)/flags
	@mkdir -p $(@D)
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) $(TEST_PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(TEST_OBJDIR)/fake-host.o: tests/integration/fake-host.c $(DAEMON_OBJDIR)/flags
	@mkdir -p $(@D)
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(TEST_OBJDIR)/unit: $(TEST_UNIT_OBJS) $(patsubst %,$(DAEMON_OBJDIR)/%.o,$(DAEMON_COMMON) $(filter-out rasd-main,$(DAEMON_RASD)))
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) $(DAEMON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_PKGS)

# The installed programs, object for object, but with a host that the tests make up.
$(TEST_OBJDIR)/smmu-rasd: $(DAEMON_RASD_OBJS) $(TEST_OBJDIR)/fake-host.o
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) $(DAEMON_LDFLAGS) $(LDFLAGS) -Wl,--wrap=rename,--wrap=recvmsg -o $@ $^ $(DAEMON_RASD_LIBS)

$(TEST_OBJDIR)/smmu-rasctl: $(DAEMON_CTL_OBJS) $(TEST_OBJDIR)/fake-host.o
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) $(DAEMON_LDFLAGS) $(LDFLAGS) -Wl,--wrap=rename,--wrap=recvmsg -o $@ $^ $(DAEMON_CTL_LIBS)

$(TEST_OBJDIR)/fake-polkit: tests/integration/fake-polkit.c $(DAEMON_OBJDIR)/flags
	@mkdir -p $(@D)
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) \
		$(DAEMON_LDFLAGS) $(LDFLAGS) -o $@ $< $(DAEMON_RASD_LIBS)

daemon-check-unit: $(TEST_OBJDIR)/unit
	@SMMU_RAS_SOURCE=$(CURDIR) $(TEST_OBJDIR)/unit

daemon-check-integration: $(TEST_OBJDIR)/smmu-rasd $(TEST_OBJDIR)/smmu-rasctl $(TEST_OBJDIR)/fake-polkit
	@SMMU_RAS_BINARIES=$(abspath $(TEST_OBJDIR)) $(PYTHON3) -B tests/integration/run $(TESTS)

# What the event path is held against (tests/bench/daemon).
$(TEST_OBJDIR)/bare-loop: tests/bench/bare-loop.c $(DAEMON_OBJDIR)/flags
	@mkdir -p $(@D)
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) $(DAEMON_LDFLAGS) -o $@ $< $(DAEMON_CTL_LIBS)

bench-daemon: $(TEST_OBJDIR)/smmu-rasd $(TEST_OBJDIR)/bare-loop
	@SMMU_RAS_BINARIES=$(abspath $(TEST_OBJDIR)) $(PYTHON3) -B tests/bench/daemon $(BENCH)

# --- lint ----------------------------------------------------------------------------------------

DAEMON_SOURCES = $(wildcard daemon/*.c tests/unit/*.c tests/integration/*.c tests/fuzz/*.c tests/bench/*.c)
DAEMON_HEADERS = $(wildcard daemon/*.h tests/unit/*.h tests/fuzz/*.h tests/bench/*.h)
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format))
CLANG_TIDY ?= $(firstword $(shell command -v clang-tidy-14 clang-tidy))

lint-daemon:
	$(CLANG_FORMAT) --dry-run -Werror $(DAEMON_SOURCES) $(DAEMON_HEADERS)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppress=missingIncludeSystem -D_GNU_SOURCE -Iinclude/uapi -Idaemon \
		$(DAEMON_SOURCES)
	$(CLANG_TIDY) --quiet $(DAEMON_SOURCES) -- -std=gnu17 $(DAEMON_CPPFLAGS) \
		-U_FORTIFY_SOURCE $(DAEMON_PKG_CFLAGS) $(TEST_PKG_CFLAGS)
	$(MAKE) --no-print-directory daemon-build $(BUILDDIR)/lint-gcc/tests/unit WERROR=1 BUILDDIR=$(BUILDDIR)/lint-gcc CC=gcc
	$(MAKE) --no-print-directory daemon-build $(BUILDDIR)/lint-clang/tests/unit WERROR=1 BUILDDIR=$(BUILDDIR)/lint-clang CC=clang

-include $(wildcard $(DAEMON_OBJDIR)/*.d $(TEST_OBJDIR)/*.d)
