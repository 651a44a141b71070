"""One metric per file: each declares `METRIC = Metric(...)` and imports what is heavy only when it is opened."""
