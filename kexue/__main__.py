"""``python -m kexue doctor``: see :mod:`kexue.doctor`."""

from __future__ import annotations

import sys

from kexue import doctor

USAGE = "usage: python -m kexue doctor    what the chapters will find on this machine"


def main(arguments: list[str]) -> int:
    """Run a command; return its exit status."""
    if arguments == ["doctor"]:
        return doctor.main()
    asked = bool(set(arguments) & {"-h", "--help"})
    print(USAGE, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
