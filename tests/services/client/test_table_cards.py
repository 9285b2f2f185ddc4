"""Cards for notebooks escape every name."""

from talweg.client import Explanation, Table
from talweg.client.analysis import Verification
from talweg.client.table import card

EVIL = '<script>alert("1")</script>'


def test_everything_in_a_card_is_escaped() -> None:
    page = card(EVIL, EVIL, {EVIL: EVIL}, {EVIL: EVIL}, 'https://x/"><script>')
    assert "<script" not in page
    assert "<details>" in page


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    assert "href" not in card("run", "", {}, {}, "javascript:alert(1)")
    assert 'href="http://127.0.0.1:5055/#/runs/1"' in card("run", "", {}, {}, "http://127.0.0.1:5055/#/runs/1")


def test_answers_of_a_record_are_escaped_too() -> None:
    findings = Table(("what", "agreed"), ((EVIL, 1),))
    found = Verification(EVIL, False, 3, findings, (EVIL,), None, {})
    for page in (found._repr_html_(), Explanation(EVIL, {})._repr_html_()):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
