"""fsv2v doctor: what works on this machine, and the command that fixes what does not."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from fsv2v_cli.console import emit
from fsv2v_cli.hints import hint_for
from fsv2v_cli.options import Run, command, common_options
from stages.errors import MissingRequirement, Sentence


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    what: the thing that was checked; found: its version or path, or the problem; remedy: what to do about the problem, a command or a
    sentence; required: whether synthesis needs the thing.
    """

    what: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = False


@command("doctor")
@common_options
def doctor(run: Run) -> int:
    """Check what works on this machine, and print how to fix what does not.

    Exits with 4 when a requirement of the main commands is missing; optional backends and weights do not count.
    """
    broken = False
    for finding in findings():
        broken |= finding.required and not finding.ok
        emit(asdict(finding) if run.json else _line(finding))
    return 4 if broken else 0


def findings() -> Iterator[Finding]:
    """All findings, one at a time."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _run_check(_ffmpeg, "ffmpeg", required=True)
    yield _run_check(_torch, "torch", required=True)
    yield from _backends()
    yield from _weights()
    yield _run_check(_ray, "engine ray")


def _line(finding: Finding) -> str:
    state = "ok" if finding.ok else "MISSING" if finding.required else "absent"
    return f"{state:<8} {finding.what:<44} {finding.found}{f' -> {finding.remedy}' if finding.remedy else ''}".rstrip()


def _run_check(check: Callable[[], Finding], what: str, required: bool = False) -> Finding:
    """Run a check. If it raises an error, because the installation is broken, the error becomes the finding."""
    try:
        return check()
    except MissingRequirement as missing:
        return Finding(what, False, missing.message, hint_for(missing.sentence), required)
    except Exception as error:
        return Finding(what, False, f"{type(error).__name__}: {error}", "install fsv2v again", required)


def _ffmpeg() -> Finding:
    from stages.clip import ffmpeg

    version = ".".join(map(str, ffmpeg.version()))
    return Finding("ffmpeg", True, f"{version} at {ffmpeg.executable()}", required=True)


def _torch() -> Finding:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return Finding("torch", True, f"{torch.__version__}, device {device}, {torch.get_num_threads()} threads", required=True)


def _ray() -> Finding:
    try:
        import ray
    except ImportError:
        return Finding("engine ray", False, "not installed", "pip install 'fsv2v[ray]'")
    return Finding("engine ray", True, ray.__version__)


def _backends() -> Iterator[Finding]:
    from stages.backends import KINDS, Backends

    for kind in KINDS:
        for name in Backends(kind).names():
            yield _run_check(partial(_backend, kind, name), f"{kind} backend {name}")


def _backend(kind: str, name: str) -> Finding:
    from stages.backends import Backends

    backend = Backends(kind).get(name)
    missing = backend.missing()
    if isinstance(missing, Sentence):
        return Finding(f"{kind} backend {name}", False, missing.message, f"fsv2v weights fetch {missing.facts['name']}")
    reason, _, remedy = missing.partition(": ")
    return Finding(f"{kind} backend {name}", not missing, reason or f"makes {backend.produces}", remedy)


def _weights() -> Iterator[Finding]:
    from weights import registry

    for name, entry in registry.manifest().items():
        found = registry.find(name)
        if found is not None:
            yield Finding(f"weights {name}", True, f"{found.location}: {found.path}", required=entry.shipped)
        else:
            remedy = f"fsv2v weights fetch {name}" if entry.url else "install fsv2v again" if entry.shipped else "set FSV2V_WEIGHTS_MIRROR"
            yield Finding(f"weights {name}", False, "not on this machine", remedy, required=entry.shipped)
