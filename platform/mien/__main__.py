"""`python -m mien` and the console script `mien`."""

from __future__ import annotations

import sys


def main() -> None:
    from mien.cli.main import leave
    from mien.cli.main import main as cli

    leave(cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
