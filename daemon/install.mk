# SPDX-License-Identifier: GPL-2.0-or-later
# What `make install` puts where, and `make uninstall` removes again.
#
# Each entry is SOURCE:TARGET:MODE. Sources name the places of a distribution's package (/usr/lib/smmu-rasd and so on);
# the installed copies of text files name those of this installation. A new file is one more line here, one in
# tests/install/files, and for Debian one in units/debian/*.install.

INSTALL_FILES = \
	$(DAEMON_OBJDIR)/smmu-rasd:$(SBINDIR)/smmu-rasd:755 \
	$(DAEMON_OBJDIR)/smmu-rasctl:$(BINDIR)/smmu-rasctl:755

INSTALL_TEXTS = \
	$(DAEMON_OBJDIR)/smmu-rasd.service:$(UNITDIR)/smmu-rasd.service:644 \
	units/smmu-ras.catalog:$(CATALOGDIR)/smmu-ras.catalog:644 \
	config/policy.json:$(VENDORDIR)/policy.json:644 \
	config/policy.schema.json:$(DATADIR)/smmu-rasd/policy.schema.json:644 \
	config/smmu-rasctl.schema.json:$(DATADIR)/smmu-rasd/smmu-rasctl.schema.json:644 \
	config/monitoring/npd-smmu-ras:$(DATADIR)/smmu-rasd/monitoring/npd-smmu-ras:755 \
	config/monitoring/README.md:$(DOCDIR)/monitoring/README.md:644 \
	$(foreach file,$(wildcard config/monitoring/*.json config/monitoring/*.yml),$(file):$(DATADIR)/smmu-rasd/monitoring/$(notdir $(file)):644) \
	$(foreach file,$(wildcard config/examples/*.json),$(file):$(DOCDIR)/examples/$(notdir $(file)):644) \
	$(foreach n,1 5 8,$(foreach file,$(wildcard daemon/man/*.$n),$(file):$(MANDIR)/man$n/$(notdir $(file)):644)) \
	$(foreach file,$(wildcard daemon/completions/smmu-rasctl.bash),$(file):$(BASHCOMPDIR)/smmu-rasctl:644) \
	$(foreach file,$(wildcard daemon/completions/_smmu-rasctl),$(file):$(ZSHCOMPDIR)/_smmu-rasctl:644) \
	$(foreach file,$(wildcard units/*.policy),$(file):$(POLKITDIR)/$(notdir $(file)):644) \
	$(foreach file,$(wildcard units/org.*.conf),$(file):$(DBUSPOLICYDIR)/$(notdir $(file)):644) \
	$(foreach file,$(wildcard units/org.*.service),$(file):$(DBUSSERVICEDIR)/$(notdir $(file)):644)

# The operator's own; made, and never removed while something is in them.
INSTALL_DIRS = $(SYSCONFDIR)/smmu-rasd/policy.d
INSTALL_EMPTIED = $(SYSCONFDIR)/smmu-rasd/policy.d $(SYSCONFDIR)/smmu-rasd $(VENDORDIR)/policy.d $(VENDORDIR) \
	$(DATADIR)/smmu-rasd/monitoring $(DATADIR)/smmu-rasd $(DOCDIR)/monitoring $(DOCDIR)/examples $(DOCDIR)

# Words of an entry.
INSTALL_SOURCE = $(word 1,$(subst :, ,$(1)))
INSTALL_TARGET = $(word 2,$(subst :, ,$(1)))
INSTALL_MODE = $(word 3,$(subst :, ,$(1)))

INSTALL_PATHS = sed \
	-e 's|/usr/lib/smmu-rasd|$(VENDORDIR)|g' \
	-e 's|/usr/share/smmu-rasd|$(DATADIR)/smmu-rasd|g' \
	-e 's|/usr/share/doc/smmu-rasd|$(DOCDIR)|g' \
	-e 's|/etc/smmu-rasd|$(SYSCONFDIR)/smmu-rasd|g' \
	-e 's|/usr/sbin/smmu-rasd|$(SBINDIR)/smmu-rasd|g' \
	-e 's|/usr/bin/smmu-rasctl|$(BINDIR)/smmu-rasctl|g'

define INSTALL_FILE
	@$(INSTALL) -D -m $(call INSTALL_MODE,$(1)) $(call INSTALL_SOURCE,$(1)) $(DESTDIR)$(call INSTALL_TARGET,$(1))

endef

# To a temporary name first: a text that is half written is never at its place.
define INSTALL_TEXT
	@$(INSTALL) -d $(DESTDIR)$(dir $(call INSTALL_TARGET,$(1)))
	@$(INSTALL_PATHS) $(call INSTALL_SOURCE,$(1)) > $(DESTDIR)$(call INSTALL_TARGET,$(1)).new
	@chmod $(call INSTALL_MODE,$(1)) $(DESTDIR)$(call INSTALL_TARGET,$(1)).new
	@mv -f $(DESTDIR)$(call INSTALL_TARGET,$(1)).new $(DESTDIR)$(call INSTALL_TARGET,$(1))

endef

.PHONY: install uninstall daemon-install daemon-uninstall install-list
install: daemon-install
uninstall: daemon-uninstall

daemon-install: daemon-build
	$(foreach entry,$(INSTALL_FILES),$(call INSTALL_FILE,$(entry)))
	$(foreach entry,$(INSTALL_TEXTS),$(call INSTALL_TEXT,$(entry)))
	@$(INSTALL) -d $(addprefix $(DESTDIR),$(INSTALL_DIRS))
	@$(if $(DESTDIR),,! command -v journalctl >/dev/null || journalctl --update-catalog || :)

# What the operator wrote stays, and so does the service's state: whether it is enabled is systemd's to know.
daemon-uninstall:
	@rm -f $(foreach entry,$(INSTALL_FILES) $(INSTALL_TEXTS),$(DESTDIR)$(call INSTALL_TARGET,$(entry)))
	@for dir in $(addprefix $(DESTDIR),$(INSTALL_EMPTIED)); do rmdir "$$dir" 2>/dev/null || :; done
	@$(if $(DESTDIR),,! command -v journalctl >/dev/null || journalctl --update-catalog || :)

install-list:
	@printf '%s\n' $(foreach entry,$(INSTALL_FILES) $(INSTALL_TEXTS),$(call INSTALL_TARGET,$(entry)))
