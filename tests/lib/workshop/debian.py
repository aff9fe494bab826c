# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of other Debian suites, through an apt of our own that never touches /etc/apt or /var/lib/apt.

The mirror is the one the machine's own apt uses, read at run time. Signatures are apt's to check (signed-by
the Debian archive keyring, against which it verifies the index files and then every download).
"""

import functools
import os
import re
import subprocess

from . import cache
from .run import output, run
from .ui import Failure, say

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg")


def keyring():
    for path in KEYRINGS:
        if os.path.exists(path):
            return path
    raise Failure("no Debian archive keyring: run `make deps` as root (package debian-archive-keyring)")


def host_release():
    """(version, codename) of the machine, for example ("12", "bookworm")."""
    fields = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            fields[name] = value.strip('"')
    return fields.get("VERSION_ID", ""), fields.get("VERSION_CODENAME", "")


def sites():
    """The sites of the machine's apt that carry Debian's main archive, best first."""
    text = output(["apt-get", "indextargets", "--format",
                   "$(SITE)|$(RELEASE)|$(COMPONENT)|$(LABEL)", "Created-By: Packages"])
    _, codename = host_release()
    ranked = {}
    for line in text.splitlines():
        site, release, component, label = (line.split("|") + [""] * 4)[:4]
        # The label is known only once lists were fetched; without it go by the release's name. Security and
        # other vendors' archives do not carry the suites we want.
        if component != "main" or (label and label != "Debian") or "security" in release or "security" in site:
            continue
        if not label and not re.fullmatch(rf"(debian:)?({codename}|stable|oldstable|testing|sid)", release):
            continue
        site = site.rstrip("/")
        ranked[site] = min(ranked.get(site, 9), 0 if release == codename else 1)
    found = sorted(ranked, key=ranked.get)
    if not found:
        raise Failure("apt's configuration names no site with Debian's main archive (see `apt-get indextargets`)")
    return found


def proxies():
    """The machine's proxy settings in apt.conf form: mmdebstrap does not read /etc/apt/apt.conf.d itself."""
    return [line for line in output(["apt-config", "dump"]).splitlines()
            if re.match(r"Acquire::\S*[Pp]roxy", line)]


class Apt:
    """A private apt that sees the given suites, for one architecture."""

    def __init__(self, *suites, source=False, arch=None):
        self.suites, self.source = suites, source
        self.arch = arch or output(["dpkg", "--print-architecture"])
        name = "-".join((self.arch, "src" if source else "bin") + suites)
        self.state = cache.folder("apt", name)
        for sub in ("lists/partial", "archives/partial", "empty"):
            (self.state / sub).mkdir(parents=True, exist_ok=True)
        (self.state / "status").touch()
        self.options = []
        for option in (f"Dir::Etc::sourcelist={self.state}/sources.list",
                       f"Dir::Etc::sourceparts={self.state}/empty",
                       f"Dir::Etc::preferencesparts={self.state}/empty",
                       "Dir::Etc::preferences=/dev/null",
                       f"Dir::State={self.state}", f"Dir::State::lists={self.state}/lists",
                       f"Dir::State::status={self.state}/status",
                       f"Dir::Cache={self.state}", f"Dir::Cache::archives={self.state}/archives",
                       f"APT::Architecture={self.arch}", "APT::Default-Release=",
                       "APT::Sandbox::User=root", "APT::Install-Recommends=false",
                       "APT::Update::Error-Mode=any", "Acquire::Languages=none", "Acquire::Retries=3"):
            self.options += ["-o", option]
        self.fresh = False

    def _tool(self, tool, *arguments):
        return [tool, *self.options, *arguments]

    def sources_list(self, site):
        kind = "deb-src" if self.source else "deb"
        return "".join(f"{kind} [signed-by={keyring()}] {site} {suite} main\n" for suite in self.suites)

    def update(self):
        if self.fresh:
            return
        problems = []
        for site in sites():
            (self.state / "sources.list").write_text(self.sources_list(site))
            done = subprocess.run(self._tool("apt-get", "-q", "update"), stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode == 0:
                self.fresh = True
                return
            problems += [f"{site}: {line}" for line in done.stdout.splitlines() if line.startswith(("E:", "W:", "Err"))]
        raise Failure(f"no mirror of this machine could be read for {', '.join(self.suites)}:\n  "
                      + "\n  ".join(problems[-8:]))

    def versions(self, package):
        """Listed versions of a package, newest first."""
        self.update()
        text = output(self._tool("apt-cache", "madison", package))
        found = []
        for line in text.splitlines():
            fields = [field.strip() for field in line.split("|")]
            if len(fields) == 3 and fields[1] not in found:
                found.append(fields[1])

        def order(one, other):  # dpkg knows how versions compare
            older = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0
            return 1 if older else -1
        return sorted(found, key=functools.cmp_to_key(order))

    def download(self, package, where, wanted="", version_pattern=""):
        """Fetches a package (its source with source=True) into `where`; returns its version.

        Versions are tried newest first: the pool may lack one that is listed. `wanted` says for the messages
        what it is, `version_pattern` which versions will do.
        """
        versions = [v for v in self.versions(package) if re.match(version_pattern, v)]
        if not versions:
            raise Failure(f"the mirror lists no {wanted or package} in {', '.join(self.suites)}")
        where.mkdir(parents=True, exist_ok=True)
        problems = []
        for version in versions:
            say(f"fetching {package} {version}")
            command = (["source", "--download-only", "--only-source"] if self.source else ["download"])
            command = self._tool("apt-get", "-q", *command, f"{package}={version}")
            done = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode == 0:
                say(f"{package} {version}: signature and checksum verified by apt")
                return version
            problems += [f"{version}: {line}" for line in done.stdout.splitlines() if line.startswith(("E:", "Err"))]
            say(f"{package} {version} is listed but could not be fetched, trying the next version")
        raise Failure(f"no listed version of {package} could be fetched:\n  " + "\n  ".join(problems))


def unpacked(package, suites, arch=None, keep=3):
    """A package of another suite unpacked into the cache (nothing is installed or run): its folder."""
    kind = f"package/{package}"
    last = cache.folder(kind) / "current"
    if last.is_symlink() and last.exists():
        return last.resolve()
    with cache.lock("fetch-" + package):
        apt = Apt(*suites, arch=arch)

        def build(new):
            apt.download(package, new)
            deb = next(new.glob("*.deb"))
            run(["dpkg-deb", "-x", str(deb), str(new)])
            deb.unlink()
        made = cache.make(kind, cache.key(package, *apt.versions(package)), build, keep)
        with cache.new_file(last) as temporary:
            temporary.symlink_to(made.name)
    return made


def which_suite(for_bookworm, otherwise):
    return for_bookworm if host_release()[0] == "12" else otherwise
