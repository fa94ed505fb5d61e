"""Meeting Assistant: live captions with speakers, and minutes that prove themselves."""

__version__ = "0.1.0"
