"""extract-flow: the layers `flow` and `flow_confidence` of a clip, for `fsv2v clip flow`."""

from stages.extract_flow.extract import FlowOptions, extract

__all__ = ["FlowOptions", "extract"]
