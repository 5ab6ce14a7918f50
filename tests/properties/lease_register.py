"""A GPU's lease as the API promises it: a register with one holder, tokens and revisions."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from joulestat.domain.units import same_limit
from properties.linearizability import Model, Operation


class Put(NamedTuple):
    """Acquire, renew, change or take over; answered ("lost",), ("held",) or ("ok", ...)."""

    holder: str
    watts: float
    takeover: bool
    token: int | None
    revision: int | None


class Release(NamedTuple):
    """End a lease; answered ("lost",), ("none",) or ("restored",)."""

    token: int | None
    revision: int | None


class Read(NamedTuple):
    """Look; answered with holder, token, watts and revision."""


class Lapse(NamedTuple):
    """The time of a lease is over; nobody is answered."""


class Restart(NamedTuple):
    """The service was killed and started again; answered with the revision since."""


class Leased(NamedTuple):
    """The register.

    ``unrestored``: the last lease ended by its time, and perhaps nobody has put the baseline back
    yet; a release then does, and says so, though there is no lease to end any more.
    """

    holder: str | None = None
    token: int | None = None
    watts: float | None = None
    revision: int = 0
    last_token: int = 0
    unrestored: bool = False

    def ended(self, revision: int | None = None, *, by_time: bool = False) -> "Leased":
        """Return the register without a lease."""
        since = self.revision + 1 if revision is None else revision
        return Leased(revision=since, last_token=self.last_token, unrestored=by_time)


def _step(state: Leased, operation: Operation) -> Iterable[Leased]:
    call, answer = operation.call, operation.answer
    match call:
        case Read():
            seen = (state.holder, state.token, state.watts, state.revision)
            return [state] if answer == seen else []
        case Lapse():
            return [] if state.holder is None else [state.ended(by_time=True)]
        case Restart():
            assert answer is not None
            (revision,) = answer
            assert isinstance(revision, int)
            least = state.revision + (state.holder is not None)
            return [state.ended(revision)] if revision >= least else []
        case Release():
            return _released(state, call, answer)
        case Put():
            return _put(state, call, answer)
    raise AssertionError(f"what is {call}?")


def _lost(state: Leased, call: Put | Release) -> bool:
    other_token = call.token is not None and call.token != state.token
    return other_token or call.revision not in (None, state.revision)


def _released(state: Leased, call: Release, answer: Any) -> Iterable[Leased]:
    if _lost(state, call):
        possible = {("lost",): state}
    elif state.holder is not None:
        possible = {("restored",): state.ended()}
    else:
        possible = {("none",): state}
        if state.unrestored:
            possible["restored",] = state._replace(unrestored=False)
    if answer is None:
        return possible.values()
    return [possible[answer]] if answer in possible else []


def _put(state: Leased, call: Put, answer: Any) -> Iterable[Leased]:
    own = state.holder == call.holder
    refusal = None
    if _lost(state, call):
        refusal = ("lost",)
    elif state.holder is not None and not own and not call.takeover:
        refusal = ("held",)
    if refusal is not None:
        return [state] if answer in (None, refusal) else []
    renews = own and state.watts is not None and same_limit(call.watts, state.watts)
    outcome = "granted" if not own else "renewed" if renews else "changed"
    if answer is None:
        token = state.token if own else state.last_token + 1
    else:
        if answer[:2] != ("ok", outcome):
            return []
        token = answer[2]
        # A number that a failed or a killed request used up may be skipped, never used again.
        right_token = token == state.token if own else token > state.last_token
        if not right_token or answer[3] != state.revision + 1:
            return []
    assert token is not None
    watts = state.watts if renews else call.watts
    return [Leased(call.holder, token, watts, state.revision + 1, max(token, state.last_token))]


LEASE_REGISTER = Model(Leased(), _step)
"""One GPU."""
