"""`python -m mien` and the console script `mien`."""

from __future__ import annotations

import sys


def main() -> None:
    from mien.cli import leave
    from mien.cli import main as cli

    leave(cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
