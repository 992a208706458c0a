# Sourced by test scripts: installs from Debian what they need and the machine lacks.
#
#     need sipp sip-tester      # the program, and the package that has it
#     install_missing           # asks the archive once for all of them

missing=()

fail() { printf '%s: %s\n' "${0##*/tests/}" "$*" >&2; exit 1; }

need() { command -v "$1" >/dev/null || missing+=("$2"); }

install_missing() {
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "missing, and no apt-get to install it with: ${missing[*]}"
    printf 'installing %s\n' "${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Package lists may be absent, or older than the archive.
    { apt-cache show "${missing[@]}" >/dev/null 2>&1 && install_now; } || { apt-get update -qq && install_now; } ||
        fail "could not install ${missing[*]}: is the package archive within reach?"
    missing=()
}

install_now() { apt-get install --yes -qq --no-install-recommends "${missing[@]}" >/dev/null; }
