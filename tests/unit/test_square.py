"""Square: what its own library refuses in its tests, the pack refuses too."""

import json
from pathlib import Path

import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.local.conformance import trial_options
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["square"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "square"
VECTOR = json.loads((FIXTURES / "vectors.json").read_bytes())[0]
URL = VECTOR["options"]["notification_url"]
SIGNATURE = VECTOR["headers"]["x-square-hmacsha256-signature"]


def reason(
    *,
    body: str = VECTOR["body"],
    url: str = URL,
    key: str = VECTOR["secret"],
    headers: tuple[tuple[str, str], ...] = (("x-square-hmacsha256-signature", SIGNATURE),),
) -> Reason | None:
    """Why the pack refuses the published delivery, so altered; None if it takes it."""
    options = trial_options(PACK, {"notification_url": url})
    terms = Terms(secrets=[Secret("main", PACK.key(key))], tolerance_secs=None, options=options)
    try:
        PACK.verify(Delivery(headers, body.encode(), 0), terms)
    except Refused as error:
        return error.reason
    return None


def test_the_published_delivery_is_taken() -> None:
    """With the URL that it was sent to, whenever it comes."""
    assert reason() is None


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("679a4f3a", "79a4f3a"),
        URL + "/",
        URL.replace("https://", "http://"),
        URL.upper(),
        "",
    ],
)
def test_another_notification_url_is_refused(url: str) -> None:
    """The URL is signed, to the last character."""
    assert reason(url=url) is Reason.SIGNATURE_INVALID


def test_what_their_library_refuses_is_refused() -> None:
    """Another key, another body, a body written anew, an SHA-1 signature of older days."""
    formatted = json.dumps(json.loads(VECTOR["body"]), indent=2)
    older = (("x-square-hmacsha256-signature", "1z2n3DEJJiUPKcPzQo1ftvbxGdw="),)

    assert reason(key="MCmhFRxGX82xMwg5FsaoQA") is Reason.SIGNATURE_INVALID
    assert reason(body=VECTOR["body"].replace("-07-", "-06-")) is Reason.SIGNATURE_INVALID
    assert reason(body=formatted) is Reason.SIGNATURE_INVALID
    assert reason(headers=older) is Reason.SIGNATURE_INVALID


def test_the_older_header_alone_is_no_signature() -> None:
    """Even if it carries a good signature."""
    assert reason(headers=(("x-square-signature", SIGNATURE),)) is Reason.SIGNATURE_MISSING
