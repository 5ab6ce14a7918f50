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

Energy budgets are a list and stand only in the file, under `budgets`. Each one needs all of these:

| key | allowed | meaning |
|---|---|---|
| `name` | 1 to 64 letters, digits, spaces or . _ - / | Its identity: no two budgets share it, and renaming one starts it anew. |
| `team` | the same | Whose runs it counts: those that push this `team`. |
| `kilowatt-hours` or `joules` | a number above 0 | How much may be spent. |
| `start`, `end` | a date or time, such as 2026-11-01 or 2026-11-01T06:00:00+01:00 | When; the end is not included. UTC unless a zone is given. |

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
