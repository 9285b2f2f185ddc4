"""Broken rules in words."""

import pytest
from pydantic import BaseModel, ValidationError

from talweg.errors import InvalidSpec
from talweg.spec import parse_run, parse_study
from talweg.validation import rule


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\nb"])
def test_a_refused_name_gets_the_rule_in_words(name: str) -> None:
    for parse, spec in ((parse_run, {"optimizer": "sgd"}), (parse_study, {"optimizers": ["sgd"]})):
        with pytest.raises(InvalidSpec) as refused:
            parse({"problem": "quadratic", "steps": 5, "name": name, **spec})
        text = str(refused.value)
        assert "name: must have no slash, no backslash and no control character, got " in text
        assert "pattern" not in text
        assert "^" not in text


def test_other_rules_keep_the_words_of_pydantic() -> None:
    class Of(BaseModel):
        number: int

    with pytest.raises(ValidationError) as refused:
        Of.model_validate({"number": "x"})
    assert rule(refused.value.errors()[0]).startswith("input should be a valid integer")
