# shellcheck shell=bash
# Completion of vm(1) for bash. Subcommands, options and their words are what --help
# tells, so that there is one list of them; names are those of VMs that there are.

# _vm_add WORD...: those that begin with what is typed.
_vm_add() {
	local candidate
	for candidate; do
		[[ $candidate != "$word"* ]] || COMPREPLY+=("$(printf %q "$candidate")")
	done
}

_vm_names() {
	local names
	mapfile -t names < <("$vm" list --json 2>/dev/null |
		sed -nE 's/^ *"name": "([^"\\]+)",?$/\1/p')
	_vm_add "${names[@]}"
}

_vm() {
	local vm=${COMP_WORDS[0]} command=${COMP_WORDS[1]-} word=${COMP_WORDS[COMP_CWORD]}
	local previous=${COMP_WORDS[COMP_CWORD - 1]} help words
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t words < <("$vm" --help 2>/dev/null | sed -nE 's/^  ([a-z-]+) .*/\1/p')
		_vm_add "${words[@]}" --help --version
		return
	fi
	help=$("$vm" "$command" --help 2>/dev/null) || return 0
	# The words of an option that has some: "-t, --type raw|instance".
	IFS='|' read -r -a words < <(sed -nE \
		"s/^ +(-., |    )?${previous//[^a-z-]/.} ([a-z|_]+)( .*)?\$/\2/p;
		s/^ +${previous//[^a-z-]/.}, --[a-z-]+ ([a-z|_]+)( .*)?\$/\1/p" <<<"$help")
	if [[ $previous = -* && ${#words[@]} -gt 1 ]]; then
		_vm_add "${words[@]}"
	elif [ "$previous" = --cpu-topology ]; then
		_vm_add one_cpu match_host cpu_count=
	elif [[ $word = -* ]]; then
		mapfile -t words < <(sed -nE 's/^ +(-., |    )(--[a-z-]+).*/\2/p' <<<"$help")
		_vm_add "${words[@]}" --help
	elif [[ $help = *"NAME|CID"* && ($COMP_CWORD = 2 || $command = info) ]]; then
		_vm_names
	elif [[ $command = run || $command = check ]] && [[ $previous != --* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -X '!*.json' -- "$word"; compgen -d -- "$word")
		compopt -o filenames 2>/dev/null || :
	fi
}
# What it has nothing for are files.
complete -o default -F _vm vm
