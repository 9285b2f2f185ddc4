"""`talweg token`, `dataset` and `mirror`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.output import AsJson, Home, Wide, as_json, clean, data, hint, laboratory, listing, read_settings, say
from talweg.cli.stack import run_module
from talweg.cli.submit import given, steer
from talweg.errors import InvalidSpec
from talweg.local.folder import Folder

tokens_app = typer.Typer(no_args_is_help=True, help="Tokens: who may use the API, and for what.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
datasets_app = typer.Typer(no_args_is_help=True, help="Your own datasets: add files, list them.")


@tokens_app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for it, such as ada-laptop.")],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    expires: Annotated[str, typer.Option(help="12h, 90d, 4w, a date such as 2030-01-31, or never.")] = "90d",
    runs: Annotated[int | None, typer.Option(help="Runs queued or running at once.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps that these runs have still to make.")] = None,
    size: Annotated[int | None, typer.Option("--bytes", help="Bytes of uploaded datasets.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Make a token and print it, once: only its digest is kept."""
    end = _end(expires)
    with laboratory(home) as lab:
        token = lab.tokens.create(name, scope, expires=end, runs=runs, steps=steps, bytes=size, rate=rate)
        url = lab.url
    if json:
        as_json({"name": name, "scope": scope, "token": token})
        return
    data(token)
    say("It is shown this once. Keep it out of command lines: other users can list them.")
    hint(f"set TALWEG_URL={url} and TALWEG_TOKEN (or TALWEG_TOKEN_FILE) for Lab() and talweg")


