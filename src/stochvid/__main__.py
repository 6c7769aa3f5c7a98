"""`python -m stochvid`, and what `torchrun -m stochvid` starts in every process."""

import sys

from stochvid.cli import main

if __name__ == "__main__":
    sys.exit(main())
