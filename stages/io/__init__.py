"""Files: atomic writing, reading of untrusted files, digests."""
