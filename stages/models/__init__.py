"""Loaded models and model files, which hold a whole model or a delta to a base."""

from stages.models.files import read_model, save_model
from stages.models.model import Model, find_model, load_base, load_model

__all__ = ["Model", "find_model", "load_base", "load_model", "read_model", "save_model"]
