"""Fixed networks. Losses and metrics compare their features."""
