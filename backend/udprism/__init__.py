"""udprism: the meter and the wind tunnel for UDP."""

from importlib.metadata import version

__version__ = version("udprism")
