"""Broker URLs over TLS: the server's certificate and name are checked unless the URL says otherwise.

Celery's own defaults differ by transport: of `rediss://` it checks nothing unless it is asked to, of `amqps://` not the
name, and where the certificates of one's own authority lie can be told in the URL of the former alone.
"""

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from talweg.errors import InvalidSpec

_CHECKS = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


def broker_settings(url: str) -> dict[str, Any]:
    """Celery's `broker_url`, and `broker_use_ssl` where it needs one.

    In the query of a rediss:// or amqps:// URL: ssl_ca_certs, ssl_certfile and ssl_keyfile are paths, ssl_cert_reqs is
    required (the default), optional or none. Raises InvalidSpec for another check, without the URL: it may hold a
    password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("rediss", "amqps"):
        return {"broker_url": url}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    check = query.setdefault("ssl_cert_reqs", "required")
    if check not in _CHECKS:
        raise InvalidSpec(f"broker_url: ssl_cert_reqs must be one of {', '.join(_CHECKS)}, got {check!r}")
    if parts.scheme == "rediss":
        return {"broker_url": urlunsplit(parts._replace(query=urlencode(query)))}
    own = {name: query.pop(name) for name in sorted(query) if name.startswith("ssl_")}
    options: dict[str, Any] = {"cert_reqs": _CHECKS[own.pop("ssl_cert_reqs")]}
    options |= {name.removeprefix("ssl_"): value for name, value in own.items()}
    if options["cert_reqs"] != ssl.CERT_NONE:
        options["server_hostname"] = parts.hostname
    return {"broker_url": urlunsplit(parts._replace(query=urlencode(query))), "broker_use_ssl": options}
