#!/usr/bin/env bash
# Sets up .venv when needed and runs the tests, as many at a time as there are cores (at most eight), with one thread each. Arguments go
# to pytest: `bash tests/run.sh tests/cli -k help`; `-n 0` runs one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup-venv.sh
setup_venv dev
export OMP_NUM_THREADS=1
exec python -m pytest -n auto --maxprocesses 8 --dist worksteal "$@"
