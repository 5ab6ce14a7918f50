"""Makes docs/configuration.md from the table of settings."""

from joulestat.config import OPTIONS, Option

INTRODUCTION = """\
# Configuration

<!-- Made from exporter/joulestat/config/options.py by tests/golden/configuration_page.py.
     REGENERATE_GOLDEN=1 pytest tests/unit/test_pages.py writes it anew. -->

A setting can stand in three places; the last one that names it wins:

1. a YAML file, given by `--config.file` or `JOULESTAT_CONFIG_FILE`;
2. an environment variable;
3. a flag of `joulestat serve`.

All three take the same text. Keys nest at the dots: `web.listen-address` is `listen-address` under `web`.
A relative path in the file starts at the file's folder, anywhere else at the working directory.

What is misspelled or out of range is refused at the start, with its place, what is allowed and the nearest name:

```
joulestat.yaml:7: sampling.interval cannot be '5ms'; allowed: a duration from 20ms to 10s in ms, s, m, h or d
```

So is an unknown `JOULESTAT_` variable. Left alone are an empty variable, what training code and the other
commands read (`JOULESTAT_URL`, `JOULESTAT_RUN`, `JOULESTAT_DISABLED`, `JOULESTAT_PROMETHEUS_URL`,
`JOULESTAT_ADMIN_CLIENT_TOKEN_FILE`), and what Kubernetes puts there for a Service called `joulestat`.

## Settings

"""  # noqa: E501 - lines of the error and of the page, not of code

BUDGETS = """
## Budgets

Energy budgets are a list and stand only in the file, under `budgets`. Each one needs a name, a team, one of the three
amounts, a start and an end:

| key | allowed | meaning |
|---|---|---|
| `name` | 1 to 64 letters, digits, spaces or . _ - / | Its identity: no two budgets in the list share it. |
| `team` | the same | Whose runs it counts: those that push this `team`. |
| `kilowatt-hours` | a number above 0 | How much energy the GPUs may use, or |
| `joules` | a number above 0 | the same in joules, or |
| `cost` | a number above 0 | what it may cost, in the currency of the tariff. |
| `currency` | an ISO 4217 code, such as EUR | Only beside `cost`, and may be left out. It has to be that of the tariff: it is there so that a tariff in another currency is noticed. |
| `start`, `end` | a date or time, such as 2026-11-01 or 2026-11-01T06:00:00+01:00 | When; the end is not included. UTC unless a zone is given. |

**Money becomes energy once**, when the exporter reads its configuration: `cost` / (`tariff.price-per-kilowatt-hour` x
`tariff.pue-ratio`), with a PUE of 1 where none is given. At 0.31 EUR and a PUE of 1.25, 500 EUR are 1,290 kWh at the GPUs. From then
on it is a budget like any other, in `budget_joules`. Without a price, or with another currency, the exporter does not start. A new price
changes how much the budget is from the next start on, also for what is used already: consumption is kept in joules and never
priced. Exporters with different prices make different budgets of one amount, and the rules take the largest: give energy there.

**Consumption belongs to name, team and start.** It goes on through restarts, and through another amount or end. With another start or
another team the budget begins at 0, which the log says (`budget_begins_anew`); Prometheus takes that for what it is, a counter that
starts again. So the next month may keep the name of the last one: change `start` and `end` on every exporter. Those that still have the
old start are left out by the rules, which follow the latest. Two periods of one name at a time are refused: their series would be
the same. A budget of another name may be listed long before it begins: it is shown, stands at 0 and raises no alert. One that is over stays
as it ended until it is taken out of the list, and raises none either.

A run has a budget of its own if it says so: `joulestat.init(energy_budget_kwh=...)`.

## An example

[joulestat.yaml](joulestat.yaml):

```yaml
"""  # noqa: E501 - a row of a Markdown table cannot be broken


def configuration_page(example: str) -> str:
    """Return the page.

    Args:
        example: Text of docs/joulestat.yaml.
    """
    lines = ["| key | flag, variable | default | allowed | meaning |", "|---|---|---|---|---|"]
    lines += [_row(option) for option in OPTIONS]
    return INTRODUCTION + "\n".join(lines) + "\n" + BUDGETS + example + "```\n"


def _row(option: Option[object]) -> str:
    default = option.default_note if option.default is None else f"`{option.default}`"
    allowed = option.kind.allowed.replace("|", "\\|")
    names = f"`{option.flag}`<br>`{option.environment}`"
    return f"| `{option.key}` | {names} | {default} | {allowed} | {option.help} |"
