"""The YAML file, read as nodes rather than as objects, because nodes know their line."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from joulestat.config.kinds import nearest
from joulestat.config.options import OPTIONS
from joulestat.config.sources import Given, unknown
from joulestat.domain.errors import ConfigError

BUDGETS_KEY = "budgets"

_NULL_TAG = "tag:yaml.org,2002:null"
_BY_KEY = {option.key: option for option in OPTIONS}
_SECTIONS = {
    option.key[:at]
    for option in OPTIONS
    for at, character in enumerate(option.key)
    if character == "."
}


class Document:
    """One parsed file. Scalars stay text: ``1e3``, ``no`` and dates mean what the setting says."""

    def __init__(self, file: Path) -> None:
        """Read it.

        Raises:
            ConfigError: It cannot be read, or is not one YAML mapping.
        """
        self._file = file
        self._top = self._compose()

    def settings(self) -> Iterator[Given]:
        """Yield every setting but the budgets.

        Raises:
            ConfigError: A key is unknown, stands there twice or has no value.
        """
        if self._top is not None:
            yield from self._walk(self._top, "")

    def budgets(self) -> tuple[yaml.Node, ...]:
        """Return the items of the list ``budgets``; empty where there is none.

        Raises:
            ConfigError: It is not a list.
        """
        if self._top is None:
            return ()
        for key_node, node in self._top.value:
            if key_node.value == BUDGETS_KEY and not _is_null(node):
                if isinstance(node, yaml.SequenceNode):
                    return tuple(node.value)
                raise self.error(node, BUDGETS_KEY, "is not a list", "a list of budgets")
        return ()

    def items(self, mapping: yaml.Node, path: str) -> dict[str, yaml.Node]:
        """Return a mapping's entries by key.

        Args:
            mapping: A node that should be a mapping.
            path: Its dotted name, for the error.

        Raises:
            ConfigError: It is not a mapping, or a key stands there twice.
        """
        if not isinstance(mapping, yaml.MappingNode):
            raise self.error(mapping, path, "is not a mapping", "key: value lines")
        entries: dict[str, yaml.Node] = {}
        for key_node, node in mapping.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, path, "has a key that is not text", "key: value lines")
            if key_node.value in entries:
                # PyYAML would silently take the last one.
                raise self.error(
                    key_node, f"{path}{key_node.value}", "stands there twice", "one of them"
                )
            entries[key_node.value] = node
        return entries

    def text(self, node: yaml.Node, path: str, *, several: bool = False) -> str:
        """Return a scalar as written; of a list, where one is allowed, its items with commas.

        Raises:
            ConfigError: It has no value, or is a mapping or a list where one value belongs.
        """
        if several and isinstance(node, yaml.SequenceNode) and node.value:
            return ",".join(self.text(item, path) for item in node.value)
        if not isinstance(node, yaml.ScalarNode):
            allowed = "one value or a list of values" if several else "one value"
            raise self.error(node, path, "is not a single value", allowed)
        if _is_null(node) or not node.value:
            raise self.error(node, path, "has no value", "a value, or no such line at all")
        return str(node.value)

    def place(self, node: yaml.Node) -> str:
        """Return where a node begins: ``joulestat.yaml:3``."""
        return f"{self._file}:{node.start_mark.line + 1}"

    def error(self, node: yaml.Node, path: str, what: str, allowed: str) -> ConfigError:
        """Return the error about a node: what is wrong with it, and what would be right."""
        place = self.place(node)
        return ConfigError(
            f"{place}: {path.rstrip('.') or 'the file'} {what}; allowed: {allowed}",
            field=path.rstrip("."),
            value=shown(node),
            place=place,
            allowed=allowed,
        )

    def _walk(self, mapping: yaml.Node, prefix: str) -> Iterator[Given]:
        for key, node in self.items(mapping, prefix).items():
            path = prefix + key
            option = _BY_KEY.get(path)
            if option is not None:
                text = self.text(node, path, several=option.kind.repeatable)
                yield Given(path, text, self.place(node), self._file.parent)
            elif path in _SECTIONS:
                # A section whose lines are all commented out is null; that is no mistake.
                if not _is_null(node):
                    yield from self._walk(node, f"{path}.")
            elif path != BUDGETS_KEY:
                known = [*_BY_KEY, *_SECTIONS, BUDGETS_KEY]
                raise unknown(path, shown(node), self.place(node), nearest(path, known))

    def _text(self) -> str:
        """Return what is in the file."""
        return self._file.read_text(encoding="utf-8")

    def _compose(self) -> yaml.MappingNode | None:
        try:
            text = self._text()
        except OSError as error:
            raise self._unreadable(str(self._file), error.strerror or str(error)) from error
        except UnicodeDecodeError as error:
            raise self._unreadable(str(self._file), "it is not text in UTF-8") from error
        try:
            top = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"{self._file}:{mark.line + 1}" if mark else str(self._file)
            raise self._unreadable(place, error.problem or "not YAML") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise self._unreadable(str(self._file), str(error)) from error
        if top is None or _is_null(top):
            return None
        if not isinstance(top, yaml.MappingNode):
            raise self.error(top, "", "is not a mapping", "key: value lines")
        return top

    def _unreadable(self, place: str, why: str) -> ConfigError:
        return ConfigError(
            f"{place}: cannot read the configuration: {why}; allowed: a readable YAML file",
            field="config.file",
            value=self._file,
            place=place,
            allowed="a readable YAML file",
        )


def shown(node: yaml.Node) -> str:
    """Return what to call a node's value in an error."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL_TAG
