"""Runs of known energy, whole and broken, for tests of what reads it back."""

from dataclasses import replace

from servers.reported_run import TRAINING, Life, Node, ReportedRun

DAY = 86_400.0
WATTS = (200.0, 210.5)
PLAIN = ReportedRun("plain", [Node("a", [Life(0, 900, WATTS, 60)])])
NODES = ReportedRun(
    "nodes", [Node(name, [Life(number, 900, WATTS, 60)]) for number, name in enumerate("bcd")]
)
PAIR = ReportedRun(
    "pair", [Node("e", [Life(0, 900, WATTS, 60)], replicas=2, missed=[(300, 420), (600, 611)])]
)
FORGOTTEN = ReportedRun(
    "forgotten",
    [
        # Two lives end within one step of the looks; in the second GPU 1 is gone.
        Node("f", [Life(0, 601, WATTS), Life(602, 603.2, (90.0,)), Life(604, 900, WATTS, 60)],
             scrape_seconds=1.0),
        Node("g", [Life(2, 900, WATTS, 60)]),
    ],
)  # fmt: skip
FORGOTTEN_PAIR = ReportedRun(
    "forgotten-pair",
    [Node("h", [Life(0, 500, WATTS), Life(512, 900, (80.0, 90.0), 60)], replicas=2)],
)
RESUMED = ReportedRun(
    "resumed", [Node("i", [Life(0, 500, WATTS, 60), Life(2 * DAY, 2 * DAY + 700, WATTS, 60)])]
)
KILLED = ReportedRun("killed", [Node("j", [Life(0, 900, WATTS, 60, forgets=(400, 430, 7.5))])])
MOVED = ReportedRun(
    "moved", [Node("k", [Life(0, 900, WATTS, 60)], addresses=[(450, "k-again:10400")])]
)
AHEAD = ReportedRun(
    "ahead", [Node("l", [Life(0, 400, WATTS), Life(410, 900, WATTS, 60)], clock_ahead_seconds=90)]
)
UNSEEN = ReportedRun("unseen", [Node("m", [Life(0, 900, WATTS, 60)], missed=[(100, 800)])])
LIVE = ReportedRun("live", [Node("n", [Life(0, 900, WATTS)])], ends=False)
LONG = ReportedRun(
    "long",
    [
        Node("o", [Life(0, DAY, WATTS), Life(DAY + 90, 2 * DAY, WATTS, 60)],
             scrape_seconds=120.0),
        Node("p", [Life(0, 2 * DAY, WATTS, 60)], scrape_seconds=120.0),
    ],
)  # fmt: skip
UNSEEN_AT_FIRST = ReportedRun(
    "unseen-at-first", [Node("u", [Life(0, 900, WATTS, 60)], missed=[(0, 700)])]
)
MONTHS = ReportedRun(
    "months",
    [Node("v", [Life(0, 40 * DAY, WATTS, 60)], missed=[(900, 40 * DAY - 900)])],
    start_seconds=PLAIN.start_seconds - 50 * DAY,
)
LAST_YEAR = ReportedRun(
    "last-year",
    [Node("q", [Life(0, 900, WATTS, 60)])],
    start_seconds=PLAIN.start_seconds - 320 * DAY,
)
HOSTILE = replace(PLAIN, run=r"x\"} or {run=~\".*", nodes=[Node("r", [Life(0, 300, (50.0,))])])
TRAINED = ReportedRun("trained", [Node("s", [Life(0, 900, WATTS, 60)])], phases=TRAINING)
TRAINED_TWICE = replace(
    TRAINED,
    run="trained-twice",
    nodes=[Node("t", [Life(0, 400, WATTS), Life(420, 900, WATTS, 60)])],
)
OTHERS = (HOSTILE, TRAINED, TRAINED_TWICE)
RUNS = (PLAIN, NODES, PAIR, FORGOTTEN, FORGOTTEN_PAIR, RESUMED, KILLED, MOVED, AHEAD, UNSEEN,
        LIVE, UNSEEN_AT_FIRST, LONG)  # fmt: skip
LOTS = ((LAST_YEAR,), (MONTHS,), (RESUMED,), (LONG,),
        (*(run for run in RUNS if run not in (RESUMED, LONG)), *OTHERS))  # fmt: skip
"""By how long they last: promtool reads a lot again for every two hours of it."""
