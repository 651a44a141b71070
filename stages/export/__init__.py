"""fsv2v export: writes the networks of a few-shot model as files that other programs can run."""

from stages.export.stage import Exported, ExportOptions, export

__all__ = ["ExportOptions", "Exported", "export"]
