"""The networks whose features metrics of distributions compare: one file each, holding an `Extractor`."""
