"""Pushes that nobody in their right mind sends: valid ones, bent ones, and what is none at all."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

N_RUNS = 100
N_PROCESSES = 800
"""More runs and ranks than there may be, so that some are turned away and some have to wait."""

PHASES = ("train", "eval", "checkpoint", "other")
LABELS = ("job", "user", "team", "framework")
MAX_EXACT = 2**53

ODD_TEXTS = (
    "",
    "\x00",
    "a\nb",
    "\r\n",
    "\x1b[31mred",
    "\x85\u2028\u2029",
    "\ud800",
    "\udc00\ud800",
    'x"} 1e15\njoulestat_gpu_energy_joules_total{gpu="9"} 1e15',
    "back\\slash\\",
    '"',
    "{}",
    "# HELP x\n# TYPE x counter",
    "e\u0301" * 40,
    "\u0301" * 200,
    "é" * 64,
    "é" * 65,
    "a" * 128,
    "a" * 129,
    "\U0001f525" * 32,
    "\u202egnp.exe",
    "\ufeff",
    "\u200b",
    "__name__",
    "le",
    "gpu_uuid",
    "instance",
    "\ufb01" * 50,
    "\u1100\u1161\u11a8" * 15,
    "GPU-",
    "all",
    "../../etc/passwd",
    "NaN",
    "${jndi:ldap://x}",
    "%s%n%x",
    "ts=1 level=error msg=forged",
)
ODD_NUMBERS = (
    *(0, -1, 1, -0.0, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
    *(2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 1e18, 1e19, True, False, None),
)
NO_PUSHES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"{" * 5_000,
    b"[" * 8_000 + b"]" * 8_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b"1" * 5_000,
    b"-",
    b"1e999999",
    b'"\\ud800"',
    b'{"run":"a","run":"b"}',
    b"{'run': 'a'}",
    b'{"rank": NaN}',
    b'{"rank": 1e999}',
    b'{"rank": ' + b"9" * 4_000 + b"}",
)
TYPES = (
    *("application/json",) * 40,
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
)


@dataclass
class Process:
    """A rank that pushes, as far as it keeps to the rules."""

    run: str
    rank: int
    gpus: list[Any]
    incarnation: int = 0
    seq: int = 0
    totals: dict[str, dict[str, int]] = field(default_factory=dict)


class HostilePushes:
    """Makes pushes, the same ones for the same seed."""

    def __init__(self, seed: int, gpus: Sequence[str]) -> None:
        self.random = random.Random(seed)
        self._gpus = list(gpus)
        self._processes = [self._process() for _ in range(N_PROCESSES)]
        self._bends: tuple[Callable[[dict[str, Any]], bytes], ...] = (
            self._odd_value,
            self._odd_value,
            self._odd_label,
            self._odd_label,
            self._odd_label,
            self._without_a_key,
            self._with_another_key,
            self._with_a_key_twice,
            self._nested,
            self._flipped,
            self._cut,
            self._odd_literal,
        )

    def next(self, now_ns: int) -> tuple[bytes, str]:
        """Return a body and its content type.

        Args:
            now_ns: CLOCK_MONOTONIC of the exporter.
        """
        dice = self.random.random()
        if dice < 0.03:
            body = self.random.choice(NO_PUSHES)
        elif dice < 0.05:
            body = self.random.randbytes(self.random.randrange(200))
        elif dice < 0.45:
            body = self.random.choice(self._bends)(self._push(now_ns))
        else:
            body = json.dumps(self._push(now_ns)).encode()
        return body, self.random.choice(TYPES)

    def _process(self) -> Process:
        rng = self.random
        # Few runs have many ranks, many have few; some ranks are as high as they may be.
        run = f"run-{int(N_RUNS * rng.random() ** 2)}"
        if rng.random() < 0.3:
            run = f"run-{rng.randrange(10**6)}"
        rank = rng.choice((0, 0, 1, 2, 3, rng.randrange(600), 65_535))
        return Process(run, rank, self._some_gpus(), rng.randrange(10_000))

    def _some_gpus(self) -> list[Any]:
        rng, n_gpus = self.random, len(self._gpus)
        dice = rng.random()
        if dice < 0.6:
            return rng.sample(self._gpus, rng.randrange(n_gpus + 1))
        if dice < 0.9:
            return rng.sample(range(n_gpus), rng.randrange(1, n_gpus + 1))
        return [
            rng.choice((*self._gpus, 99, "GPU-nobody", "MIG-1", 0))
            for _ in range(rng.randrange(17))
        ]

    def _push(self, now_ns: int) -> dict[str, Any]:
        """Return a push that is right, if not for its time, its order or its numbers."""
        rng = self.random
        which = rng.randrange(N_PROCESSES)
        process = self._processes[which]
        if rng.random() < 0.03:
            process = self._processes[which] = self._process()
        elif rng.random() < 0.1:  # a restart, or one that flaps between two incarnations
            process.incarnation += rng.choice((1, 1, -1))
            process.seq, process.totals = 0, {}
        process.seq += rng.choice((1, 1, 1, 1, 0, -1, 2, 10**6, 2**40))
        process.seq = min(max(process.seq, 0), MAX_EXACT)
        counts = process.totals.setdefault(rng.choice(PHASES), {})
        name = rng.choice(("steps", "samples", "tokens"))
        more = rng.choice((1, 3, 1_000, 0, 0, MAX_EXACT // 2, -1))
        counts[name] = min(max(counts.get(name, 0) + more, 0), MAX_EXACT)
        push: dict[str, Any] = {
            "run": process.run,
            "rank": process.rank,
            "incarnation": f"process-{process.incarnation}",
            "seq": process.seq,
            "at_ns": max(0, now_ns - rng.choice((0, 10**6, 10**8, 10**10, -(10**9), now_ns))),
            "gpus": process.gpus,
            "phase": rng.choice(PHASES),
            "totals": process.totals,
        }
        if rng.random() < 0.3:
            push["labels"] = {name: self._text() for name in LABELS if rng.random() < 0.5}
        if rng.random() < 0.1:
            push["energy_budget_joules"] = rng.choice((1, 3.6e7, 1e18))
            push["planned_steps"] = rng.choice((1, 5_000, MAX_EXACT))
        if rng.random() < 0.15:
            push["final"] = True
        if rng.random() < 0.03:
            push["instead_of"] = f"process-{rng.randrange(10_000)}"
        return push

    def _text(self) -> str:
        rng = self.random
        dice = rng.random()
        if dice < 0.3:
            return rng.choice(ODD_TEXTS)
        if dice < 0.7:
            return rng.choice(("kim", "nlp", "llama", "transformers", "é", "日本語"))
        top = rng.choice((0x7F, 0xFF, 0x2FFF, 0x10FFFF))
        return "".join(chr(rng.randrange(top + 1)) for _ in range(rng.randrange(40)))

    def _odd(self) -> Any:
        rng = self.random
        dice = rng.random()
        if dice < 0.4:
            return rng.choice(ODD_NUMBERS)
        if dice < 0.7:
            return self._text()
        return rng.choice(([], {}, [[]], [0] * 17, {"": ""}, {"train": {"steps": -1}}, ["GPU-x"]))

    def _odd_value(self, push: dict[str, Any]) -> bytes:
        push[self.random.choice(list(push))] = self._odd()
        return json.dumps(push).encode()

    def _odd_label(self, push: dict[str, Any]) -> bytes:
        push["labels"] = {self.random.choice(LABELS): self._text()}
        ascii_only = self.random.random() < 0.5
        return json.dumps(push, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    def _without_a_key(self, push: dict[str, Any]) -> bytes:
        del push[self.random.choice(list(push))]
        return json.dumps(push).encode()

    def _with_another_key(self, push: dict[str, Any]) -> bytes:
        inner = self.random.choice((push, push["totals"], push.setdefault("labels", {})))
        # The process goes on with totals of its own.
        push["totals"] = dict(push["totals"])
        target = push["totals"] if inner is not push and self.random.random() < 0.5 else push
        target[self._text()] = self._odd()
        return json.dumps(push).encode()

    def _with_a_key_twice(self, push: dict[str, Any]) -> bytes:
        key = self.random.choice(list(push))
        return json.dumps(push).encode()[:-1] + f', "{key}": {json.dumps(self._odd())}}}'.encode()

    def _nested(self, push: dict[str, Any]) -> bytes:
        depth = self.random.choice((5, 50, 500, 5_000))
        text = json.dumps(push).encode()
        return text[:-1] + b', "gpus": ' + b"[" * depth + b"]" * depth + b"}"

    def _flipped(self, push: dict[str, Any]) -> bytes:
        body = bytearray(json.dumps(push).encode())
        for _ in range(self.random.randrange(1, 4)):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        return bytes(body)

    def _cut(self, push: dict[str, Any]) -> bytes:
        body = json.dumps(push).encode()
        return body[: self.random.randrange(len(body))] + self.random.choice((b"", b"}", b"\x00"))

    def _odd_literal(self, push: dict[str, Any]) -> bytes:
        key = self.random.choice(list(push))
        push[key] = "HERE"
        literals = (b"1e999", b"-0", b"0x10", b"01", b"1" * 400, b"NaN", b'"\\u0000"', b'"\\ud83d"')
        return json.dumps(push).encode().replace(b'"HERE"', self.random.choice(literals))
