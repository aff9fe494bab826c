# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion of smmu-rasctl in the shells."""

import os
import subprocess

from lib.bench import BINARIES, DEV, check, equal, test
from lib.shell import Shell

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../daemon/completions")

# What readline does when somebody presses the tabulator at the end of $1.
BASH = r"""
source /usr/share/bash-completion/bash_completion 2>/dev/null
source "$COMPLETION"
COMP_LINE=$1
COMP_POINT=${#1}
COMP_WORDS=()
# Words as readline parts them, also at ":" and "=".
rest=$1
while [[ $rest ]]; do
	[[ $rest =~ ^[[:space:]]+ ]] && { rest=${rest#"${BASH_REMATCH[0]}"}; [[ $rest ]] || COMP_WORDS+=(''); continue; }
	[[ $rest =~ ^([:=]+|[^:=[:space:]]+) ]]
	COMP_WORDS+=("${BASH_REMATCH[0]}")
	rest=${rest#"${BASH_REMATCH[0]}"}
done
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_smmu_rasctl smmu-rasctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(b, line):
    env = dict(
        b.env,
        PATH=f"{os.path.abspath(BINARIES)}:{os.environ['PATH']}",
        COMPLETION=f"{FOLDER}/smmu-rasctl.bash",
        SMMU_RASCTL_SYS=b.kernel.sys,
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", line], env=env, capture_output=True, text=True, timeout=60
    )
    equal(done.stderr, "", "errors")
    return sorted(set(done.stdout.split()))


@test
def bash_completes_verbs_options_and_devices(b):
    b.kernel.add(DEV)
    b.kernel.add("0000:02:00.0")
    b.kernel.fence(DEV)
    equal(complete(b, "smmu-rasctl is"), ["isolate"], "a verb")
    equal(complete(b, "smmu-rasctl re"), ["reattach", "recover"], "verbs")
    equal(complete(b, "smmu-rasctl recover --f"), ["--force"], "an option")
    equal(complete(b, "smmu-rasctl show --f"), [], "an option that show does not have")
    # Only what is fenced can be recovered; readline completes behind the last ":".
    equal(complete(b, "smmu-rasctl recover "), [DEV], "fenced devices")
    equal(complete(b, "smmu-rasctl recover 0000:0"), ["01:00.0"], "behind a colon")
    equal(complete(b, "smmu-rasctl fence "), [DEV, "0000:02:00.0"], "devices")
    equal(complete(b, "smmu-rasctl policy "), ["check", "explain", "reload", "show"], "verbs of policy")
    equal(complete(b, "smmu-rasctl policy explain --reason=adm"), ["administrative"], "reasons")
    # All verbs that there are, and no others.
    verbs = [line.split()[0] for line in b.ctl("--help").stdout.splitlines() if line[:3] > "  a" and line[:2] == "  "]
    equal([v for v in verbs if v not in complete(b, "smmu-rasctl ")], [], "verbs that are not completed")


@test
def zsh_can_read_its_completion(b):
    done = subprocess.run(["zsh", "-n", f"{FOLDER}/_smmu-rasctl"], capture_output=True, text=True, timeout=60)
    equal((done.returncode, done.stderr), (0, ""), "zsh -n")
    with open(f"{FOLDER}/_smmu-rasctl") as f:
        text = f.read()
    for line in b.ctl("--help").stdout.splitlines():
        if line[:2] == "  " and line[2:3].islower():
            check(f"'{line.split()[0]}:" in text, f"{line.split()[0]} in zsh")


def typed_in(b, kind):
    """In a shell that somebody types into: what becomes of the line when he presses the tabulator."""
    b.kernel.add(DEV)
    b.kernel.add("0000:02:00.0")
    for name in (DEV, "0000:02:00.0"):
        os.makedirs(f"{b.kernel.sys}/bus/pci/devices/{name}/iommu_group", exist_ok=True)
    b.kernel.fence(DEV)
    b.policy()
    with Shell(b, kind) as shell:
        for typed, line in (
            ("smmu-rasctl is", "smmu-rasctl isolate "),
            ("smmu-rasctl rec", "smmu-rasctl recover "),
            ("smmu-rasctl recover --f", "smmu-rasctl recover --force "),
            # The only one that is fenced, and parts of its name; a ":" is a letter here.
            ("smmu-rasctl recover ", f"smmu-rasctl recover {DEV} "),
            ("smmu-rasctl recover 0000:01:0", f"smmu-rasctl recover {DEV} "),
            ("smmu-rasctl recover --force 0000:0", f"smmu-rasctl recover --force {DEV} "),
            ("smmu-rasctl fence 0000:02", "smmu-rasctl fence 0000:02:00.0 "),
            ("smmu-rasctl show 0000:02:", "smmu-rasctl show 0000:02:00.0 "),
            ("smmu-rasctl policy rel", "smmu-rasctl policy reload "),
            ("smmu-rasctl policy explain 0000:02", "smmu-rasctl policy explain 0000:02:00.0 "),
            ("smmu-rasctl policy explain --reas", "smmu-rasctl policy explain --reason="),
            ("smmu-rasctl policy explain --reason=adm", "smmu-rasctl policy explain --reason=administrative "),
            ("smmu-rasctl policy check etc/policy.j", "smmu-rasctl policy check etc/policy.json "),
            ("smmu-rasctl simulate --policy=etc/policy.j", "smmu-rasctl simulate --policy=etc/policy.json "),
            # Nothing fits, and nothing is made up.
            ("smmu-rasctl recover 0000:09", "smmu-rasctl recover 0000:09"),
        ):
            equal(shell.complete(typed), line, f"{kind}: {typed!r}")


@test
def somebody_types_into_bash(b):
    typed_in(b, "bash")


@test
def somebody_types_into_bash_without_its_package(b):
    typed_in(b, "plain")


@test
def somebody_types_into_zsh(b):
    typed_in(b, "zsh")
