"""The command line. click and rich live here and nowhere else; each command parses and calls one stage."""
