"""The metrics: each file defines METRIC or METRICS, and imports heavy packages only when the metric is opened."""
