"""The networks whose features metrics of distributions compare. Each file defines an `Extractor`."""
