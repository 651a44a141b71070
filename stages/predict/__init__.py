"""fsv2v predict: predicts the label maps that follow those of a clip."""

from stages.predict.options import Outcome, PredictOptions
from stages.predict.stage import predict

__all__ = ["Outcome", "PredictOptions", "predict"]
