"""How `--help` looks."""

import re
from argparse import Action, RawDescriptionHelpFormatter

from jsonargparse import DefaultHelpFormatter


class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """jsonargparse's help, with the examples of the descriptions as they are written."""


class PlainFormatter(Formatter):
    """For options that are left out rather than set to null: says nothing of null."""

    def _expand_help(self, action: Action) -> str:
        text = re.sub(r" \(default: null\)|, default: null(?=\))| \| null", "", super()._expand_help(action))
        return re.sub(r"(\(default: .*\)) \((?:(type: \w+), )?default: .*\)$", r"\1", text)  # said once is enough
