"""Twenty tables that resemble what public repositories of data hold, with invented numbers.

Each is taken as it is, or refused with a remedy that works when it is followed.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from talweg.datasets.baselines import baselines
from talweg.datasets.preparing import Prepared
from talweg.errors import InvalidSpec

Read = Callable[..., Prepared]
RNG = np.random.default_rng(7)
N = 120
NORMAL = RNG.normal(size=(N, 6))
WORDS = [str(word) for word in RNG.choice(["red", "green", "blue"], N)]


@dataclass(frozen=True)
class Case:
    """A table, what it is taken as, and what must be written where it is refused at first."""

    text: str
    taken: dict[str, str]
    classes: int | None
    refused: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    encoding: str = "utf-8"
    packed: bool = False


def rows(line: Callable[[int], str], head: str, count: int = N) -> str:
    return "\n".join([head, *(line(i) for i in range(count))]) + "\n"


def number(i: int, k: int = 0) -> str:
    return f"{NORMAL[i, k]:.3f}"


def comma(value: float) -> str:
    return str(value).replace(".", ",")


CASES = {
    "flowers, no header": Case(
        rows(lambda i: f"{number(i)},{number(i, 1)},Iris-{WORDS[i]}", "5.1,3.5,Iris-red"),
        {"c1": "number", "c2": "number"}, 3, "upload it with header=False", {"header": False},
    ),
    "passengers, names and gaps": Case(
        rows(
            lambda i: f'{i + 1},{i % 3 % 2},{1 + i % 3},"Braund, Mr. {WORDS[i]} no {i}",'
            f"{('male', 'female')[i % 2]},{'' if i % 6 == 0 else 20 + i % 40},A/5 {2117 + i},{7 + i / 9:.2f},"
            f"{('', 'C85')[i % 9 == 0]},{'SCQ'[i % 3]}",
            "PassengerId,Survived,Pclass,Name,Sex,Age,Ticket,Fare,Cabin,Embarked",
        ),
        {"PassengerId": "left out", "Pclass": "number", "Name": "left out", "Sex": "category", "Age": "number",
         "Ticket": "left out", "Fare": "number", "Cabin": "category", "Embarked": "category"}, 2,
        None, {"target": "Survived"},
    ),
    "cars, spaces and question marks": Case(
        rows(
            lambda i: f'{15 + i % 20}.0   {4 + i % 3 * 2}   {"?" if i % 30 == 7 else 90 + i}.   {3000 + i}.      '
            f'{number(i)}  {70 + i % 12}  {1 + i % 3}', "mpg cyl hp weight acc year origin",
        ).replace("?.", "?"),
        dict.fromkeys(("cyl", "hp", "weight", "acc", "year", "origin"), "number"), 20,
        None, {"target": "mpg", "kind": "auto"},
    ),
    "wine quality, semicolons": Case(
        rows(
            lambda i: f"{7 + NORMAL[i, 0]:.1f};{NORMAL[i, 1] ** 2:.2f};{3 + i % 6}", '"fixed acidity";"sugar";"quality"'
        ),
        {"fixed acidity": "number", "sugar": "number"}, 6,
    ),
    "house prices, whole numbers": Case(
        rows(
            lambda i: f"{i + 1},{60 + i % 50},NA,{('Gd', 'TA', 'Ex')[i % 3]},{150000 + 1250 * i}",
            "Id,LotArea,Alley,Qual,SalePrice",
        ),
        {"Id": "left out", "LotArea": "number", "Alley": "left out", "Qual": "category"}, None,
        'kind="classification" or kind="regression"', {"kind": "regression"},
    ),
    "adult census, spaces after commas": Case(
        rows(
            lambda i: f"{20 + i % 50}, {('Private', '?', 'State-gov')[i % 3]}, {77516 + i * 31}, "
            f"{('<=50K', '>50K')[i % 2]}",
            "age, workclass, fnlwgt, income",
        ),
        {"age": "number", "workclass": "category", "fnlwgt": "number"}, 2,
    ),
    "bank marketing, semicolons and quotes": Case(
        rows(
            lambda i: f'{30 + i % 40};"{("admin.", "blue-collar")[i % 2]}";"{("no", "yes")[i % 3 == 0]}";"may";'
            f'{i * 7 % 50};"{("no", "yes")[i % 5 == 0]}"', '"age";"job";"housing";"month";"duration";"y"',
        ),
        {"age": "number", "job": "category", "housing": "yes/no", "month": "left out", "duration": "number"}, 2,
    ),
    "bicycle rentals, dates": Case(
        rows(
            lambda i: f"2011-{1 + i // 28:02d}-{1 + i % 28:02d},{i % 24},{number(i)},{16.5 + i * 0.25}",
            "dteday,hr,temp,cnt",
        ),
        {"dteday": "date", "hr": "number", "temp": "number"}, None, None, {"order_by": "dteday"},
    ),
    "air quality, decimal commas and empty columns": Case(
        rows(
            lambda i: f"{1 + i % 28:02d}/03/2004;{i % 24:02d}.00.00;{i / 4};"
            f"{comma(round(NORMAL[i, 1], 2))};{comma(round(NORMAL[i, 2], 3))};;",
            "Date;Time;CO;T;AH;;",
        ),
        {"Date": "date", "Time": "left out", "CO": "number", "T": "number", "column 6": "left out",
         "column 7": "left out"}, None, None, {"columns": {"Time": "leave out"}},
    ),
    "patients, several rows each": Case(
        rows(
            lambda i: f"P{i // 6:03d},{number(i)},{number(i, 1)},{('neg', 'pos')[i // 6 % 2]}", "patient,hb,crp,result"
        ),
        {"patient": "left out", "hb": "number", "crp": "number"}, 2, None, {"groups": "patient"},
    ),
    "spam, tab and a label first": Case(
        rows(lambda i: f"{('ham', 'spam')[i % 4 == 0]}\t{10 + i % 90}\t{i % 7}", "label\tlength\tcaps"),
        {"length": "number", "caps": "number"}, 2, None, {"target": "label"},
    ),
    "mushrooms, letters only": Case(
        rows(
            lambda i: f"{'ep'[i % 2]},{'xbs'[i % 3]},{'ny'[i * 7 % 2]},{'?' if i % 5 == 0 else 'b'}",
            "class,cap,colour,root",
        ),
        {"cap": "category", "colour": "yes/no", "root": "category"}, 2, None, {"target": "class"},
    ),
    "sensor log, comments and utc times": Case(
        "# device 7\n# unit: °C\n"
        + rows(
            lambda i: f"2024-05-{1 + i // 24:02d}T{i % 24:02d}:00:00Z,{number(i)},{('ok', 'fault')[i % 10 == 0]}",
            "time,temp,state",
        ),
        {"time": "date", "temp": "number"}, 2,
    ),
    "german export, cp1252": Case(
        rows(
            lambda i: f"{('Zürich', 'Köln', 'Bern')[i % 3]};1.{100 + i},5;{('gut', 'mäßig')[i % 2]}",
            "Stadt;Umsatz;Güte",
        ),
        {"Stadt": "category", "Umsatz": "number"}, 2, encoding="cp1252",
    ),
    "money and per cent": Case(
        rows(lambda i: f'"$1,{200 + i}.50",{i % 60}%,{("keep", "churn")[i % 3 == 0]}', "revenue,discount,outcome"),
        {"revenue": "number", "discount": "number"}, 2, packed=True,
    ),
    "weights in two units": Case(
        rows(lambda i: f"{50 + i} {('kg', 'lb')[i % 9 == 0]},{number(i)},{i % 2}", "weight,x,y"),
        {"weight": "left out", "x": "number"}, 2, "numbers must have one unit or none",
        {"columns": {"weight": "leave out"}},
    ),
    "dates of two readings": Case(
        rows(lambda i: f"{1 + i % 12}/{1 + i % 11}/2023,{number(i)},{i % 2}", "seen,x,y"),
        {"seen": "date", "x": "number"}, 2, "can be read in two ways", {"columns": {"seen": "date, month first"}},
    ),
    "a typing error among numbers": Case(
        rows(lambda i: f"{number(i) if i != 77 else '1O.5'},{number(i, 1)},{i % 2}", "a,b,y"),
        {"a": "number", "b": "number"}, 2, "row 77 .counted from 0. has '1O.5'", {"missing": ["1O.5"]},
    ),
    "a target with gaps, postcodes": Case(
        rows(lambda i: f"0{1000 + i % 4 * 111},{number(i)},{'' if i % 11 == 3 else 'ab'[i % 2]}", "postcode,x,y"),
        {"postcode": "category", "x": "number"}, 2, 'missing_target="leave out"', {"missing_target": "leave out"},
    ),
    "two columns of one name": Case(
        rows(lambda i: f"{number(i)},{number(i, 1)},{i % 2}", "x,x,y"), {"x": "number", "x_2": "number"}, 2,
        "rename one of them, to 'x_2'", {"rename": ("x,x,y", "x,x_2,y")},
    ),
    "a split of its own": Case(
        rows(lambda i: f"{number(i)},{('train', 'test')[i % 4 == 3]},{'ab'[i % 2]}", "x,subset,y"),
        {"x": "number", "subset": "left out"}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_table_is_taken_or_its_remedy_works(read_file: Read, name: str) -> None:
    case = CASES[name]
    options = dict(case.options)
    text = case.text

    def read(**options: Any) -> Prepared:
        content = text.encode(case.encoding)
        return read_file(gzip.compress(content) if case.packed else content, "csv", **options)

    if case.refused is not None:
        with pytest.raises(InvalidSpec, match=case.refused):
            read(**{key: value for key, value in options.items() if key == "target"})
        before, after = options.pop("rename", ("", ""))
        text = text.replace(before, after, 1)
    made = read(**options)
    assert {one.name: one.taken for one in made.fitted} == case.taken
    assert (None if made.classes is None else len(made.classes)) == case.classes
    inputs, targets = made.examples(np.arange(len(made.parts)))
    assert np.isfinite(inputs).all()
    assert np.isfinite(targets).all()
    assert all(np.isfinite(one["test"]["cost"]) for one in baselines(made))


def test_there_are_twenty() -> None:
    assert len(CASES) >= 20
