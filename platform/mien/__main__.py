"""`python -m mien` and the console script `mien`."""

from __future__ import annotations

import sys


def main() -> None:
    from mien.cli import main as cli

    sys.exit(cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
