"""The error tree: everything that joulestat raises on purpose.

JoulestatError
├── ConfigError               a key, its value and where it stands
├── DeviceError               a driver's answer, per call
│   ├── BackendUnavailable    no library, no driver or no such backend
│   ├── LimitPermissionDenied the driver wants more privilege to set a limit
│   └── LimitRefused          the driver refused, or read back something else
├── PushError                 what training code sent
│   ├── InvalidPush           field, value, what is allowed
│   ├── SupersededPush        a newer process took this run and rank
│   └── PushOverload          no room for another run or rank
├── LeaseError                what an admin client asked
│   ├── UnknownDevice         no such GPU
│   ├── InvalidLease          field, value, what is allowed
│   ├── LeaseHeld             another holder has it
│   ├── LeaseLost             the lease or revision it was meant for is over
│   ├── TooManyWrites         the hardware was written too recently
│   ├── LimitWriteFailed      the driver refused, or read back something else
│   └── ControlReadOnly       leases cannot be recorded, so none is granted
├── StateError                a state file that cannot be trusted
├── HistoryError              Prometheus, or what it answered
│   ├── HistoryUnreachable    nothing answered, however often it was asked
│   └── QueryTooLarge         the server will not work that much for one query
├── CardError                 a model card that cannot be read or written
└── AdminError                the admin API, seen from its client
"""


class JoulestatError(Exception):
    """Any error raised on purpose. The text says what happened, with which value, what to do."""


class FieldError(JoulestatError):
    """An error about one named value.

    Attributes:
        field: Name of the offending field, dotted where nested.
        value: What was given, as text.
        allowed: What would have been right, for people; empty where there is no short answer.
    """

    def __init__(self, message: str, *, field: str, value: object, allowed: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.value = str(value)
        self.allowed = allowed


class ConfigError(FieldError):
    """A configuration value is unknown or unusable; ``place`` is a file, variable or flag."""

    def __init__(
        self, message: str, *, field: str, value: object, place: str, allowed: str = ""
    ) -> None:
        super().__init__(message, field=field, value=value, allowed=allowed)
        self.place = place


class DeviceError(JoulestatError):
    """A driver call failed.

    Attributes:
        call: The vendor's name of the call, for example ``nvmlDeviceGetPowerUsage``.
        error: The vendor's name of the error, for example ``GPU_IS_LOST``.
    """

    def __init__(self, message: str, *, call: str, error: str) -> None:
        super().__init__(message)
        self.call = call
        self.error = error


class BackendUnavailable(DeviceError):
    """The backend has nothing to read here: no library, no driver, or a wrong name."""


class LimitPermissionDenied(DeviceError):
    """The driver lets this process read but not set power limits."""


class LimitRefused(DeviceError):
    """The driver refused the limit, or reads back another one than was set."""


class PushError(JoulestatError):
    """A push was not taken; the state is as it was before it."""


class InvalidPush(PushError, FieldError):
    """A push is malformed or contradicts what the same process said before."""


class SupersededPush(PushError):
    """Another, newer process pushes for this run and rank; this one must be an old one."""


class PushOverload(PushError):
    """No room for another run or rank."""


class LeaseError(JoulestatError):
    """A lease was not granted, changed or released; the hardware is as it was before."""


class UnknownDevice(LeaseError, FieldError):
    """No device has this UUID."""


class InvalidLease(LeaseError, FieldError):
    """A value in the request is outside of what this device and this policy allow."""


class LeaseHeld(LeaseError):
    """Another holder has the lease.

    Attributes:
        holder: Who has it.
        expires_in_seconds: How long it still runs unless renewed.
    """

    def __init__(self, message: str, *, holder: str, expires_in_seconds: float) -> None:
        super().__init__(message)
        self.holder = holder
        self.expires_in_seconds = expires_in_seconds


class LeaseLost(LeaseError):
    """The request was meant for a lease, or a revision, that is over; no driver was called."""


class TooManyWrites(LeaseError):
    """The hardware was written too often lately; ``retry_after_seconds`` says when it may again."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LimitWriteFailed(LeaseError):
    """The driver refused the write, or reads back another limit; the baseline was put back."""


class ControlReadOnly(LeaseError):
    """Leases cannot be recorded durably, so none is granted; reverting still works."""


class StateError(JoulestatError):
    """A state file cannot be read, written or trusted."""


class HistoryError(JoulestatError):
    """Prometheus cannot be reached, refused the query, or answered something unusable."""


class HistoryUnreachable(HistoryError):
    """Nothing answered, however often it was asked: the next query will fare no better."""


class QueryTooLarge(HistoryError):
    """The server will not work that much for one query; a shorter range it might answer."""


class CardError(JoulestatError):
    """A model card cannot be read or written, or there is nothing to write; it is as it was."""


class AdminError(JoulestatError):
    """The admin API refused or could not be reached.

    Attributes:
        status: HTTP status, None where there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
