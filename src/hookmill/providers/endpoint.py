"""An endpoint ready to work: its configuration joined with its provider's pack."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from hookmill.config import options
from hookmill.core.delivery import Secret
from hookmill.core.errors import ConfigurationError
from hookmill.core.event import MODES
from hookmill.providers.pack import Pack, Terms
from hookmill.providers.registry import PACKS, pack_named

SecretTexts = Callable[[], Sequence[tuple[str, str]]]
"""Gives the live secrets of an endpoint as (name, text), read anew where they can change."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One URL of ours at a provider. `dedup_window_secs` is resolved, `mode` may be None."""

    name: str
    pack: Pack
    options: Any
    tolerance_secs: int | None
    dedup_window_secs: int
    mode: str | None

    def terms(self, secrets: Sequence[Secret]) -> Terms:
        """What a delivery to this endpoint is verified under."""
        return Terms(secrets=secrets, tolerance_secs=self.tolerance_secs, options=self.options)


def build(name: str, configured: options.Endpoint, packs: Mapping[str, Pack] = PACKS) -> Endpoint:
    """Join the configuration with the pack; raises ConfigurationError that says what to mend."""
    pack = pack_named(configured.provider, packs)
    try:
        chosen = msgspec.convert(configured.options, pack.options)
        pack.check_options(chosen)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"endpoints.{name}.options: {error}") from None
    if configured.tolerance_secs is not None and not pack.signs_time(chosen):
        raise ConfigurationError(
            f"endpoints.{name}.tolerance_secs: {pack.title} signs no time; remove it"
        )
    return Endpoint(
        name=name,
        pack=pack,
        options=chosen,
        tolerance_secs=configured.tolerance_secs or pack.scheme(chosen).default_tolerance_secs,
        dedup_window_secs=configured.dedup_window_secs or pack.dedup_window_secs,
        mode=configured.mode,
    )


def build_all(
    configured: Mapping[str, options.Endpoint], packs: Mapping[str, Pack] = PACKS
) -> dict[str, Endpoint]:
    """Every endpoint by name."""
    return {name: build(name, endpoint, packs) for name, endpoint in configured.items()}


def secrets_of(endpoint: Endpoint, texts: Sequence[tuple[str, str]]) -> list[Secret]:
    """The endpoint's live secrets as keys; raises ConfigurationError naming the secret."""
    found = []
    for name, text in texts:
        try:
            found.append(Secret(name, endpoint.pack.key(text, endpoint.options)))
        except ValueError as error:
            raise ConfigurationError(
                f"endpoints.{endpoint.name}: secret '{name}': {error}"
            ) from None
    return found


def modes_of(configured: options.Endpoint) -> frozenset[str]:
    """The modes that its events can have: the provider's word, else the endpoint's, else unknown.

    Of a provider that there is not, any.
    """
    pack = PACKS.get(configured.provider)
    if pack is None:
        return frozenset(MODES)
    if configured.mode == "test" and not pack.proves_mode:
        return frozenset({"test"})
    return frozenset({configured.mode or "unknown", *(("live", "test") if pack.says_mode else ())})


def window_secs_longest(endpoints: Mapping[str, Endpoint], default_secs: int) -> int:
    """The longest deduplication window of all; the default where there is no endpoint."""
    return max((each.dedup_window_secs for each in endpoints.values()), default=default_secs)
