"""The page of decisions: complete, safe whatever a run is called, and standing alone."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

from fakes.decisions import QUERIES, START_SECONDS, TARIFF, decision, history, no_advice
from joulestat import __version__
from joulestat.domain.plan import Decision
from joulestat.domain.tariff import UNKNOWN_TARIFF
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.show.page import html_report
from joulestat.optimizer.show.repeat import repeat_command

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}$x$\x1b[2J"
VOID = {"meta", "br", "img", "link", "hr", "input"}
MANY_BYTES = 500_000


class Reader(HTMLParser):
    """Collects elements, their ids and what they point to; notes what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def page_of(*runs: tuple[Decision, RunHistory | None], command: str = "") -> str:
    return html_report(runs, QUERIES, START_SECONDS + 9_000, command)


@cache
def one() -> str:
    return page_of((decision(), history()), command="joulestat x")


@cache
def many() -> str:
    return page_of(
        (decision("a"), history("a")), (decision("b"), history("b")), (no_advice(), None)
    )


def test_a_page_of_one_run_says_it_all() -> None:
    shown = " ".join("".join(read(one()).text).split())

    for expected in (
        "llama: hold 230 W",
        "Best of those measured.",
        "energy saved per day",
        "EUR",
        "kg CO2e",
        "less energy per step; steps take",
        "±: 95 % interval; brief: measured too briefly to be held",
        "NVIDIA A100-SXM4-80GB",
        "Reference: 300 W, 1,200 steps.",
        QUERIES[0].expression,
        "joulestat x",
        f"joulestat {__version__}, 2026-11-23T16:30:00Z",
    ):
        assert expected in shown


def test_a_page_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    for page in (one(), many()):
        reader = read(page)

        assert not {"script", "img", "link", "iframe", "object", "base"} & set(reader.tags)
        assert [] == reader.of("src")
        assert all(link.startswith("#") for link in reader.of("href") + reader.of("xlink:href"))
        assert "@import" not in page
        assert [] == [url for url in re.findall(r"url\(([^)]*)\)", page) if url[0] != "#"]
        assert [] == [name for name, _ in reader.attributes if name.startswith("on")]


def test_every_element_is_closed_and_every_id_is_there_once() -> None:
    reader = read(many())
    ids = reader.of("id")
    used = [link[1:] for link in reader.of("href") + reader.of("xlink:href")]

    assert ([], []) == (reader.wrong, reader.open)
    assert len(ids) == len(set(ids))
    assert set(used) <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", many())) <= set(ids)


def test_what_a_run_is_called_is_text_and_nothing_else() -> None:
    hostile = replace(
        decision(HOSTILE),
        reason=HOSTILE,
        tariff=replace(TARIFF, currency=HOSTILE, zone=HOSTILE),
        gpu_power_limits_watts={HOSTILE: 220, "GPU-b": 230},
        numbers=(HOSTILE,),
    )
    page = page_of(
        (hostile, replace(history(HOSTILE), gpu_model=HOSTILE)),
        (no_advice(reason=HOSTILE), None),
        command=HOSTILE,
    )
    reader = read(page)

    assert not {"script", "img"} & set(reader.tags)
    assert ([], []) == (reader.wrong, reader.open)
    assert "49" not in page[page.index("<main>") : page.index("What was measured")]


def test_pictures_are_in_the_colours_of_the_page_and_say_what_they_show() -> None:
    page = one()
    reader = read(page)
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))

    assert 3 == reader.of("role").count("img")
    assert any("hold 230 W" in label for label in reader.of("aria-label"))
    assert "var(--ink)" in drawings
    assert [] == re.findall(r"#[0-9a-f]{6}\b", drawings)
    assert "<metadata>" not in page


def test_tables_have_headings_for_their_columns_and_rows() -> None:
    scopes = read(one()).of("scope")

    assert 7 == scopes.count("col")
    assert len(decision().points) + len(decision().thin) == scopes.count("row")


def test_many_runs_begin_with_a_table_that_leads_to_each() -> None:
    page = many()

    assert "3 runs: 2 to hold, 0 to probe, 1 without advice. Saved per day:" in page
    assert ["#run-1", "#run-2", "#run-3"] == [
        link for link in read(page).of("href") if link.startswith("#run")
    ]


def test_what_is_unknown_is_left_out() -> None:
    page = page_of((replace(decision(), tariff=UNKNOWN_TARIFF), None))

    assert "energy saved per day" in page
    for unknown in ("money", "carbon", "None", "PUE", "nan", "How to repeat it"):
        assert unknown not in page[page.index("<main>") :]
    assert "saved per day" not in page_of((no_advice(), None))


def test_the_same_decision_is_the_same_page() -> None:
    assert one() == one.__wrapped__()


def test_a_page_is_small_enough_to_be_sent() -> None:
    assert len(one().encode()) < MANY_BYTES


def test_of_very_many_runs_only_the_first_are_drawn() -> None:
    runs = [(decision(f"r{index}"), None) for index in range(4)]
    page = html_report(runs, (), START_SECONDS, most_drawn_runs=2)

    assert 2 * 2 == page.count("<svg ")
    assert "The first 2 have pictures" in page


def test_no_run_at_all_is_a_page_too() -> None:
    assert "0 runs" in page_of()


def test_what_is_repeated_changes_nothing_and_tells_no_secret() -> None:
    typed = [
        "optimize", "--prometheus.url", "http://me:secret@host:9090/x", "--run", "it's",
        "--apply", "--admin.url", "unix:/run/x", "--watch=5m", "--keep-lease",
        "--prometheus.header", "Authorization:Bearer secret", "--report", "out.html",
        "--prometheus.header=X-Key:secret", "--max-slowdown=1.1", "--at", "1795442400",
    ]  # fmt: skip

    assert (
        "joulestat optimize --prometheus.url http://host:9090/x --run 'it'\"'\"'s' "
        "--prometheus.header Authorization:... --prometheus.header X-Key:... --max-slowdown=1.1 "
        "--at 2026-11-23T14:00:00Z"
    ) == repeat_command(typed, START_SECONDS)
