"""Signatures of webhooks, by the Standard Webhooks specification, as Codat's delivery service Svix makes them.

What is signed is ``{id}.{timestamp}.{body}``, with HMAC-SHA256, under the key that the secret holds in base64 after
``whsec_``. The headers are ``webhook-id``, ``webhook-timestamp`` (Unix seconds of the attempt) and
``webhook-signature``: entries such as ``v1,{base64}``, separated by spaces, more than one while a secret is rotated.
Svix names the headers ``svix-id`` and so on, too.

The packages ``standardwebhooks`` 1.1.0 and ``svix`` 2.9.1 do the same, and the tests compare this module with them.
They are not used here, because of what they make of malformed input, which anybody can send to an open port:

===========================================  ======================  ================
input                                        the packages            this module
===========================================  ======================  ================
an entry ``v1`` or ``v1,a,b``                ``ValueError``          does not match
an entry whose base64 is malformed           ``binascii.Error``      does not match
an entry with characters that base64 lacks   they are passed over    does not match
a body that is not UTF-8                     ``UnicodeDecodeError``  verified as bytes
a webhook's id with half a character         ``UnicodeEncodeError``  refused
===========================================  ======================  ================

Where such an exception is not caught, the answer is a 500, and Codat sends the webhook again.

Sources: https://docs.codat.io/using-the-api/webhooks/overview, and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from airflow_provider_codat.api.errors import CodatInputError, CodatWebhookRefused

TOLERANCE = 300
"""The most seconds that a webhook's timestamp may differ from the receiver's clock."""

_FAMILIES = ("webhook", "svix")
_PREFIX = "whsec_"
_SHORTEST_KEY = 24  # bytes, by the specification
_MESSAGE_ID = re.compile(
    r"[!-\-/-~]{1,255}"
)  # printable ASCII but for the full stop, which ends the id in what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_FIX = "copy the whole signing secret, 'whsec_' and base64, of the webhook consumer from the Codat Portal"


def verified_message_id(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float) -> str:
    """Return the id of a webhook that carries a valid signature. It is the same in all attempts to deliver it.

    :param headers: the headers of the request, their names in any case. The three ``webhook-`` headers are used if all
        are there, else the three ``svix-`` headers.
    :param body: the body as it came, byte for byte.
    :param secrets: the secrets of the consumer, each ``whsec_...``. While one is rotated, give the old and the new one.
    :param now: the time, in epoch seconds. The webhook's timestamp may differ from it by 300 seconds.
    :raises CodatWebhookRefused: the request is not proved to be Codat's; the error says why, and shows no secret and no
        signature.

    Source: https://docs.codat.io/using-the-api/webhooks/overview.
    """
    message_id, timestamp, signatures = _checked_headers(headers, now)
    entries = [entry.partition(",") for entry in signatures.split()]
    given = [value.encode(errors="replace") for version, _, value in entries if version == "v1"]
    if not given:
        raise CodatWebhookRefused("the signature header has no entry of version v1")
    keys = _keys(secrets)
    if not keys:
        raise CodatWebhookRefused(f"the receiver has no well-formed secret: {_FIX}")
    for key in keys:
        expected = _signature(key, message_id, timestamp, body)
        # All are compared, so that the time taken does not tell which one matches.
        if sum(hmac.compare_digest(expected, each) for each in given):
            return message_id
    raise CodatWebhookRefused(f"no signature matches under any of the receiver's secrets ({len(keys)})")


def check_signing_headers(headers: Mapping[str, str], now: float) -> None:
    """Refuse a request that its headers alone show not to be Codat's, so that its body need not be read.

    :param headers: as for :func:`verified_message_id`, which checks the same.
    :param now: the time, in epoch seconds.
    :raises CodatWebhookRefused: a header is missing or malformed, or the timestamp differs from ``now`` by more than
        300 seconds.

    Source: https://docs.codat.io/using-the-api/webhooks/overview.
    """
    _checked_headers(headers, now)


def _checked_headers(headers: Mapping[str, str], now: float) -> tuple[str, str, str]:
    """Return the id of the webhook, the timestamp and the signatures."""
    message_id, timestamp, signatures = _signing_headers(headers)
    if not _MESSAGE_ID.fullmatch(message_id):
        raise CodatWebhookRefused("the webhook's id is not 1 to 255 characters of printable ASCII without a full stop")
    _check_timestamp(timestamp, now)
    return message_id, timestamp, signatures


def _signing_headers(headers: Mapping[str, str]) -> tuple[str, str, str]:
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    for family in _FAMILIES:
        found = tuple(lower.get(f"{family}-{part}", "") for part in ("id", "timestamp", "signature"))
        if all(found):
            message_id, timestamp, signatures = found
            return message_id, timestamp, signatures
    raise CodatWebhookRefused("the request lacks one of the headers webhook-id, webhook-timestamp, webhook-signature")


def _check_timestamp(timestamp: str, now: float) -> None:
    if not _TIMESTAMP.fullmatch(timestamp):
        raise CodatWebhookRefused("the timestamp is not a number of seconds of at most 12 digits")
    age = now - int(timestamp)
    if not abs(age) <= TOLERANCE:
        difference = f"{abs(age):.0f} seconds {'behind' if age > 0 else 'ahead of'} this machine's clock"
        raise CodatWebhookRefused(f"the timestamp is {difference}; at most {TOLERANCE} are allowed")


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def signed_headers(secret: str, message_id: str, body: bytes, at: float) -> dict[str, str]:
    """Return the headers with which Codat would send a webhook, for tests of a receiver.

    :param secret: the secret of the consumer, ``whsec_...``.
    :param message_id: the id of the webhook, such as ``msg_1``.
    :param body: the body, byte for byte.
    :param at: the time of the attempt, in epoch seconds.
    :raises CodatInputError: the secret is malformed.

    Source: https://docs.codat.io/using-the-api/webhooks/overview.
    """
    timestamp = str(int(at))
    signature = _signature(_key(secret), message_id, timestamp, body).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def known_secret(value: object) -> str:
    """Return a signing secret without white space around it, if it has the shape of one.

    :param value: the secret, ``whsec_`` and at least 24 bytes in base64.
    :raises CodatInputError: it has another shape; the error says what is wrong, and does not show the secret.
    """
    _key(value)
    return str(value).strip()


def _keys(secrets: Iterable[str]) -> list[bytes]:
    """Return the keys of those secrets that are well formed, so that one that is not does not keep the others out."""
    keys = []
    for secret in secrets:
        with suppress(CodatInputError):
            keys.append(_key(secret))
    return keys


def _key(value: object) -> bytes:
    secret = value.strip() if isinstance(value, str) else ""
    if not secret.startswith(_PREFIX):
        raise CodatInputError(f"the webhook secret does not begin with 'whsec_': {_FIX}")
    text = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise CodatInputError(f"the webhook secret is not base64 after 'whsec_': {_FIX}") from None
    if len(key) < _SHORTEST_KEY:
        raise CodatInputError(
            f"the webhook secret has {len(key)} bytes after 'whsec_', and at least {_SHORTEST_KEY} are needed: {_FIX}"
        )
    return key
