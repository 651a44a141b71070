#!/usr/bin/env bash
# Sets up .venv when needed and runs the tests; arguments go to pytest, as in `bash tests/run.sh tests/cli -k help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup-venv.sh
setup_venv dev
exec python -m pytest "$@"
