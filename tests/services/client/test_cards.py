"""Cards for notebooks hold no element that came from a name."""

from talweg.client.cards import card

EVIL = '<script>alert("1")</script>'


def test_everything_in_a_card_is_escaped() -> None:
    page = card(EVIL, EVIL, {EVIL: EVIL}, {EVIL: EVIL}, 'https://x/"><script>')
    assert "<script" not in page
    assert "<details>" in page


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    assert "href" not in card("run", "", {}, {}, "javascript:alert(1)")
    assert 'href="http://127.0.0.1:5055/#/runs/1"' in card("run", "", {}, {}, "http://127.0.0.1:5055/#/runs/1")
