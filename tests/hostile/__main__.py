"""Tries cases of a loader again: `python tests/hostile LOADER CASE…`. The harness starts its children by it, too."""

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    sys.path[0] = str(Path(__file__).parent.parent)  # the tests, not this folder, whose names are common ones
    from hostile.harness import attempt, work

    if words[0] == "--child":
        work(*words[1:])
        return
    for outcome in attempt([(words[0], case) for case in words[1:]]):
        print(f"{outcome.case}: {outcome.how}, {outcome.peak:.0f} MiB, {outcome.seconds:.1f} s\n{outcome.said}")


if __name__ == "__main__":
    main(sys.argv[1:])
