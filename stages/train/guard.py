"""The guard: sees that a run has gone wrong, and decides how much slower it goes on from its last good state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from stages.errors import Fsv2vError

SLOWER = 0.25
"""Factor of the learning rates each time."""
MAX_RETURNS = 8
MAX_BAD_STEPS = 5
"""So many steps in a row may have gradients that are not finite; they change nothing."""
SETTLING = 5
"""Steps before an error is believed."""
LATEST_GOOD = 2 * SETTLING
"""A state is good when nothing was wrong so many steps after it."""
WORSE_THAN_GREY = 1.5
WORSE_THAN_BEFORE = 3.0
SATURATED = 0.9
"""Share of the values h_t that are black or white."""


@dataclass
class Guard:
    """What is remembered of a run's health; part of its state.

    Errors are mean absolute differences to the truth, in units of those of a grey image: about 0.2 for a good frame, 1 for a grey one.
    """

    rate: float = 1.0
    """Factor of the learning rates."""
    returns: int = 0
    """How often the run has gone back; batches are drawn anew each time."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row of the log for each return."""
    seen: int = 0
    recent: float = 0.0
    best: float = math.inf
    bad: int = 0

    def watch(self, error: float, saturation: float, finite: bool) -> str:
        """Takes note of a step. Returns why the run must go back, or nothing."""
        self.bad = 0 if finite else self.bad + 1
        if self.bad > MAX_BAD_STEPS:
            return f"gradients were not finite for {self.bad} steps"
        if math.isnan(error):
            return ""
        self.seen += 1
        self.recent += (error - self.recent) * max(0.1, 1 / self.seen)
        if self.seen <= SETTLING:
            return ""
        self.best = min(self.best, self.recent)
        if saturation > SATURATED:
            return f"{saturation:.0%} of what the network made is black or white"
        if self.recent > WORSE_THAN_GREY:
            return f"frames are {self.recent:.1f} times as wrong as a grey picture"
        if self.recent > WORSE_THAN_BEFORE * self.best:
            return f"frames are {self.recent / self.best:.1f} times as wrong as before"
        return ""

    def slower(self, reason: str, step: int, back_to: int) -> Guard:
        """The guard of the run that goes back. Fsv2vError when it has done so too often."""
        if self.returns == MAX_RETURNS:
            what = f"training does not converge: at step {step} {reason}, after going back {self.returns} times"
            raise Fsv2vError(what, code="no-convergence")
        rate = self.rate * SLOWER
        row = {"step": back_to, "went_back_from": step, "reason": reason, "rate": rate}
        kept = [old for old in self.history if old["step"] <= back_to]
        return Guard(rate, self.returns + 1, [*kept, row])

    def settled(self) -> None:
        """A new phase has other errors."""
        self.seen, self.recent, self.best = 0, 0.0, math.inf

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
