"""An endpoint as the front serves it, and the words and figures that both ways of serving share."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hookmill.config.options import Ingress as Options
from hookmill.core.delivery import Secret
from hookmill.core.errors import Reason
from hookmill.ingress import answers
from hookmill.ingress.admission import RateLimit
from hookmill.ingress.answers import Said
from hookmill.providers.endpoint import Endpoint
from hookmill.providers.terms import Terms
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

NO_ENDPOINT = "-"
ANSWER_MARGIN_SECS = 0.5


class Door:
    """An endpoint as the server needs it: with its live secrets and its own limits."""

    def __init__(
        self, endpoint: Endpoint, secrets: Callable[[], Sequence[Secret]], options: Options
    ) -> None:
        self.endpoint = endpoint
        self.secrets = secrets
        self.rejected_rate = RateLimit(options.rejected_per_sec_max)
        deadline = min(options.answer_deadline_secs, endpoint.pack.answer_deadline_secs)
        self.append_secs = deadline - min(ANSWER_MARGIN_SECS, deadline / 10)
        for outcome in (*Reason, "defect"):  # shown as 0, or the first one would be no increase
            catalog.REQUESTS.labels(endpoint.name, outcome)
        self.accepted = catalog.REQUESTS.labels(endpoint.name, "accepted")
        self.seconds = catalog.REQUEST_SECONDS.labels(endpoint.name)
        self.accepted_block = answers.accepted_block(endpoint.pack.accepted_answer)
        self.excluded = endpoint.pack.content_types_excluded
        self.takes_posts = "POST" not in endpoint.pack.handshake_methods
        """Whether a POST is a delivery, and nothing else."""
        self._known: Sequence[Secret] | None = None
        self._terms = endpoint.terms(())

    def terms(self) -> Terms:
        """What a delivery is verified under now."""
        secrets = self.secrets()
        if secrets is not self._known:
            self._known, self._terms = secrets, self.endpoint.terms(secrets)
        return self._terms


def media_type(content_type: str) -> str:
    """A content type without its parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


def refusal(reason: Reason, door: Door | None) -> Said:
    """The answer to a delivery that is not taken, as its provider wants it."""
    pack = door.endpoint.pack if door else None
    methods = {"POST", *(pack.handshake_methods if pack else ())}
    return answers.refused(
        reason,
        statuses=pack.refusal_statuses if pack else {},
        methods=", ".join(sorted(methods)),
    )


def defect(error: Exception, label: str) -> Said:
    """The answer where something of ours is wrong; it is said where."""
    say("request_failed", endpoint=label, error=_place(error), **_delivery(error))
    return answers.refused(Reason.BROKER_UNAVAILABLE)


def count(door: Door | None, label: str, outcome: str, seconds: float) -> None:
    """Count an answer, and how long it took."""
    if door is not None and outcome == "accepted":
        door.accepted.inc()
    else:
        catalog.REQUESTS.labels(label, outcome).inc()
    if door is not None:
        door.seconds.observe(seconds)


def _delivery(error: Exception) -> dict[str, object]:
    """The delivery that met a defect, where it had an id already: whoever had it says so."""
    trace = error.__traceback__
    while trace is not None:
        found = trace.tb_frame.f_locals.get("delivery_id")
        if isinstance(found, str):
            return {"delivery": found}
        trace = trace.tb_next
    return {}


def _place(error: Exception) -> str:
    """The kind of a defect and where it is. Not its text: that may quote a body."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + where
