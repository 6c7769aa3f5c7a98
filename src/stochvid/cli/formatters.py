"""How the help of `train` looks."""

from argparse import RawDescriptionHelpFormatter

from jsonargparse import DefaultHelpFormatter


class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """jsonargparse's help, with the examples of the descriptions as they are written."""
