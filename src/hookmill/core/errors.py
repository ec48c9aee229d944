"""The errors hookmill raises on purpose, each with the bounded reason code that people see.

HookmillError
├── Refused              a delivery that is not taken; its reason is the answer's error code
├── UnparseableBody      a verified body that is no JSON object; kept, then set aside
├── ConfigurationError   the operator must change the configuration; exit status 2
├── NotKept              Kafka did not acknowledge in time; the provider must try again
├── TopicsMissing        topics are not there; waited for at the start, a failure later
├── KafkaUnavailable     Kafka does not answer, or not as it must; trying again may help
├── LedgerUnavailable    the ledger's database does not answer or takes nothing; try again
├── Stuck                a consumer stands still before records; only a new process can mend it
└── UnsafeCluster        the cluster or a topic is not what the promises need; exit status 1
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was not taken: the same word in the answer, the log and the metric."""

    UNKNOWN_ENDPOINT = "unknown_endpoint"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED_ENVELOPE = "malformed_envelope"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_OUT_OF_TOLERANCE = "timestamp_out_of_tolerance"
    TOKEN_INVALID = "token_invalid"
    TOKEN_ALGORITHM = "token_algorithm"
    SECRET_INVALID = "secret_invalid"
    TOO_MANY_REQUESTS = "too_many_requests"
    BROKER_UNAVAILABLE = "broker_unavailable"
    DRAINING = "draining"


class HookmillError(Exception):
    """The root of every error that hookmill raises on purpose."""


class Refused(HookmillError):
    """A delivery that is not taken. `reason` says why, and never which part was wrong."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class UnparseableBody(HookmillError):
    """A body that is no JSON object: bad UTF-8, too deep, not JSON, or another JSON value."""


class ConfigurationError(HookmillError):
    """The configuration cannot be used as it is; the message says what to change."""


class UnsafeCluster(HookmillError):
    """The cluster cannot keep what hookmill promises; the message says what to do."""


class NotKept(HookmillError):
    """Kafka did not acknowledge in time, or refused; the record may still arrive later."""


class Stuck(HookmillError):
    """The broker has records for a partition and its consumer does not move."""


class TopicsMissing(HookmillError):
    """Topics are not there (any more); the message names them and says what to do."""


class LedgerUnavailable(HookmillError):
    """The ledger's database cannot be reached, read or written now; the message says why."""


class KafkaUnavailable(HookmillError):
    """Kafka does not answer, or not as it must; the message says which servers were asked."""
