# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for smmu-rasctl(1).
# shellcheck shell=bash

# $1: fenced ones, those that are listed (which may be gone), or all behind an IOMMU.
__smmu_rasctl_devices() {
	local sys=${SMMU_RASCTL_SYS:-/sys} path state
	if [[ $1 != all ]]; then
		smmu-rasctl list --no-legend --no-pager 2>/dev/null | while read -r path state _; do
			[[ $1 == fenced && $state == removed ]] || echo "$path"
		done
		return
	fi
	for path in "$sys"/bus/pci/devices/*; do
		[[ -e $path/iommu_group && ! -e $path/pci_bus ]] && echo "${path##*/}"
	done
}

_smmu_rasctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} word verb='' sub='' i first
	local -A options=(
		[list]='--all --json --json=short --no-legend --no-pager'
		[status]='--json --json=short'
		[show]='--json --json=short --no-pager'
		[monitor]='--json'
		[recover]='--force --yes --no-wait --json'
		[isolate]='--yes --no-wait --json'
		[fence]='--force --yes --no-wait --json'
		[reattach]='--json'
		[policy]='--json --json=short --root= --no-pager --address= --vendor= --device= --class= --driver= --iommu= --reason= --slot='
		[simulate]='--json --json=short --policy= --no-pager --address= --vendor= --device= --class= --driver= --iommu= --reason= --slot='
		[metrics]=''
	)

	COMPREPLY=()
	# ":" and "=" part words, and addresses have two of the first kind.
	local cword words
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n := cur cword words
	else
		# Without the bash-completion package: parted at blanks only.
		read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
		[[ ${COMP_LINE:0:COMP_POINT} == *[[:blank:]] ]] && words+=('')
		cword=$((${#words[@]} - 1))
		cur=${words[cword]}
	fi
	set -- "${words[@]:0:cword}"
	shift
	for word; do
		case $word in
		-*) ;;
		*) if [[ -z $verb ]]; then verb=$word; elif [[ -z $sub ]]; then sub=$word; fi ;;
		esac
	done

	case $cur in
	--root=* | --policy=*)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "${cur#*=}")
		return
		;;
	--reason=*)
		mapfile -t COMPREPLY < <(compgen -W 'atc-timeout sync-timeout reset-failed administrative' -- "${cur#*=}")
		return
		;;
	-*)
		mapfile -t COMPREPLY < <(compgen -W "${options[${verb:-list}]} --help --version" -- "$cur")
		[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
		return
		;;
	esac

	case $verb:$sub in
	:)
		mapfile -t COMPREPLY < <(compgen -W "${!options[*]}" -- "$cur")
		;;
	recover: | isolate: | reattach:)
		mapfile -t COMPREPLY < <(compgen -W "$(__smmu_rasctl_devices fenced)" -- "$cur")
		;;
	show: | monitor: | fence: | policy:explain)
		mapfile -t COMPREPLY < <(compgen -W "$(__smmu_rasctl_devices listed; __smmu_rasctl_devices all)" -- "$cur")
		;;
	policy:)
		mapfile -t COMPREPLY < <(compgen -W 'check explain show reload' -- "$cur")
		;;
	policy:check | simulate:*)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
	# "0000:01:00.0" with the cursor behind a ":" is completed from there on.
	if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
		first=${cur%"${cur##*:}"}
		for i in "${!COMPREPLY[@]}"; do
			COMPREPLY[i]=${COMPREPLY[i]#"$first"}
		done
	fi
}

complete -F _smmu_rasctl smmu-rasctl
