# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzzing what reads other people's bytes, with libFuzzer (clang), AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   make fuzz            fuzzes each parser for FUZZ_SECONDS=60, with what it found before as its seeds; FUZZ="policy state"
#                        names targets. Whatever is found is kept in $(BUILDDIR)/fuzz/found/

FUZZ_SECONDS ?= 60
FUZZ ?= policy json-locate kernel-msg state metrics simulate words job
FUZZ_OBJDIR = $(BUILDDIR)/fuzz
FUZZ_CC ?= $(firstword $(shell command -v clang clang-14 clang-19))
FUZZ_CFLAGS = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_OBJS = $(patsubst %,$(DAEMON_OBJDIR)/%.o,$(DAEMON_COMMON) ctl-sim ctl-sim-device ctl-sim-events job-message programs) $(TEST_OBJDIR)/fuzz-host.o

.PHONY: fuzz fuzz-build fuzz-smoke
# _FORTIFY_SOURCE hides from AddressSanitizer what it checks itself.
fuzz: deps
	@$(MAKE) --no-print-directory fuzz-build BUILDDIR=$(FUZZ_OBJDIR) CC=$(FUZZ_CC) CFLAGS='$(FUZZ_CFLAGS)' \
		CPPFLAGS=-U_FORTIFY_SOURCE
	@tests/fuzz/run --seconds $(FUZZ_SECONDS) --programs $(FUZZ_OBJDIR)/tests --work $(FUZZ_OBJDIR) $(FUZZ)

# For `make check`: the seeds, and a moment more.
fuzz-smoke:
	@$(MAKE) -s fuzz FUZZ_SECONDS=3

# Kept: make would take them for intermediate.
.PRECIOUS: $(TEST_OBJDIR)/fuzz-%.o
fuzz-build: $(patsubst %,$(TEST_OBJDIR)/fuzz-%,$(FUZZ))

$(TEST_OBJDIR)/fuzz-%.o: tests/fuzz/fuzz-%.c $(DAEMON_OBJDIR)/flags
	@mkdir -p $(@D)
	$(call DAEMON_RUN,CC)$(CC) $(CFLAGS) $(DAEMON_CFLAGS) $(DAEMON_CPPFLAGS) $(CPPFLAGS) $(DAEMON_PKG_CFLAGS) -MMD -MP -c -o $@ $<

# What a target does not use is left out, or it would count as code that no input reaches.
$(TEST_OBJDIR)/fuzz-%: $(TEST_OBJDIR)/fuzz-%.o $(FUZZ_OBJS)
	$(call DAEMON_RUN,LD)$(CC) $(CFLAGS) -fsanitize=fuzzer $(DAEMON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(DAEMON_CTL_LIBS)
