"""What every page shows and no tick changes."""

from dataclasses import dataclass

from joulestat.domain.tariff import Tariff


@dataclass(frozen=True, slots=True)
class Constants:
    """Which exporter this is, and what a joule costs here.

    Attributes:
        version: Of joulestat.
        revision: Commit that it was built from, empty where unknown.
        python: Version of Python it runs on.
        tariff: From the configuration.
    """

    version: str
    revision: str
    python: str
    tariff: Tariff
