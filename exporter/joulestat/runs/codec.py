"""What the ledger remembers, as JSON documents and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Any

from joulestat.domain.run import Cell, Counts, Phase, RunLabels, UnattributedReason
from joulestat.runs.account import DeviceAccount, Epoch
from joulestat.runs.book import RunBook
from joulestat.runs.curve import EnergyCurve
from joulestat.runs.limit_track import Change, LimitTrack
from joulestat.runs.rank import Closing, RankBook
from joulestat.runs.settling import DeviceBook


def device_to_document(device: DeviceBook) -> str:
    """Return one device's end of curve, limit and account as JSON."""
    account = device.account
    return json.dumps(
        {
            "at_ns": device.curve.end_ns,
            "total_uj": device.curve.end_uj,
            "limit": device.track.label,
            "limit_changes": [astuple(change) for change in device.track.recent_changes],
            "unattributed_uj": account.unattributed_uj,
            "credited_uj": account.credited_uj,
            "epochs": [[epoch.start_uj, epoch.holders] for epoch in account.epochs],
            "settled_uj": [[*holder, uj] for holder, uj in account.settled_uj.items()],
        }
    )


def device_from_document(text: str) -> DeviceBook:
    """Return the device as it was, earlier in this boot."""
    document = json.loads(text)
    at_ns = document["at_ns"]
    account = DeviceAccount(0)
    account.unattributed_uj = {
        UnattributedReason(reason): uj for reason, uj in document["unattributed_uj"].items()
    }
    account.credited_uj = document["credited_uj"]
    account.epochs = [
        Epoch(start_uj, tuple((run, rank) for run, rank in holders))
        for start_uj, holders in document["epochs"]
    ]
    account.settled_uj = {(run, rank): uj for run, rank, uj in document["settled_uj"]}
    changes = [Change(*change) for change in document["limit_changes"]]
    track = LimitTrack(document["limit"], at_ns, changes)
    return DeviceBook(EnergyCurve(at_ns, document["total_uj"]), track, account)


def run_to_document(run: RunBook) -> str:
    """Return one run as JSON."""
    return json.dumps(
        {
            "name": run.name,
            "start_seconds": run.start_seconds,
            "end_seconds": run.end_seconds,
            "labels": asdict(run.labels),
            "energy_budget_joules": run.energy_budget_joules,
            "planned_steps": run.planned_steps,
            "closed_ns": run.closed_ns,
            "lead": run.lead,
            "disturbed": run.disturbed,
            "device_energy_uj": run.device_energy_uj,
            "cells": [
                [phase, label, cell.energy_uj, cell.duration_ns, *_counts(cell.counts)]
                for (phase, label), cell in run.cells.items()
            ],
            "ranks": {rank: _rank(book) for rank, book in run.ranks.items()},
        }
    )


def run_from_document(text: str) -> RunBook:
    """Return the run as it was."""
    document = json.loads(text)
    return RunBook(
        name=document["name"],
        start_seconds=document["start_seconds"],
        end_seconds=document["end_seconds"],
        labels=RunLabels(**document["labels"]),
        energy_budget_joules=document["energy_budget_joules"],
        planned_steps=document["planned_steps"],
        closed_ns=document["closed_ns"],
        lead=document["lead"],
        disturbed=document["disturbed"],
        device_energy_uj=document["device_energy_uj"],
        cells={
            (Phase(phase), label): Cell(energy_uj, duration_ns, Counts(*counts))
            for phase, label, energy_uj, duration_ns, *counts in document["cells"]
        },
        ranks={int(rank): _rank_from(book) for rank, book in document["ranks"].items()},
    )


def _counts(counts: Counts) -> tuple[int, int, int]:
    return counts.steps, counts.samples, counts.tokens


def _rank(book: RankBook) -> dict[str, Any]:
    return {
        "incarnation": book.incarnation,
        "seq": book.seq,
        "pushed_ns": book.pushed_ns,
        "pushed_seconds": book.pushed_seconds,
        "retired": list(book.retired),
        "opened": book.opened,
        "start_ns": book.start_ns,
        "ended": book.ended,
        "accepted": _closing(book.accepted),
        "settled": _closing(book.settled),
        "queue": [_closing(closing) for closing in book.queue],
    }


def _rank_from(document: Mapping[str, Any]) -> RankBook:
    book = RankBook(
        incarnation=document["incarnation"],
        seq=document["seq"],
        accepted=_closing_from(document["accepted"]),
        pushed_ns=document["pushed_ns"],
        pushed_seconds=document["pushed_seconds"],
        opened=tuple(document["opened"]),
        start_ns=document["start_ns"],
        settled=_closing_from(document["settled"]),
        ended=document["ended"],
    )
    book.retired.extend(document["retired"])
    queued = [_closing_from(closing) for closing in document["queue"]]
    book.queue.extend(closing for closing in queued if closing is not None)
    return book


def _closing(closing: Closing | None) -> dict[str, Any] | None:
    if closing is None:
        return None
    return {
        "at_ns": closing.at_ns,
        "phase": closing.phase,
        "totals": {phase: _counts(counts) for phase, counts in closing.totals.items()},
        "gpus": closing.gpus,
        "final": closing.final,
        "opens": closing.opens,
    }


def _closing_from(document: Mapping[str, Any] | None) -> Closing | None:
    if document is None:
        return None
    return Closing(
        at_ns=document["at_ns"],
        phase=Phase(document["phase"]),
        totals={Phase(phase): Counts(*counts) for phase, counts in document["totals"].items()},
        gpus=tuple(document["gpus"]),
        final=document["final"],
        opens=document["opens"],
    )
