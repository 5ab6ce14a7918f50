"""What the log is told about NVIDIA GPUs that come and go: each change once."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from joulestat.domain.device import Device

_log = logging.getLogger(__name__)


class News:
    """Remembers what was told. One thread at a time.

    The GPUs that are there at opening are no news: only those that come later are told.
    """

    def __init__(self) -> None:
        self._index: dict[str, int] | None = None
        self._gone: dict[str, str] = {}
        self._left_out: dict[int, str] = {}
        self._postponed = self._reopen_error = self._reopened_for = ""

    def gpus(self, devices: Sequence[Device], gone: Mapping[str, str | None]) -> None:
        """Tell which GPUs came, moved, were lost and are back.

        Args:
            devices: All that were ever seen.
            gone: Why a GPU answered nothing when last read; empty where it answered, None
                where it was not read since NVML was opened.
        """
        for device in devices:
            self._place(device)
            error = gone[device.uuid]
            if error and device.uuid not in self._gone:
                self._gone[device.uuid] = error
                _log.warning(
                    "event=gpu_lost backend=nvml gpu_uuid=%s gpu=%d error=%s",
                    device.uuid, device.index, error,
                )  # fmt: skip
            elif error == "" and device.uuid in self._gone:
                del self._gone[device.uuid]
                _log.warning(
                    "event=gpu_came backend=nvml gpu_uuid=%s gpu=%d", device.uuid, device.index
                )
        if self._index is None:
            self._index = {device.uuid: device.index for device in devices}

    def _place(self, device: Device) -> None:
        if self._index is None:  # at opening all of them are new, and that is no news
            return
        before = self._index.get(device.uuid)
        self._index[device.uuid] = device.index
        if before is None:
            _log.warning(
                "event=gpu_came backend=nvml gpu_uuid=%s gpu=%d", device.uuid, device.index
            )
        elif before != device.index:
            _log.warning(
                "event=gpu_moved backend=nvml gpu_uuid=%s gpu=%d before=%d",
                device.uuid, device.index, before,
            )  # fmt: skip

    def left_out(self, errors: Mapping[int, str]) -> None:
        """Tell which GPUs do not say who they are, by index."""
        for index, error in errors.items():
            if self._left_out.get(index) != error:
                _log.warning("event=gpu_left_out backend=nvml gpu=%d error=%s", index, error)
        self._left_out = dict(errors)

    def reopened(self, reason: str) -> None:
        """Tell that NVML was opened anew; once, however often that does not help."""
        self._postponed = self._reopen_error = ""
        if reason != self._reopened_for:
            _log.warning("event=nvml_reopened reason=%s", reason)
        self._reopened_for = reason

    def settled(self) -> None:
        """Note that every GPU answers: what happens next is news again."""
        self._postponed = self._reopen_error = self._reopened_for = ""

    def reopen_failed(self, error: str) -> None:
        """Tell that NVML is closed and cannot be opened."""
        if error != self._reopen_error:
            _log.warning("event=nvml_reopen_failed error=%r", error)
        self._reopen_error = error

    def postponed(self, why: str, of: Iterable[str]) -> None:
        """Tell that NVML should be opened anew, but that this must wait."""
        told = f"{why}: {', '.join(of)}"
        if told != self._postponed:
            _log.warning("event=nvml_reopen_postponed reason=%r", told)
        self._postponed = told

    def left_open(self, hanging: Iterable[str]) -> None:
        """Tell that NVML ends with the process, because calls hang; nothing where none does."""
        if names := ", ".join(sorted(hanging)):
            _log.warning("event=nvml_left_open reason=%r", f"calls hang: {names}")
