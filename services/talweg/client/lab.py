"""Lab: submit runs and studies to a laboratory, and find them."""

import copy
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from talweg.client.datasets import Dataset, upload
from talweg.client.keywords import hyperparameters_of, run_spec, study_spec
from talweg.client.own_rules import hyperparameters_of_own, replaced, with_own
from talweg.client.run import Run
from talweg.client.run_or_study import every
from talweg.client.study import SeedPlan, Study, share
from talweg.client.table import Table, card
from talweg.client.tokens import Tokens
from talweg.client.waiting import say
from talweg.client.wire import Wire, copy_with_wire, path_part
from talweg.errors import InvalidSpec
from talweg.settings import settings

# Of a pilot study, whose spread says how many seeds a difference takes.
PILOT_SEEDS = 3


class Lab:
    """A laboratory. `Lab()` finds or starts the local one; `Lab("https://…", token=…)` connects to a shared one.

    TALWEG_URL, TALWEG_TOKEN and TALWEG_HOME in the environment replace missing arguments.

    A Lab, its runs and its studies can be pickled, for joblib, multiprocessing and caches. The pickle holds the local
    stack's folder or the URL, never a token: the reader of a URL takes the token from its TALWEG_TOKEN or
    TALWEG_TOKEN_FILE, and pickling raises InvalidSpec where the token was only an argument. A copy has its own
    connections.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, home: str | os.PathLike[str] | None = None
    ) -> None:
        """Connect.

        Args:
            url: of the API; None for TALWEG_URL, or the local stack where that is not set.
            token: the bearer token; not needed for the local stack.
            home: the local stack's folder.

        Raises:
            InvalidSpec: the URL or the token is malformed.
            LocalStackError: the local stack does not start; the message holds the reason.
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
        """The shared laboratory at TALWEG_URL with TALWEG_TOKEN (or TALWEG_TOKEN_FILE); never starts a local one.

        Raises:
            InvalidSpec: TALWEG_URL is not set.
        """
        url = settings().url
        if url is None:
            raise InvalidSpec("TALWEG_URL: must name a laboratory, as in https://talweg.example; it is not set")
        return cls(url)

    @property
    def url(self) -> str:
        """The URL of the API."""
        return self._wire.url

    def close(self) -> None:
        """Close the connections; submitted work continues."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, spec: object = None, /, **keywords: Any) -> Run:
        """Submit a run: `submit(problem="digits-mlp", optimizer="adam", learning_rate=1e-3, steps=500)`.

        An optimizer of one's own is the class itself, from a file or a notebook cell, or "rules.py:Mine"; in a local
        laboratory only.

        `dataset="mine"` in place of the problem trains on an uploaded dataset, with the network and the cost that
        `network=` and `cost=` describe, or that the laboratory chooses ("auto").

        Args:
            spec: a RunSpec or its JSON as a dict; keywords replace its keys.
            keywords: keys of RunSpec; any other is a hyperparameter of the optimizer.

        Raises:
            InvalidSpec: the spec breaks a rule; the message names the key, the rule and the value.
            Conflict: the name is taken.
        """
        spec, keywords = with_own(self._wire, spec), replaced(self._wire, keywords)
        return Run(self._wire, self._wire.post("/v1/runs", run_spec(spec, keywords, self._hyperparameters_of)))

    def compare(self, spec: object = None, /, **keywords: Any) -> Study:
        """Submit a study: `compare(problem="digits-mlp", optimizers=["sgd", "adam"])`.

        `dataset="mine"` in place of the problem compares on an uploaded dataset: see `submit`.

        Every optimizer trains with the same seeds. With `seeds="auto"`, the default, there are enough to settle every
        comparison, and at least 10. What a smaller number cannot settle is reported on stderr. `suite="standard"` in
        place of the problem trains on each problem of that suite, with its steps and target. Optimizers of one's own
        stand among the others, as in `submit`: `optimizers=["adam", Mine]`.

        Args:
            spec: a StudySpec or its JSON as a dict; keywords replace its keys.
            keywords: keys of StudySpec.

        Raises:
            InvalidSpec: the spec breaks a rule; the message names the key, the rule and the value.
            Conflict: the name is taken.
        """
        spec, keywords = with_own(self._wire, spec), replaced(self._wire, keywords)
        study = Study(self._wire, self._wire.post("/v1/studies", study_spec(spec, keywords)))
        for note in study.notes:
            say(note)
        return study

    def plan(self, spec: object = None, /, *, difference: float | str, **keywords: Any) -> SeedPlan:
        """Train a pilot study of 3 seeds, and say how many seeds find a difference.

            lab.plan(problem="digits-mlp", optimizers=["sgd", "adam"], difference="10%")

        Args:
            spec: as in `compare`.
            difference: in the final cost, as a share: 0.1 or "10%".
            keywords: keys of StudySpec; `seeds` sets another number for the pilot.

        Raises:
            InvalidSpec: the spec breaks a rule, or the difference is not between 0 and 1.
        """
        if not 0 < (wanted := share(difference)) < 1:
            raise InvalidSpec(f"difference: must be above 0 % and below 100 %, got {100 * wanted:g} %")
        spec, keywords = with_own(self._wire, spec), replaced(self._wire, keywords)
        asked = study_spec(spec, {"seeds": PILOT_SEEDS} | keywords)
        return Study(self._wire, self._wire.post("/v1/studies", asked)).wait().plan(wanted)

    def run(self, id_or_name: str) -> Run:
        """The run of that id or name; raises NotFound."""
        return Run(self._wire, self._wire.get(f"/v1/runs/{path_part(id_or_name)}"))

    def runs(self, *, study: str | None = None, state: str | None = None, limit: int = 100) -> list[Run]:
        """Runs, newest first, at most `limit`; only those of a study (id or name) or in a state, where given."""
        views = every(self._wire, "/v1/runs", limit=limit, study=study, state=state)
        return [Run(self._wire, view) for view in views]

    def study(self, id_or_name: str) -> Study:
        """The study of that id or name; raises NotFound."""
        return Study(self._wire, self._wire.get(f"/v1/studies/{path_part(id_or_name)}"))

    def studies(self, *, limit: int = 100) -> list[Study]:
        """Studies, newest first, at most `limit`."""
        return [Study(self._wire, view) for view in every(self._wire, "/v1/studies", limit=limit)]

    def upload(self, name: str, data: object, targets: object = None, *, show: bool = True, **options: Any) -> Dataset:
        """Upload a dataset: `lab.upload("mine", "mine.csv")` or `lab.upload("mine", inputs, targets)`.

        What was done with each column is printed; `dataset.report()` returns it. Gaps, categories and scales are
        measured on the training part alone. Other data under a name is its next version, mine@2.

        Args:
            name: for use in specs: `lab.compare(dataset="mine", optimizers=["sgd", "adam"])`.
            data: a file (.csv and other text tables, packed or not, .parquet, .feather, .npz, .npy), a folder or a zip
                of images by class, a table of pandas, polars or Arrow, a dict of columns, a structured array, a bunch
                of scikit-learn, a dataset of PyTorch, or an array of inputs (rows, …).
            targets: for inputs: labels of any kind (rows,), or numbers (rows,) or (rows, outputs).
            show: print what was done.
            options: target, kind, standardise, columns, categories, groups, order_by, split, split_seed, missing,
                missing_target, header, decimal, encoding, image_size: see `talweg.client.datasets.UploadOptions`.

        Raises:
            InvalidSpec: the data break a rule; the message names column and row, and what to write.
            TooLarge: it exceeds the laboratory's limits.
        """
        return upload(self._wire, name, data, targets, options, show=show)

    def dataset(self, digest_or_name: str) -> Dataset:
        """An uploaded dataset by name (the latest version), name@version or digest; raises NotFound."""
        return Dataset(self._wire.get(f"/v1/datasets/{path_part(digest_or_name)}"))

    def datasets(self) -> Table:
        """Every uploaded dataset: name, version, rows, shape of inputs, kind of targets, size, digest."""
        columns = ("name", "version", "rows", "inputs", "kind", "size", "digest")
        rows = self._wire.get("/v1/datasets")
        return Table(columns, tuple(tuple(row[column] for column in columns) for row in rows))

    @property
    def tokens(self) -> Tokens:
        """Create, list and revoke tokens; needs a token with scope `admin`."""
        return Tokens(self._wire)

    def problems(self) -> Table:
        """The catalogue of problems: name, description, settings with defaults."""
        return self._catalogue("problems")

    def optimizers(self) -> Table:
        """The catalogue of optimizers: name, formula, family, state, evaluations a step, paper, hyperparameters."""
        return self._catalogue("optimizers", "family", "memory", "evaluations", "paper")

    def schedules(self) -> Table:
        """The catalogue of schedules: name, description, formula of the factor, settings with defaults."""
        return self._catalogue("schedules", "formula")

    def status(self) -> dict[str, Any]:
        """Versions, waiting work, workers, and the address of MLflow."""
        status: dict[str, Any] = self._wire.get("/v1/status")
        return status

    def troubles(self) -> list[dict[str, str]]:
        """Problems (`what`) and what to do (`remedy`), the most severe first; empty where there are none."""
        troubles: list[dict[str, str]] = self._wire.get("/v1/troubles")
        return troubles

    def __copy__(self) -> Self:
        """The same laboratory with its own connections."""
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
        # An older laboratory has fewer columns.
        return Table(columns, tuple(tuple(row.get(column) for column in columns) for row in rows))

    def _hyperparameters_of(self, optimizer: str) -> list[str] | None:
        """The names of an optimizer's hyperparameters; the catalogue is requested once."""
        if (own := hyperparameters_of_own(optimizer)) is not None:
            return own
        if not self._hyperparameters:
            self._hyperparameters.update(hyperparameters_of(self._wire))
        return self._hyperparameters.get(optimizer)
