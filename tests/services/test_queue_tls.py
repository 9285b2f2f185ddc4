"""Celery's settings for a broker over TLS; tests/compose connects to real servers."""

import ssl

import pytest

from talweg.errors import InvalidSpec
from talweg.queue import broker_settings, create_app


@pytest.mark.parametrize(
    "url", ["redis://:pass@host/0", "redis+socket:///run/broker.sock?virtual_host=0", "amqp://host//"]
)
def test_a_url_without_tls_stays_as_it_is(url: str) -> None:
    assert broker_settings(url) == {"broker_url": url}


def test_redis_s_certificate_is_checked_by_default() -> None:
    with create_app(lambda: "rediss://:pass@host:6390/0").connection_for_read() as connection:
        assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_redis_s_own_authority_is_kept() -> None:
    url = "rediss://:pass@host:6390/0?ssl_ca_certs=/etc/ca.pem"
    with create_app(lambda: url).connection_for_read() as connection:
        assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/ca.pem"}


def test_rabbitmq_s_certificate_and_name_are_checked() -> None:
    url = "amqps://me:pass@host:5671//?ssl_ca_certs=/etc/ca.pem&heartbeat=10"
    found = broker_settings(url)
    assert found["broker_url"] == "amqps://me:pass@host:5671//?heartbeat=10"
    assert found["broker_use_ssl"] == {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": "/etc/ca.pem",
        "server_hostname": "host",
    }
    with create_app(lambda: url).connection_for_read() as connection:
        assert connection.ssl == found["broker_use_ssl"]


def test_an_unknown_certificate_check_is_refused_without_the_password() -> None:
    with pytest.raises(InvalidSpec, match="got 'maybe'") as caught:
        broker_settings("rediss://:secret@host/0?ssl_cert_reqs=maybe")
    assert "secret" not in str(caught.value)
