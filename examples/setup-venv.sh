# Sourced by other scripts: `setup_venv [EXTRA]` makes .venv in the repository, installs fsv2v with the versions of constraints.txt, and
# puts .venv first in PATH. It installs only if setup.cfg or constraints.txt have changed since the last installation.
#
#   PYTHON           the interpreter for .venv (default: python3)
#   FSV2V_VENV       another path for .venv
#   PIP_*            pip's own variables. On Linux without a GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves gigabytes.

setup_venv() {
    local extra="${1:-}" root venv stamp wanted
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    venv="${FSV2V_VENV:-$root/.venv}"
    stamp="$venv/fsv2v-installed${extra:+-$extra}"

    if [ ! -x "$venv/bin/python" ]; then
        _make_venv "$venv" || return
    fi
    wanted="$(cat "$root/setup.cfg" "$root/constraints.txt" | cksum) $root"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "fsv2v: installing into $venv (some minutes the first time)" >&2
        "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
            -c "$root/constraints.txt" -e "$root${extra:+[$extra]}" >&2 || {
            echo "fsv2v: error: the installation failed. Run the same command again with an internet connection." >&2
            return 4
        }
        echo "$wanted" > "$stamp"
    fi
    export PATH="$venv/bin:$PATH"
}

_make_venv() {
    local python="${PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "fsv2v: error: Python 3.10 or newer is needed ($python is not). Choose another: PYTHON=/path/to/python3 bash $0" >&2
        return 4
    fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "fsv2v: error: $python lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2
        return 4
    fi
    "$python" -m venv "$1"
}
