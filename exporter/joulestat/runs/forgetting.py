"""What is forgotten of runs that are over, so that nobody can fill the memory or the page."""

from collections.abc import Iterable

from joulestat.runs.book import RunBook


def one_too_many(runs: Iterable[RunBook], most: int) -> list[RunBook]:
    """Return the ended runs beyond the latest ``most`` ones."""
    ended = [run for run in runs if run.end_seconds is not None]
    ended.sort(key=lambda run: run.end_seconds or 0.0)
    return ended[: max(0, len(ended) - most)]


def forget_ranks(runs: Iterable[RunBook], most: int) -> list[RunBook]:
    """Forget the ended ranks, of whatever run, that were heard of longest ago.

    What a late push of one of them brings is the beginning of a claim, so nothing counts twice.

    Args:
        runs: All of them.
        most: How many ended ranks may stay.

    Returns:
        The runs that lost one.
    """
    ended = [
        (book.pushed_ns, number, run)
        for run in runs
        for number, book in run.ranks.items()
        if not book.live
    ]
    ended.sort(key=lambda each: each[0])
    gone = ended[: max(0, len(ended) - most)]
    for _, number, run in gone:
        del run.ranks[number]
    return [run for _, _, run in gone]


def shown_runs(runs: Iterable[RunBook], oldest_end_seconds: float, most: int) -> list[RunBook]:
    """Return live runs, and the latest ``most`` of those that ended lately; in order of name.

    Args:
        runs: All of them.
        oldest_end_seconds: Unix time; what ended before it is shown no more.
        most: How many ended ones are shown.
    """
    shown = [
        run for run in runs if run.end_seconds is None or run.end_seconds >= oldest_end_seconds
    ]
    hidden = {id(run) for run in one_too_many(shown, most)}
    return sorted((run for run in shown if id(run) not in hidden), key=lambda run: run.name)
