"""The report of `synthesize`: one page that shows where a result may be wrong, with all warnings and notes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from stages.clip import Producer
from stages.errors import UsageError
from stages.io.files import hidden_file, require_marker, write_atomically
from stages.pages import jpeg_data_uri, page
from stages.synthesize.options import Outcome
from stages.synthesize.report.record import Record
from stages.synthesize.report.remarks import notes_of, warnings_of

MARK = b"<title>fsv2v synthesize</title>"
SIDE = 256
"""Longer side in pixels of the page's pictures."""
BANDS = {"held": "no detection", "beyond": "beyond the examples"}
"""Name of a kind of spans in `Record.bands` -> its title on the page."""


@dataclass(frozen=True)
class ReportRequest:
    """The page to write about a synthesis.

    path: ends in .html.
    messages: warnings and notes from before the frames are made, as (kind, sentence) with the kinds "warning" and "note".
    add_hint: adds a hint to a sentence, in terms of the caller's interface.
    """

    path: Path
    messages: Sequence[tuple[str, str]] = ()
    add_hint: Callable[[str], str] = str

    def require_writable(self, out: Path) -> None:
        """Raises UsageError for a path that is not that of a page or that lies inside the result, ParametersDiffer for an existing file
        that is not such a page, InputError if the page cannot be written."""
        if self.path.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"{self.path} cannot be a report", hint="End its name in .html")
        if out.absolute() in self.path.absolute().parents:
            raise UsageError(f"the report {self.path} lies inside the result {out}", hint="Choose another place for it")
        require_marker(self.path, MARK, "report of a synthesis")
        with hidden_file(self.path):
            pass  # fail before the frames are made

    def is_of(self, producer: Producer) -> bool:
        """Whether the page exists and is about the result of this producer."""
        return self.path.is_file() and _identifier(producer) in self.path.read_bytes()[:1024].decode("utf-8", "replace")


def write_report(request: ReportRequest, record: Record, outcome: Outcome, producer: Producer, model: Path) -> None:
    """Write the page about a finished result. Raises InputError when it cannot be written."""
    messages = [*request.messages, *(("warning", text) for text in warnings_of(outcome)), *(("note", text) for text in notes_of(outcome))]
    messages += [("note", text) for text in record.reasons]
    content = {
        "facts": _facts(record, outcome, model),
        "messages": [{"kind": kind, "text": request.add_hint(text)} for kind, text in sorted(dict.fromkeys(messages), key=_is_note)],
        "examples": [{"name": name, "src": jpeg_data_uri(image, SIDE)} for name, image in record.examples()],
        "frames": len(record.held),
        "columns": [_column(record, frame) for frame in record.shown],
        "rows": [
            {"name": name, "images": [jpeg_data_uri(images[frame], SIDE) if frame in images else None for frame in record.shown]}
            for name, images in record.rows().items()
        ],
        "curves": [{"title": title, "values": values} for title, values in record.curves().items()],
        "bands": [{"what": BANDS[name], "spans": spans, "kind": name} for name, spans in record.bands().items() if spans],
    }
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    write_atomically(request.path, page(template.replace("__RESULT__", _identifier(producer)), content))


def _is_note(message: tuple[str, str]) -> bool:
    """Sort key that puts warnings before notes."""
    return message[0] == "note"


def _facts(record: Record, outcome: Outcome, model: Path) -> list[tuple[str, str]]:
    driving = record.rendering.driving
    seconds = driving.num_frames / float(driving.fps)
    return [
        ("result", str(outcome.path)),
        ("size", record.size),
        ("length", f"{driving.num_frames} frames, {seconds:.1f} s at {float(driving.fps):.4g} frames per second"),
        ("driven by", str(driving.clip.id)),
        ("model", str(model)),
    ]


def _column(record: Record, frame: int) -> dict[str, Any]:
    """The text below the pictures of a frame."""
    distance, painted = record.identity.get(frame), record.painted[frame] if frame < len(record.painted) else None
    return {
        "frame": frame,
        "seconds": round(frame / float(record.rendering.driving.fps), 2),
        "painted": None if painted is None else round(painted, 3),
        "identity": None if distance is None else round(distance, 2),
        "marks": [BANDS[name] for name, spans in record.bands().items() if any(first <= frame <= last for first, last in spans)],
    }


def _identifier(producer: Producer) -> str:
    return hashlib.sha256(producer.key().encode()).hexdigest()
