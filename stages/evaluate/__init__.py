"""Stage `evaluate`: figures of merit of synthesized videos, each with the score of a video that repeats the example image."""

from stages.evaluate.compare import EvaluateOptions, evaluate, merge_parts, pair_results
from stages.evaluate.distribution import Distribution
from stages.evaluate.measure import Score
from stages.evaluate.metric import Metric
from stages.evaluate.registry import find_metric, metric_names

__all__ = ["Distribution", "EvaluateOptions", "Metric", "Score", "evaluate", "find_metric", "merge_parts", "metric_names", "pair_results"]
