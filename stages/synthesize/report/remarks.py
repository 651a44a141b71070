"""Warnings and notes about a result, as sentences."""

from __future__ import annotations

from stages.errors import Sentence
from stages.synthesize.options import Outcome

FITTED = {
    "none": "the driving keypoints are used as they are",
    "place": "the driving keypoints are moved to the example's position and keep their proportions",
    "proportions": "the driving keypoints are fitted to the example's position and proportions",
}


def warnings_of(outcome: Outcome) -> list[str]:
    """Sentences about what makes the result worse than it could be."""
    return [*outcome.warnings, *full_precision_frames(outcome)]


def full_precision_frames(outcome: Outcome) -> list[str]:
    """A sentence about the frames that failed in half precision, if there are any."""
    message = f"{outcome.fallbacks} frames were made again in full precision, because the model fails in half precision"
    return [Sentence(message, code="half-precision-fails")] if outcome.fallbacks else []


def fitting_note(outcome: Outcome) -> Sentence:
    """How the driving keypoints were fitted to the example, and why."""
    return Sentence(f"{FITTED[outcome.fitting.method]}: {outcome.fitting.reason}", code="keypoints-fitted")


def held_note(outcome: Outcome) -> Sentence:
    """What was done in frames in which nothing was detected."""
    return Sentence(f"{outcome.held_frames} driving frames without a detection repeat the last frame with one", code="frames-held")


def notes_of(outcome: Outcome) -> list[str]:
    """How the result was made."""
    return [fitting_note(outcome), *outcome.notes, *([held_note(outcome)] if outcome.held_frames else [])]
