"""What is worth knowing about a result, as sentences."""

from __future__ import annotations

from stages.errors import Sentence
from stages.synthesize.options import Outcome

FITTED = {
    "none": "the driving keypoints are used as they are",
    "place": "the driving keypoints are moved to the example's place and keep their proportions",
    "proportions": "the driving keypoints are fitted to the example's place and proportions",
}


def warnings_of(outcome: Outcome) -> list[str]:
    """What makes the result worse than it could be."""
    return [*outcome.warnings, *spoilt_frames(outcome)]


def spoilt_frames(outcome: Outcome) -> list[str]:
    """A sentence about the frames that half precision spoilt, if there are any."""
    spoilt = f"{outcome.fallbacks} frames were made again in full precision: the model is not suited to half precision"
    return [Sentence(spoilt, code="half-precision-fails")] if outcome.fallbacks else []


def fitting_note(outcome: Outcome) -> Sentence:
    """What became of the driving keypoints, and why."""
    return Sentence(f"{FITTED[outcome.fitting.how]}: {outcome.fitting.why}", code="keypoints-fitted")


def held_note(outcome: Outcome) -> Sentence:
    """What was done where nothing was detected."""
    return Sentence(f"{outcome.held_frames} driving frames without a detection repeat the last one that has one", code="frames-held")


def notes_of(outcome: Outcome) -> list[str]:
    """How the result was made."""
    return [fitting_note(outcome), *outcome.notes, *([held_note(outcome)] if outcome.held_frames else [])]
