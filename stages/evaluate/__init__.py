"""Stage `evaluate`: figures of merit of synthesized videos, each beside what repeating the example picture would score."""

from stages.evaluate.compare import EvaluateOptions, evaluate, pairs
from stages.evaluate.measure import Score
from stages.evaluate.metric import Metric, find_metric, metric_names

__all__ = ["EvaluateOptions", "Metric", "Score", "evaluate", "find_metric", "metric_names", "pairs"]
