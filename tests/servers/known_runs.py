"""Runs whose truth is known, with everything that may befall a history."""

from dataclasses import replace

from servers.training_history import START_SECONDS, Extras, TrainingHistory, Truth

TRUTH = {
    300: Truth(91.2, 0.310),
    265: Truth(84.5, 0.314),
    230: Truth(78.3, 0.322),
    200: Truth(73.1, 0.337),
    165: Truth(69.9, 0.371),
    130: Truth(74.4, 0.480),
}
SCHEDULE = [(watts, 75.0) for watts in TRUTH]

PLAIN = TrainingHistory("plain", TRUTH, SCHEDULE)
HOSTILE = replace(PLAIN, run='x"} or {run=~".*"} # \\ \n', truth={300: Truth(50.0, 0.2)},
                  schedule=[(300, 100.0)])  # fmt: skip
TWO_NODES = replace(PLAIN, run="two-nodes", n_nodes=2)
MISSED = replace(
    PLAIN, run="missed", missed=[(30 + 40 * i, 33 + 40 * i) for i in range(10)] + [(200, 260)]
)
COARSE = replace(
    PLAIN, run="coarse", scrape_seconds=15.0, schedule=[(watts, 105.0) for watts in TRUTH]
)
RESET = replace(PLAIN, run="reset", resets=[100.0, 100.9, 333.3], n_nodes=2)
ENDED = replace(PLAIN, run="ended", ends=True)
MOVED = replace(PLAIN, run="moved", moves_at=190.0)
REPLICAS = replace(PLAIN, run="replicas", replicas=2, n_nodes=2, missed=[(240, 250)])
BRIEF = replace(PLAIN, run="brief", schedule=[(300, 75.0), (200, 20.0)])
FIRST_QUEUE = TrainingHistory("requeued", {300: Truth(50.0, 0.2), 200: Truth(40.0, 0.3)},
                              [(300, 80.0), (200, 80.0)])  # fmt: skip
SECOND_QUEUE = replace(
    FIRST_QUEUE, truth=TRUTH, schedule=SCHEDULE, first_node=1, start_seconds=START_SECONDS + 4000
)
RUNS = (PLAIN, TWO_NODES, MISSED, COARSE, RESET, ENDED, MOVED, REPLICAS)

EXTRAS = Extras(
    samples_per_step=32,
    tokens_per_step=4096,
    job="llama",
    model="Simulated GPU",
    planned_steps=5000,
    energy_budget_joules=2.5e6,
    throttled=(150.0, 187.5),
    foreign=(430.0, 250),
    price=0.31,
)
TALKATIVE = replace(PLAIN, run="talkative", n_nodes=2, first_node=20, extras=EXTRAS)
SIBLING = replace(TALKATIVE, run="sibling", first_node=30, schedule=[(300, 60.0)])
STRANGER = replace(SIBLING, run="stranger", first_node=40, extras=replace(EXTRAS, model="Other"))
UNLIKE_NODES = replace(PLAIN, run="unlike", n_nodes=2, first_node=50, references=[300, 200])
PROBES = [(300, 900.0), (200, 240.0), (265, 180.0), (230, 240.0), (165, 200.0), (230, 41_000.0)]
LONG = replace(PLAIN, run="long", first_node=60, scrape_seconds=15.0, schedule=PROBES)
LONG_RESET = replace(LONG, run="long-reset", first_node=61, resets=[9_005.0, 20_000.0, 20_070.0])
LONG_MOVED = replace(LONG, run="long-moved", first_node=62, n_nodes=2, moves_at=30_007.0)

BROKEN_SERIES = [
    'joulestat_run_start_timestamp_seconds{run="nan",instance="n"} ' + str(START_SECONDS),
    *(
        f'joulestat_run_{name}_total{{run="nan",phase="train",power_limit_watts="300",'
        f'instance="n"}} {value}'
        for name, value in (("steps", 5), ("step_seconds", 2), ("energy_joules", "NaN"))
    ),
]

BROKEN = [f"{line} {START_SECONDS + 10}" for line in BROKEN_SERIES]
"""Samples of a run whose energy is no number."""
