"""The guard: detects that training has diverged, and lowers the learning rates with which it continues from an earlier state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from stages.errors import Fsv2vError

RATE_FACTOR = 0.25
"""Factor by which each return lowers the learning rates."""
MAX_RETURNS = 8
MAX_BAD_STEPS = 5
"""Largest number of successive steps with gradients that are not finite. Updates with such gradients are skipped."""
SETTLING_STEPS = 5
"""Number of steps at the start of a phase whose errors are not checked."""
MIN_RETURN_STEPS = 2 * SETTLING_STEPS
"""A return goes back by at least this number of steps, if there is such a milestone."""
WORSE_THAN_GREY = 1.5
"""Training has diverged if the recent error is larger than this multiple of the error of a grey image."""
LEARNING_STEPS = 50
"""For this number of steps at the start of a phase, errors above WORSE_THAN_GREY are allowed, unless they grow."""
GROWTH = 1.2
"""The errors grow if they exceed the first one, of the unchanged network, by this factor."""
WORSE_THAN_BEFORE = 3.0
"""Training has diverged if the recent error is larger than the best one by this factor."""
SATURATED = 0.9
"""Training has diverged if more than this share of the values of h_t is black or white."""


@dataclass
class Guard:
    """The state of the checks; it is stored with the state of the run.

    Errors are mean absolute differences to the truth, divided by those of a grey image: about 0.2 for a good frame, 1 for a grey one.
    """

    rate: float = 1.0
    """Factor of the learning rates."""
    returns: int = 0
    """Number of times that the run has returned to an earlier state. Each return changes the random batches."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row of the log for each return."""
    seen: int = 0
    """Number of errors in this phase."""
    first: float = 0.0
    """The first error in this phase."""
    recent: float = 0.0
    """Running mean of the errors."""
    best: float = math.inf
    """Smallest running mean in this phase."""
    bad: int = 0
    """Number of successive steps whose gradients were not finite."""

    def check_step(self, error: float, saturation: float, finite: bool) -> str:
        """Check a step. Returns the reason why the run must return to an earlier state, or "".

        error: of its frames; saturation: share of the values of h_t that are black or white; finite: whether all gradients were finite.
        """
        self.bad = 0 if finite else self.bad + 1
        if self.bad > MAX_BAD_STEPS:
            return f"gradients were not finite for {self.bad} steps"
        if math.isnan(error):
            return ""
        self.seen += 1
        self.first = error if self.seen == 1 else self.first
        self.recent += (error - self.recent) * max(0.1, 1 / self.seen)
        if self.seen <= SETTLING_STEPS:
            return ""
        self.best = min(self.best, self.recent)
        if saturation > SATURATED:
            return f"{saturation:.0%} of the values that the network made are black or white"
        if self.recent > (WORSE_THAN_GREY if self.seen > LEARNING_STEPS else max(WORSE_THAN_GREY, GROWTH * self.first)):
            return f"frames are {self.recent:.1f} times as wrong as a grey image"
        if self.recent > WORSE_THAN_BEFORE * self.best:
            return f"frames are {self.recent / self.best:.1f} times as wrong as before"
        return ""

    def after_return(self, reason: str, step: int, back_to: int) -> Guard:
        """The guard after a return from `step` to the step `back_to`. Raises Fsv2vError after too many returns."""
        if self.returns == MAX_RETURNS:
            failure = f"training does not converge: at step {step} {reason}, after going back {self.returns} times"
            raise Fsv2vError(failure, code="no-convergence")
        rate = self.rate * RATE_FACTOR
        row = {"step": back_to, "went_back_from": step, "reason": reason, "rate": rate}
        earlier = [old for old in self.history if old["step"] <= back_to]
        return Guard(rate, self.returns + 1, [*earlier, row])

    def reset_errors(self) -> None:
        """Forget the errors, because those of a new phase cannot be compared with them."""
        self.seen, self.first, self.recent, self.best = 0, 0.0, 0.0, math.inf

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
