"""``python -m joulestat`` is ``joulestat``."""

from joulestat.cli import main

main()
