"""fsv2v export: a few-shot model as networks that other programs run."""

from stages.export.stage import Exported, ExportOptions, export

__all__ = ["ExportOptions", "Exported", "export"]
