"""The files that ``joulestat optimize`` writes: a page, and a picture."""

import sys
from collections.abc import Sequence

from joulestat.cli import load_pictures
from joulestat.cli.clocks import wall_seconds
from joulestat.cli.optimize_flags import Flags
from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.rounds import Outcome
from joulestat.optimizer.show.repeat import repeat_command


def write_files(flags: Flags, outcomes: Sequence[Outcome], records: Sequence[QueryRecord]) -> None:
    """Write what was asked for; nothing where nothing was decided.

    Raises:
        HistoryError: A file cannot be written.
    """
    decided = [(o.decision, o.history) for o in outcomes if o.decision is not None]
    if not decided:
        return
    try:
        if flags.plot is not None:
            decision, history = decided[0]
            load_pictures("plot").save_plot(decision, history, flags.plot)
        if flags.report is not None:
            at_seconds = flags.at
            if at_seconds is None:
                windows = [d.window.end_seconds for d, _ in decided if d.window is not None]
                at_seconds = max(windows, default=wall_seconds())
            command = repeat_command(sys.argv[1:], at_seconds)
            page = load_pictures("page").html_report(decided, records, wall_seconds(), command)
            flags.report.write_text(page, encoding="utf-8")
    except OSError as error:
        raise HistoryError(f"cannot write {error.filename}: {error.strerror}") from error
