"""YAML as plain values of bounded size, or one line that says why not."""

from typing import Any

import yaml

from fagan.errors import UserError, reason

# An experiment table is some 40 lines. These are far above any, and far below what takes seconds.
CHARACTERS, VALUES, DEPTH = 100_000, 10_000, 20


class _Loader(yaml.SafeLoader):
    """Safe values only, and no more of them than VALUES once every alias is written out.

    A few lines of aliases of aliases stand for billions of values.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # of finished nodes, by identity

    def compose_node(self, parent, index):
        self._depth += 1
        if self._depth > DEPTH:
            raise UserError(f"it is nested more than {DEPTH} deep")
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:  # what it stands for is not finished
            raise UserError("an alias in it contains itself")
        if not alias:
            inner = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                inner = [part for pair in inner for part in pair]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in inner)
        if self._sizes[id(node)] > VALUES:
            raise UserError(f"it holds more than {VALUES:,} values")
        return node


def load_yaml(text: str, where: str) -> Any:
    """The value of a YAML text: mappings, lists, texts, numbers, dates; nothing is executed.

    Raises UserError, which begins with `where`, for anything else, and for a text of more than
    CHARACTERS, VALUES (aliases followed) or DEPTH.
    """
    if len(text) > CHARACTERS:
        raise UserError(f"{where} has {len(text):,} characters, more than {CHARACTERS:,}")
    try:
        return _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{where} is refused: {error}") from error
    except Exception as error:  # PyYAML lets through whatever dates, numbers and tags raise
        raise UserError(f"{where} holds a value that cannot be read: {reason(error)}") from error
