"""What all kinds of plugins have in common: settings, a name, a summary."""

import re

from . import settings as _settings


class Plugin:
    """A class with `Settings`, annotated fields that are checked before `open` is called."""

    class Settings:
        """No settings."""

    #: The name of the offer, where a module has several of a kind; by default made of the class's name.
    name = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "Settings" in cls.__dict__:
            cls.Settings = _settings.declare(cls.Settings)

    def __init__(self, settings=()):
        """Opens the plugin with names and texts, as the host passes them."""
        self.settings = _settings.parse(_settings.declare(self.Settings), settings)

    def open(self):
        """Called once, with `self.settings`, before anything else."""

    @classmethod
    def offer(cls):
        return cls.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def summary(cls):
        return next(iter((cls.__doc__ or "").strip().splitlines()), "").rstrip(".")
