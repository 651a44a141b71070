# The everyday commands. `make test` and `make lint` are what CI runs. Each sets up .venv first, if needed.
SHELL := /bin/bash
VENV := source examples/setup-venv.sh && setup_venv dev

.PHONY: test-fast test lint docs bench

test-fast: # about a minute: no processes of the command line, no training, no real videos
	bash tests/run.sh -q -m "not slow"

test:
	bash tests/run.sh

lint:
	bash .ci/lint

docs: # docs/commands.md, from the help texts
	$(VENV) && python docs/generate.py

bench: # three benchmarks that need no video; for a machine with nothing else to do
	$(VENV) && for name in synthesize_speed evaluate_speed networks; do python benchmarks/$$name.py || exit; done
