"""Whether the time of a refusal tells how much of a token was right: medians of many comparisons.

    python tests/benchmarks/token_timing.py [ROUNDS]

Prints, for tokens that share more and more with a real one, how much longer the median refusal
takes than that of a token that shares nothing. The order is shuffled in every round, so that what
the machine does besides falls on all alike.
"""

import random
import statistics
import sys
import time

from joulestat.server.auth import Principal, Role, TokenEntry, TokenTable, new_token

NOW_SECONDS = 1_795_000_000.0
TOKENS = 20
ROUNDS = 100_000


def main(rounds: int) -> None:
    """Measure and print."""
    made = [new_token() for _ in range(TOKENS)]
    table = TokenTable(
        tuple(TokenEntry(sha256, Principal("kim", Role.OPERATOR)) for _, sha256 in made)
    )
    real = made[TOKENS // 2][0]
    alike = {
        "nothing": "x" * len(real),
        "the prefix": real[:4] + "x" * (len(real) - 4),
        "half of it": real[: len(real) // 2] + "x" * (len(real) - len(real) // 2),
        "all but the last": real[:-1] + "!",
        "all, of the first token": made[0][0],
        "all, of the last token": made[-1][0],
    }
    taken_ns: dict[str, list[int]] = {name: [] for name in alike}
    names = list(alike)
    order = random.Random(1)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            token = alike[name]
            began_ns = time.perf_counter_ns()
            table.authenticate(token, NOW_SECONDS)
            taken_ns[name].append(time.perf_counter_ns() - began_ns)
    usual_ns = statistics.median(taken_ns["nothing"])
    print(f"{TOKENS} tokens, {rounds} rounds; a refusal takes {usual_ns / 1000:.2f} us")
    for name, taken in taken_ns.items():
        print(f"  right: {name:25} {statistics.median(taken) - usual_ns:+7.0f} ns")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
