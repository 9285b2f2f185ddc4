"""The password of our MLflow server."""

import base64

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from talweg.tracking.mlflow_process import Password

SECRET = "correct horse"  # noqa: S105 - of this test


@pytest.fixture
def client() -> TestClient:
    """A server behind a password, with a page and a health check."""
    app = Starlette(
        routes=[Route(path, lambda _: PlainTextResponse("here"), methods=["GET", "POST"]) for path in ("/", "/health")]
    )
    app.add_middleware(Password, name="talweg", password=SECRET)
    return TestClient(app)


def basic(text: str) -> str:
    """The header for `name:password`."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_the_right_name_and_password_are_let_through(client: TestClient) -> None:
    assert client.get("/", auth=("talweg", SECRET)).text == "here"


@pytest.mark.parametrize("header", ["", "Basic", basic("talweg:"), basic(f"other:{SECRET}"), f"Bearer {SECRET}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_other_request_is_asked_for_them(client: TestClient, header: str, method: str) -> None:
    answer = client.request(method, "/", headers={"Authorization": header})
    assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert "here" not in answer.text


def test_a_request_without_or_with_two_passwords_is_refused(client: TestClient) -> None:
    assert client.get("/").status_code == 401
    twice = [("Authorization", basic(f"talweg:{SECRET}")), ("Authorization", basic("talweg:wrong"))]
    assert client.get("/", headers=twice).status_code == 401


def test_whether_the_server_is_up_needs_no_password(client: TestClient) -> None:
    assert client.get("/health").text == "here"
