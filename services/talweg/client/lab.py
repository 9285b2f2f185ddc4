"""Lab: submit work to a laboratory, and find it again."""

import copy
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from talweg.client.administration import Dataset, Tokens, upload
from talweg.client.keywords import hyperparameters_of, run_spec, study_spec
from talweg.client.run import Run
from talweg.client.run_or_study import every
from talweg.client.study import Study
from talweg.client.table import Table, card
from talweg.client.wire import Wire, copy_with_wire, path_part
from talweg.errors import InvalidSpec
from talweg.settings import settings


class Lab:
    """A laboratory. `Lab()` starts or finds the local one; `Lab("https://…", token=…)` talks to a shared one.

    The environment's TALWEG_URL, TALWEG_TOKEN and TALWEG_HOME stand in for arguments that are not given.

    It pickles, as its runs and studies do, for joblib, multiprocessing and caches: as the local stack's folder, or as
    the URL, and then the other side takes the token from its TALWEG_TOKEN or TALWEG_TOKEN_FILE. A pickle never holds a
    token: where one was given as an argument alone, pickling raises InvalidSpec. A copy has connections of its own.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, home: str | os.PathLike[str] | None = None
    ) -> None:
        """Connect.

        Args:
            url: of the API; None for the local stack, or for TALWEG_URL where that is set.
            token: the bearer token; the local stack brings its own.
            home: the local stack's folder.

        Raises:
            InvalidSpec: the URL or the token can be none.
            LocalStackError: the local stack does not start; the message says why.
        """
        if url is not None and home is not None:
            raise InvalidSpec("Lab: takes a url or the home of a local stack, got both")
        read = settings()
        url = url or (read.url if home is None else None)
        if url is None:
            from talweg.local import ensure

            here = ensure(Path(home) if home is not None else read.home)
            self._wire = Wire(here.url, here.token, home=here.home)
        else:
            if token is None and read.token is not None:
                token = read.token.get_secret_value()
            self._wire = Wire(url, token)
        self._hyperparameters: dict[str, list[str]] = {}

    @classmethod
    def from_env(cls) -> Self:
        """The shared laboratory that TALWEG_URL and TALWEG_TOKEN (or TALWEG_TOKEN_FILE) name; starts none.

        Raises:
            InvalidSpec: TALWEG_URL is not set.
        """
        url = settings().url
        if url is None:
            raise InvalidSpec("TALWEG_URL: must name a laboratory, as in https://talweg.example; it is not set")
        return cls(url)

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._wire.url

    def close(self) -> None:
        """Close the connections; what was submitted goes on."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, spec: object = None, /, **keywords: Any) -> Run:
        """Hand in one run: `submit(problem="digits-mlp", optimizer="adam", learning_rate=1e-3, steps=500)`.

        Args:
            spec: a RunSpec or its JSON as a dict; keywords replace its keys.
            keywords: keys of RunSpec; any other is a hyperparameter of the optimizer.

        Raises:
            InvalidSpec: something breaks a rule; the message names it, the rule and the value.
            Conflict: the name is taken.
        """
        return Run(self._wire, self._wire.post("/v1/runs", run_spec(spec, keywords, self._hyperparameters_of)))

    def compare(self, spec: object = None, /, **keywords: Any) -> Study:
        """Hand in a study: `compare(problem="digits-mlp", optimizers=["sgd", "adam"], seeds=5)`.

        Args:
            spec: a StudySpec or its JSON as a dict; keywords replace its keys.
            keywords: keys of StudySpec.

        Raises:
            InvalidSpec: something breaks a rule; the message names it, the rule and the value.
            Conflict: the name is taken.
        """
        return Study(self._wire, self._wire.post("/v1/studies", study_spec(spec, keywords)))

    def run(self, id_or_name: str) -> Run:
        """The run of that id or name; raises NotFound."""
        return Run(self._wire, self._wire.get(f"/v1/runs/{path_part(id_or_name)}"))

    def runs(self, *, study: str | None = None, state: str | None = None, limit: int = 100) -> list[Run]:
        """Runs, newest first: of a study (id or name), in a state, at most `limit`."""
        views = every(self._wire, "/v1/runs", limit=limit, study=study, state=state)
        return [Run(self._wire, view) for view in views]

    def study(self, id_or_name: str) -> Study:
        """The study of that id or name; raises NotFound."""
        return Study(self._wire, self._wire.get(f"/v1/studies/{path_part(id_or_name)}"))

    def studies(self, *, limit: int = 100) -> list[Study]:
        """Studies, newest first, at most `limit`."""
        return [Study(self._wire, view) for view in every(self._wire, "/v1/studies", limit=limit)]

    def upload(
        self,
        name: str,
        data: object,
        targets: object = None,
        *,
        target: str | None = None,
        kind: str = "auto",
        standardise: bool = True,
    ) -> Dataset:
        """Keep a dataset of one's own: `lab.upload("mine", "mine.csv")` or `lab.upload("mine", inputs, targets)`.

        Args:
            name: what specs name it by: {"dataset": "mine", "network": […], "cost": "cross_entropy"}.
            data: a file (.csv, .parquet, .npz, .npy), a table of pandas, or an array of inputs (rows, …).
            targets: beside an array: labels of any kind (rows,), or numbers (rows,) or (rows, outputs).
            target: in a table, the column to predict; None for the last.
            kind: labels, values, or auto: text, truth values and integers are labels.
            standardise: give each input column mean 0 and deviation 1, as measured on the training split.

        Raises:
            InvalidSpec: something breaks a rule; the message names column and row.
            TooLarge: it takes more than the laboratory allows.
            Conflict: the name stands for other data.
        """
        return upload(self._wire, name, data, targets, target=target, kind=kind, standardise=standardise)

    def dataset(self, digest_or_name: str) -> Dataset:
        """An uploaded dataset; raises NotFound."""
        return Dataset(self._wire.get(f"/v1/datasets/{path_part(digest_or_name)}"))

    def datasets(self) -> Table:
        """Every uploaded dataset: name, rows, what its targets are, digest."""
        columns = ("name", "rows", "inputs", "kind", "size", "digest")
        rows = self._wire.get("/v1/datasets")
        return Table(columns, tuple(tuple(row[column] for column in columns) for row in rows))

    @property
    def tokens(self) -> Tokens:
        """Who may ask: make, list and revoke tokens, with one of scope `admin`."""
        return Tokens(self._wire)

    def problems(self) -> Table:
        """The catalogue of problems: name, what it is, its settings with their defaults."""
        return self._catalogue("problems")

    def optimizers(self) -> Table:
        """The catalogue of optimizers: name, formula, family, state, evaluations a step, paper, hyperparameters."""
        return self._catalogue("optimizers", "family", "memory", "evaluations", "paper")

    def schedules(self) -> Table:
        """The catalogue of schedules: name, what it does, the learning rate's factor, its settings with defaults."""
        return self._catalogue("schedules", "formula")

    def status(self) -> dict[str, Any]:
        """Versions, how much waits, who works, and where MLflow is."""
        status: dict[str, Any] = self._wire.get("/v1/status")
        return status

    def troubles(self) -> list[dict[str, str]]:
        """What is wrong (`what`) and what to do about it (`remedy`), the gravest first; empty where all is well."""
        troubles: list[dict[str, str]] = self._wire.get("/v1/troubles")
        return troubles

    def __copy__(self) -> Self:
        """The same laboratory over connections of its own."""
        return copy_with_wire(self, copy.copy(self._wire))

    def __repr__(self) -> str:
        return f"<Lab {self.url}>"

    def _repr_html_(self) -> str:
        status = self.status()
        return card(
            "Talweg",
            self.url,
            {key: value for key, value in status.items() if key != "mlflow_url"},
            link=status["mlflow_url"],
        )

    def _catalogue(self, noun: str, *more: str) -> Table:
        columns = ("name", "description", *more, "settings")
        rows = self._wire.get(f"/v1/{noun}")
        # An older laboratory says less of each.
        return Table(columns, tuple(tuple(row.get(column) for column in columns) for row in rows))

    def _hyperparameters_of(self, optimizer: str) -> list[str] | None:
        """The names of an optimizer's hyperparameters; the catalogue is asked for once."""
        if not self._hyperparameters:
            self._hyperparameters.update(hyperparameters_of(self._wire))
        return self._hyperparameters.get(optimizer)
