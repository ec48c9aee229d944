"""Whether this client may do in Kafka what each role needs: pure checks, giving findings."""

from collections.abc import Iterator, Sequence

from hookmill.cli.doctor.acls import Need, denied, roles
from hookmill.cli.doctor.finding import Finding, failure, ok, some, warning
from hookmill.kafka.survey import Survey

CHECK = "kafka.acl"


def permissions(seen: Survey, needs: Sequence[Need], *, local: bool) -> Iterator[Finding]:
    """A finding for each role. What an absent topic allows cannot be asked, and is not judged.

    Of a transactional id it can only be asked whether it may be described.
    """
    if seen.authorizer is False:
        yield _nobody_is_refused(local=local)
        return
    for role in roles(needs):
        its = [each for each in needs if each.role == role]
        told = [(need, _denied(seen, need)) for need in its]
        refused = _refused(told)
        if refused:
            yield failure(CHECK, f"{role} may not: {refused}",
                          f"hookmill doctor --role {role} --acls User:NAME prints what to allow; "
                          "if another principal runs it, ask with its configuration")  # fmt: skip
        elif all(operations is None for _, operations in told):
            yield warning(CHECK, f"{role}: the brokers do not tell what this client may do",
                          f"compare their ACLs with hookmill doctor --role {role} --acls "
                          "User:NAME")  # fmt: skip
        else:
            yield ok(CHECK, f"{role} may do what it needs")


def _nobody_is_refused(*, local: bool) -> Finding:
    what = "the brokers have no authorizer: whoever reaches them may do anything"
    if local:
        return ok(CHECK, f"{what}; they are on this machine")
    return warning(CHECK, what, "set authorizer.class.name and allow each role what `hookmill "
                   "doctor --acls User:NAME` prints, or keep everybody else off that "
                   "network")  # fmt: skip


def _denied(seen: Survey, need: Need) -> tuple[str, ...] | None:
    """The operations that are refused; None where that cannot be asked."""
    match need.resource:
        case "topic":
            if need.name in seen.refused_topics:
                return need.operations
            topic = seen.topics.get(need.name)
            operations = None if topic is None else topic.operations
        case "group":
            operations = seen.groups.get(need.name)
        case "cluster":
            operations = seen.cluster_operations
        case _:
            refused = any(each.startswith(need.name) for each in seen.refused_transactional_ids)
            return need.operations if refused else None
    return None if operations is None else denied(need, operations)


def _refused(told: Sequence[tuple[Need, tuple[str, ...] | None]]) -> str:
    """What is refused, things that lack the same together; empty for nothing."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for need, operations in told:
        if operations:
            together.setdefault((need.resource, operations), []).append(need.name)
    return "; ".join(
        f"{', '.join(operations)} on {resource} {some(names, 4)}"
        for (resource, operations), names in together.items()
    )
