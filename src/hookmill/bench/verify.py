"""What it costs to prove a sender, pack by pack, next to the bare primitive of its scheme.

Measured inside this process: it is pure work. The floor is what no verifier can do without, on the
very bytes that were signed: one HMAC, one hash, one check of a public key, one comparison.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import cycle, islice
from typing import NamedTuple

from hookmill.bench.figures import Check, Result, Row
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Refused
from hookmill.local.conformance import trial_options
from hookmill.local.simulated import deliveries
from hookmill.providers.pack import Pack, Terms
from hookmill.providers.schemes.asymmetric import Asymmetric
from hookmill.providers.schemes.encoding import decoded
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.mac import Hash, Hmac
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.token import Token

BODIES = 100
ROUNDS = 4
PER = 10_000

Work = Callable[[], object]


class Subject(NamedTuple):
    """A pack with deliveries that were really signed, and others that a forger made."""

    pack: Pack
    terms: Terms
    genuine: Sequence[Delivery]
    forged: Sequence[Delivery]


def subject(pack: Pack) -> Subject:
    """Deliveries of the pack's stories, signed by the simulator under one live secret."""
    options = trial_options(pack, {})
    text = pack.example_secret("main", options)
    made = [
        (each.kind, Delivery(tuple(each.headers.items()), each.body, each.at_us, each.query))
        for each in deliveries(pack, secret=text, count=BODIES * 2, forged=0.5)
    ]
    tolerance_secs = pack.scheme(options).default_tolerance_secs
    terms = Terms(
        secrets=[Secret("main", pack.key(text, options))],
        tolerance_secs=tolerance_secs,
        options=options,
    )
    return Subject(
        pack,
        terms,
        [delivery for kind, delivery in made if kind == "genuine"],
        [delivery for kind, delivery in made if kind == "forged"],
    )


def measured(tried: Subject, count: int) -> Row:
    """CPU-seconds of so many verifications, and of the bare primitive; both in alternation."""
    verify: list[Work] = [partial(tried.pack.verify, each, tried.terms) for each in tried.genuine]
    bare = [primitive(tried, each) for each in tried.genuine]
    for work in (*verify, *bare):
        work()  # whatever is parsed or loaded once is not what is measured
    each_round = max(1, count // ROUNDS)
    wall_secs = cpu_secs = floor_secs = 0.0
    for _ in range(ROUNDS):
        floor_secs += _cpu_secs(bare, each_round)
        began = time.perf_counter()
        cpu_secs += _cpu_secs(verify, each_round)
        wall_secs += time.perf_counter() - began
    return Row(
        name=tried.pack.name,
        work=each_round * ROUNDS,
        wall_secs=wall_secs,
        cpu_secs=cpu_secs,
        floor_cpu_secs=floor_secs,
    )


def result(tried: Sequence[tuple[Subject, Row]]) -> Result:
    """All of them, and whether each pack tells the provider from a forger."""
    return Result(
        bench="verify",
        unit="verifications",
        per=PER,
        floor=None,
        rows=tuple(row for _, row in tried),
        checks=(
            Check(
                "every genuine delivery was taken, by the secret that signed it",
                all(_signer(each, one) == "main" for each, _ in tried for one in each.genuine),
            ),
            Check(
                "every forged one was refused",
                all(_signer(each, one) is None for each, _ in tried for one in each.forged),
            ),
        ),
        notes=("a pack's ratio is to the bare primitive of its scheme, on the same signed bytes",),
    )


def primitive(tried: Subject, delivery: Delivery) -> Work:
    """What must be computed to tell that delivery's sender, on its signed bytes and no more."""
    options, key = tried.terms.options, tried.terms.secrets[0].key
    scheme = tried.pack.scheme(options)
    match scheme:
        case Jwt():
            signed, _, spelled = scheme.token(delivery.body).rpartition(".")
            signature = base64.urlsafe_b64decode(spelled + "=" * (-len(spelled) % 4))
            name = f"sha{scheme.algorithm.removeprefix('HS')}"
            return partial(_mac, key, signed.encode(), signature, name)
        case Token():
            return partial(hmac.compare_digest, key, bytes(bytearray(key)))
        case Signed():
            source = scheme.source(delivery, options)
            source.values = {**source.values, "key": key}  # of a plain hash it is in the message
            message = scheme.message(source)
            offered = scheme.offered(delivery, options)[-1]
            return _signed(scheme, key, message, decoded(offered, scheme.signature.encoding) or b"")
        case _:
            raise NotImplementedError(f"no bare primitive is known of {type(scheme).__name__}")


def _signed(scheme: Signed, key: bytes, message: bytes, signature: bytes) -> Work:
    match scheme:
        case Hmac():
            return partial(_mac, key, message, signature, scheme.algorithm)
        case Hash():
            return partial(_hash, message, signature, scheme.algorithm)
        case Asymmetric():
            return partial(scheme.fits, key, message, signature)
        case _:
            raise NotImplementedError(f"no bare primitive is known of {type(scheme).__name__}")


def _mac(key: bytes, message: bytes, signature: bytes, algorithm: str) -> bool:
    return hmac.compare_digest(hmac.digest(key, message, algorithm), signature)


def _hash(message: bytes, signature: bytes, algorithm: str) -> bool:
    return hmac.compare_digest(hashlib.new(algorithm, message).digest(), signature)


def _signer(tried: Subject, delivery: Delivery) -> str | None:
    try:
        return tried.pack.verify(delivery, tried.terms).name
    except Refused:
        return None


def _cpu_secs(works: Iterable[Work], count: int) -> float:
    began = time.process_time()
    for work in islice(cycle(works), count):
        work()
    return time.process_time() - began
