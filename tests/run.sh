#!/usr/bin/env bash
# Sets up .venv if necessary, and runs the tests in parallel, in one process per core (at most eight) with one thread each. Arguments are
# passed to pytest: `bash tests/run.sh tests/cli -k help`; with `-n 0` the tests run one after another.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup-venv.sh
setup_venv dev
export OMP_NUM_THREADS=1
exec python -m pytest -n auto --maxprocesses 8 --dist worksteal "$@"
