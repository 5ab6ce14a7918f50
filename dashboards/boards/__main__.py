"""Writes the boards' JSON beside this package: ``make boards``."""

from pathlib import Path

from boards import budgets, fleet, gpu, optimizer, run

FOLDER = Path(__file__).parents[1]
BOARDS = (fleet.BOARD, gpu.BOARD, run.BOARD, optimizer.BOARD, budgets.BOARD)


def write() -> None:
    """Write every board's file."""
    for board in BOARDS:
        (FOLDER / board.file_name).write_text(board.text(), encoding="utf-8")


if __name__ == "__main__":
    write()
