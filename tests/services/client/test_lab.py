"""Lab over real HTTP: submission, listing and errors."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from talweg.client import Lab
from talweg.errors import AccessDenied, Conflict, InvalidSpec, NotFound, TalwegError, Unreachable
from talweg.spec import RunSpec
from talweg.store import Store

SPEC: dict[str, Any] = {"problem": "quadratic", "optimizer": "sgd", "steps": 5}


def test_keywords_become_a_spec(lab: Lab) -> None:
    run = lab.submit(problem="quadratic", optimizer="adam", learning_rate=0.25, beta1=0.5, steps=7, seed=3)
    assert run.spec["optimizer"] == {
        "name": "adam",
        "learning_rate": 0.25,
        "beta1": 0.5,
        "beta2": 0.999,
        "epsilon": 1e-8,
    }
    assert (run.spec["steps"], run.spec["seed"], run.state, run.step, run.cost) == (7, 3, "queued", 0, None)


def test_specs_and_dicts_are_accepted(lab: Lab) -> None:
    for spec in (SPEC, RunSpec.model_validate(SPEC)):
        assert lab.submit(spec, seed=8).spec["seed"] == 8


def test_numpy_numbers_are_accepted(lab: Lab) -> None:
    import numpy as np

    start = np.array([0.5, -0.5])
    run = lab.submit(problem={"name": "rosenbrock", "start": start}, optimizer="sgd", steps=np.int64(3))
    assert run.spec["problem"]["start"] == [0.5, -0.5]


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"problem": "quadratik"}, ["problem", "quadratik", "did you mean 'quadratic'"]),
        ({"optimizer": "adm"}, ["optimizer", "adm", "did you mean 'adam'"]),
        ({"learning_rate": -1}, ["learning_rate", "(0, ∞)", "-1"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "finite", "nan"]),
        ({"learning_rat": 0.1}, ["learning_rat", "did you mean 'learning_rate'"]),
        ({"stpes": 5}, ["stpes", "did you mean 'steps'"]),
        ({"steps": 0}, ["steps", "0"]),
        ({"problem": object()}, ["spec", "plain data", "object"]),
    ],
)
def test_what_breaks_a_rule_is_an_invalid_spec_with_name_rule_and_value(
    lab: Lab, store: Store, keywords: dict[str, Any], said: list[str]
) -> None:
    before = len(store.runs(limit=500).items)
    with pytest.raises(InvalidSpec) as caught:
        lab.submit(**(SPEC | keywords))
    for word in said:
        assert word in str(caught.value)
    assert len(store.runs(limit=500).items) == before


def test_a_name_attaches_to_an_equal_run_and_conflicts_with_another(lab: Lab) -> None:
    first = lab.submit(SPEC, name="mine")
    assert lab.submit(SPEC, name="mine").id == first.id
    with pytest.raises(Conflict, match="mine"):
        lab.submit(SPEC, name="mine", seed=1)
    assert lab.run("mine").id == lab.run(first.id).id == first.id


@pytest.mark.parametrize("name", ["nothing", "a/b", "?", "#", "%2e", "ü", "a b"])
def test_an_unknown_run_or_study_is_not_found(lab: Lab, name: str) -> None:
    for find in (lab.run, lab.study):
        with pytest.raises(NotFound):
            find(name)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_is_a_path_is_refused(lab: Lab, name: str) -> None:
    with pytest.raises(InvalidSpec, match="name: must be an id or a name"):
        lab.run(name)


def test_a_strange_name_is_found_again(lab: Lab) -> None:
    name = "50% of α & ß; #1?"
    assert lab.submit(SPEC, name=name).id == lab.run(name).id


def test_runs_are_listed_newest_first(lab: Lab) -> None:
    made = [lab.submit(SPEC, seed=seed).id for seed in range(40, 44)]
    assert [run.id for run in lab.runs(limit=4)] == made[::-1]
    assert lab.runs(limit=0) == []
    assert lab.runs(state="failed") == []
    with pytest.raises(InvalidSpec, match="state"):
        lab.runs(state="done")


def test_the_catalogue_is_a_table(lab: Lab) -> None:
    assert "digits-mlp" in lab.problems().column("name")
    adam = next(row for row in lab.optimizers() if row["name"] == "adam")
    assert adam["settings"]["beta2"] == 0.999
    assert lab.status()["version"]


@pytest.mark.parametrize("token", [None, "another-token-than-the-right-one"])
def test_without_the_right_token_access_is_denied(lab: Lab, token: str | None) -> None:
    with Lab(lab.url, token=token) as stranger, pytest.raises(AccessDenied):
        stranger.runs()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "file:///etc/passwd"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpec, match="url: must begin with"):
        Lab(url)


@pytest.mark.parametrize("token", ["", "two words", "ünicode-token", "line\nbreak"])
def test_a_malformed_token_is_refused_and_not_shown(lab: Lab, token: str) -> None:
    with pytest.raises(InvalidSpec, match="token: must be one word") as caught:
        Lab(lab.url, token=token)
    assert not token or token not in str(caught.value)


def test_a_laboratory_that_does_not_answer_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Lab(f"http://127.0.0.1:{port}") as lab, pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
        lab.status()


def test_a_server_that_is_no_laboratory_is_reported() -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    with _answering(answer) as url, Lab(url) as lab, pytest.raises(TalwegError, match="answered 404, but not as"):
        lab.status()


def test_a_lost_answer_does_not_make_a_second_run(lab: Lab, address: Any, store: Store) -> None:
    before = {row.id for row in store.runs(limit=500).items}
    with _losing_one_answer(lab.url) as url, Lab(url, token=address.token) as shaky:
        run = shaky.submit(problem="quadratic", optimizer={"name": "sgd"}, steps=4, seed=77)
    assert {row.id for row in store.runs(limit=500).items} - before == {run.id}


def test_retries_print_nothing_to_stdout(lab: Lab, address: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with _losing_one_answer(lab.url) as url, Lab(url, token=address.token) as shaky:
        shaky.status()
    assert capfd.readouterr().out == ""


def test_a_closed_laboratory_can_be_closed_again(address: Any) -> None:
    lab = Lab(address.url, token=address.token)
    lab.close()
    lab.close()


def test_a_laboratory_shows_itself_in_a_notebook(lab: Lab) -> None:
    assert lab.url in repr(lab)
    page = lab._repr_html_()
    assert "Talweg" in page
    assert "<script" not in page


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A server that gives one connection this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        with _thread(serve):
            yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _losing_one_answer(url: str) -> Iterator[str]:
    """A way to `url` that carries two exchanges, and loses the first answer after the server has given it."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for lost in (True, False):
                client, _ = server.accept()
                with client, socket.create_connection((parts.hostname, parts.port)) as upstream:
                    request = client.recv(65536)
                    while b"\r\n\r\n" not in request or (b"POST" in request and b"}" not in request):
                        request += client.recv(65536)
                    upstream.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
                    answer = b"".join(iter(lambda: upstream.recv(65536), b""))
                    if not lost:
                        client.sendall(answer)

        with _thread(serve):
            yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _thread(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(timeout=600)
    assert not thread.is_alive()