@tokens_app.command("list")
def list_tokens(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every token: its scope, when it expires, and its limits."""
    with laboratory(home) as lab:
        found = lab.tokens.list()
    listing(found, json=json, wide=wide, then="talweg token revoke NAME")


@tokens_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As talweg token list shows it.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """End a token: its next request is refused."""
    with laboratory(home) as lab:
        lab.tokens.revoke(name)
    as_json({"name": name, "revoked": True}) if json else data(f"{clean(name)}: revoked")
    hint("talweg token list")


def _end(text: str) -> datetime | timedelta | None:
    """When a token ends; raises InvalidSpec."""
    if text == "never":
        return None
    span = _SPAN.fullmatch(text)
    if span is not None:
        return timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSpec(f"expires: must be like 12h, 90d, 4w, 2030-01-31 or never, got {text!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@datasets_app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(help="A text table (.csv, .tsv, .csv.gz), .parquet, .feather, .npz, .npy, or images by class."),
    ],
    name: Annotated[str | None, typer.Option(help="Its name in specs.", show_default="the file's")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", show_default="the last")] = None,
    kind: Annotated[str, typer.Option(help="What targets are: classification, regression or auto.")] = "auto",
    standardise: Annotated[
        bool, typer.Option(help="Give numbers mean 0 and deviation 1, by the training part.")
    ] = True,
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=number, category, yes/no, date or leave out; repeat it.")
    ] = None,
    categories: Annotated[
        int | None, typer.Option(help="Categories of a text column with an input each.", show_default="20")
    ] = None,
    groups: Annotated[str | None, typer.Option(help="A column: rows equal in it are in one part.")] = None,
    order_by: Annotated[str | None, typer.Option(help="A column: the last rows by it are the test part.")] = None,
    split: Annotated[str | None, typer.Option(help="A column that holds train, validation or test.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Of a random split.", show_default="0")] = None,
    missing: Annotated[list[str] | None, typer.Option(help="A text that counts as missing; repeat it.")] = None,
    missing_target: Annotated[
        str | None, typer.Option(help="Rows without a target: refuse or leave out.", show_default="refuse")
    ] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line names the columns.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal separator.", show_default="as it looks")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a text.", show_default="detected")] = None,
    image_size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH that images are scaled to.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Upload a file, for use in specs, and show what was done with each column."""
    if not file.exists():
        raise InvalidSpec(f"{file}: must be an existing file")
    options = given(
        target=target, kind=kind, standardise=standardise, columns=_columns(column or []) or None, groups=groups,
        categories=categories, order_by=order_by, split=split, split_seed=split_seed, missing=missing or None,
        missing_target=missing_target, header=header, decimal=decimal, encoding=encoding, image_size=_size(image_size),
    )  # fmt: skip
    with laboratory(home) as lab:
        made = lab.upload(name or _stem(file), file, show=False, **options)
    as_json(made.view) if json else data(clean(made.summary(), keep="\n"))
    hint(f"talweg compare --dataset {clean(made.name)!r} sgd adam")


def _columns(given: list[str]) -> dict[str, str]:
    """`age=number` as {"age": "number"}; raises InvalidSpec."""
    found = {}
    for text in given:
        name, equals, taken = text.rpartition("=")
        if not equals or not name:
            raise InvalidSpec(f"column: is written NAME=number, NAME=category or NAME='leave out', got {text!r}")
        found[name] = taken.strip()
    return found


def _size(text: str | None) -> list[int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InvalidSpec(f"image-size: must be HEIGHTxWIDTH, as in 32x32, got {text!r}")
    return [int(height), int(width)]


def _stem(file: Path) -> str:
    """The file's name without its endings: mine of mine.csv.gz."""
    return file.name.partition(".")[0] or file.name


@datasets_app.command()
def show(
    name: Annotated[str, typer.Argument(help="As talweg dataset list shows it; NAME@2 is its second version.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """What was done with each column of a dataset, its parts and its baselines."""
    with laboratory(home) as lab:
        found = lab.dataset(name)
    as_json(found.view) if json else data(clean(found.summary(), keep="\n"))
    hint(f"talweg compare --dataset {clean(found.name)!r} sgd adam")


@datasets_app.command("list")
def list_datasets(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every uploaded dataset."""
    with laboratory(home) as lab:
        found = lab.datasets()
    listing(found, json=json, wide=wide, then="talweg dataset show NAME, talweg dataset add FILE")


# The module that reads and writes archives.
_ARCHIVE = "talweg.tracking.archive"


def mirror(
    name: Annotated[
        str | None, typer.Argument(help="A run or a study with --again, a study with --to.", show_default="all")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also send what was sent before.")] = False,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Another MLflow server.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Send a run or a study to MLflow again, or every record to another MLflow server, once.

    The laboratory's own server gets new records by itself; --again is for a server that lost some. What was deleted
    there stays deleted. Credentials: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN.
    """
    if again == (to is not None) or (again and name is None):
        raise InvalidSpec(
            "mirror: needs NAME --again, to send it to MLflow once more, or --to URL, to send all to another server; "
            "new records get to MLflow by themselves"
        )
    if to is not None:
        mirror_to(to, name, home)
        return
    work = steer("mirror_again", str(name), home, json)
    hint(f"talweg ui {clean(work.name)}")


def mirror_to(url: str, study: str | None, home: Path | None) -> None:
    """Send records to another MLflow server, in a new process."""
    variables = _with_databases("mirror: --to", home)
    run_module("talweg.tracking", "--to", url, *([] if study is None else [study]), environment=variables)
    hint(f"open {url} in a browser")


def archive(
    study: Annotated[str, typer.Argument(help="Id or name of a study that is over.")],
    file: Annotated[Path, typer.Argument(help="A new Parquet file.")],
    home: Home = None,
) -> None:
    """Write all records of a study to a file, from which `talweg restore` reads them back bit for bit."""
    run_module(_ARCHIVE, "archive", study, str(file), environment=_with_databases("archive:", home))
    hint(f"talweg forget {clean(study)}, which frees its space; talweg restore {clean(str(file))} brings it back")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `talweg archive` wrote.")],
    home: Home = None,
) -> None:
    """Bring an archived study back, with every record as it was. It gets to MLflow anew."""
    run_module(_ARCHIVE, "restore", str(file), environment=_with_databases("restore:", home))


def forget(
    study: Annotated[str, typer.Argument(help="Id or name of a study that is over.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Delete a study, its runs and their records from the laboratory and from MLflow, for good.

    Asks first, and says how much it is. Uploaded datasets stay. In a shared laboratory only the owner of the database
    may do it: set TALWEG_DATABASE_URL to the owner's.
    """
    options = ["--yes"] if yes else []
    run_module(_ARCHIVE, "forget", study, *options, environment=_with_databases("forget:", home))


def _with_databases(what: str, home: Path | None) -> dict[str, str]:
    """The environment of a process that reads the databases of the laboratory and of its MLflow server."""
    from talweg.local.stack_plan import child_environment
    from talweg.mlflow_server import DATABASE_VARIABLE, database_of

    settings = read_settings(home=home)
    folder = Folder.of(settings.home)
    variables = child_environment(settings, folder)
    if settings.database_url is None:
        if settings.url is not None and home is None:
            raise InvalidSpec(f"{what} reads the laboratory's database; TALWEG_DATABASE_URL must name it")
        variables["TALWEG_DATABASE_URL"] = f"sqlite:///{folder.database}"
    if settings.mlflow_url is None and settings.mlflow_database_url is None and (folder.mlflow / "mlflow.db").exists():
        variables[DATABASE_VARIABLE] = database_of(folder.mlflow)
    return variables
