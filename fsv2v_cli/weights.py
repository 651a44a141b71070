"""fsv2v weights: list, fetch and verify the weight files."""

from __future__ import annotations

from typing import Any

import click

from fsv2v_cli.console import emit, error, note, progress
from fsv2v_cli.options import Run, common_options, group


@group("weights")
def weights() -> None:
    """List, fetch and verify weight files.

    The files are searched for in the program's own folder, in the folder of the variable FSV2V_WEIGHTS_MIRROR, and in the cache
    (FSV2V_WEIGHTS).
    """


@weights.command("list")
@common_options
def list_weights(run: Run) -> None:
    """Print every weight file with its location, size, licence and purpose."""
    from weights import registry

    for name, entry in registry.manifest().items():
        found = registry.find(name)
        location = found.location if found else "absent"
        size = found.path.stat().st_size if found else entry.bytes
        if run.json:
            emit(_record(name, location, found, size))
        else:
            emit(f"{name:<36} {location:<8} {size / 1e6:>8.1f} MB  {entry.licence:<13} {entry.what}")


def _record(name: str, location: str, found: Any, size: int) -> dict[str, Any]:
    from weights import registry

    entry = registry.entry(name)
    return {
        "name": name,
        "place": location,
        "path": str(found.path) if found else None,
        "bytes": size,
        "sha256": list(entry.sha256),
        "licence": entry.licence,
        "origin": entry.origin,
        "what": entry.what,
        "url": entry.url,
    }


@weights.command("fetch")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common_options
def fetch(names: tuple[str, ...], run: Run) -> int:
    """Fetch each weight file NAME (default: all with a public address) and print its path."""
    from stages.errors import MissingRequirement
    from weights import registry

    chosen = names or [name for name, entry in registry.manifest().items() if registry.available(name) or entry.url]
    for name in chosen:
        registry.entry(name)
    failed = False
    for name in chosen:
        try:
            with progress(name, None, "bytes") as bar:
                path = registry.fetch(name, on_bytes=bar.move)
        except MissingRequirement as problem:
            error(str(problem))
            failed = True
            if run.json:
                emit({"name": name, "status": "failed", "reason": str(problem)})
        else:
            emit({"name": name, "status": "done", "path": str(path)} if run.json else path)
    return MissingRequirement.exit_code if failed else 0


@weights.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common_options
def verify(names: tuple[str, ...], run: Run) -> int:
    """Hash each weight file NAME (default: all on this machine) and compare it with the manifest."""
    from stages.errors import MissingRequirement
    from weights import registry

    failed = False
    for name in names or [name for name in registry.manifest() if registry.available(name)]:
        problem = registry.problem(name)
        failed |= bool(problem)
        if run.json:
            emit({"name": name, "status": "failed" if problem else "done", "reason": problem})
        elif not problem:
            emit(f"{name}: sound")
        if problem:
            error(f"{name}: {problem}")
    if failed:
        note("fsv2v weights fetch NAME replaces a damaged file in the cache")
    return MissingRequirement.exit_code if failed else 0
