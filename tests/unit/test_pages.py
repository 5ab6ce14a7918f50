"""The pages under docs/ that are made from tables in the code."""

from pathlib import Path

from fakes.configs import loader
from golden.configuration_page import configuration_page
from golden.faults_page import faults_page
from golden.metrics_page import metrics_page
from golden.written import CHECKOUT, assert_is_as_written
from joulestat.config import ListenAddress

DOCS = CHECKOUT / "docs"
EXAMPLE = DOCS / "joulestat.yaml"


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = configuration_page(EXAMPLE.read_text(encoding="utf-8"))

    assert_is_as_written(DOCS / "configuration.md", page.encode())


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    scrape = (CHECKOUT / "tests" / "golden" / "metrics.txt").read_text(encoding="utf-8")

    assert_is_as_written(DOCS / "metrics.md", metrics_page(scrape).encode())


def test_the_page_of_faults_is_what_the_tests_check() -> None:
    assert_is_as_written(DOCS / "faults.md", faults_page().encode())


def test_the_example_of_a_configuration_can_be_loaded(tmp_path: Path) -> None:
    config = loader(tmp_path)(EXAMPLE.read_text(encoding="utf-8"))

    assert 2 == len(config.web.listen_addresses)
    assert ListenAddress(unix_path=Path("/run/joulestat/admin.sock")) == config.admin.listen_address
    assert "EUR" == config.tariff.currency
    assert ["november", "sprint"] == [budget.name for budget in config.budgets]
