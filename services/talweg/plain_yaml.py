"""YAML as people mean it: 1e-3 is a number, and nothing is ever made but plain data."""

import re
from typing import Any

from talweg.errors import MissingExtra

# YAML 1.2's floats; PyYAML has those of 1.1, to which 1e-3, without a dot, is a text.
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")


def from_yaml(text: str) -> Any:
    """What the text holds; raises ValueError where it is no YAML, and MissingExtra without PyYAML."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("YAML needs PyYAML: pip install 'talweg[lab]', or write JSON") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no stubs
        """SafeLoader, with these floats."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    try:
        # A subclass of SafeLoader: it makes plain data only.
        loader = Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
