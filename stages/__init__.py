"""The library behind fsv2v: nine stages over one clip format. It never prints, never exits and knows no command line."""

__version__ = "0.1.0"
