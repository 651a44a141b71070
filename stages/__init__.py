"""The library behind fsv2v: a stage for each command, over one clip format. It never prints or exits, and knows no command line."""

__version__ = "0.1.0"
