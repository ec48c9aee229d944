"""Reads the ledger, on either database: balances, entries page by page, and whether it is sound."""

from collections.abc import AsyncIterator
from typing import Any

from hookmill.handlers.bookings import NORMAL_SIDE
from hookmill.handlers.ledger.books import Balance, Line, Source, Total, Wanted

PAGE_ENTRIES = 500
PROBLEMS_SHOWN_MAX = 20

_JOINED = "FROM bookings b JOIN entries e ON e.booking = b.number"
_DEBIT = "{sum}(CASE e.side WHEN 'debit' THEN e.minor END)"
_CREDIT = "{sum}(CASE e.side WHEN 'credit' THEN e.minor END)"

_BALANCES = f"""
SELECT b.endpoint, b.mode, e.account, e.currency, e.exponent,
    CAST(coalesce({_DEBIT}, 0) AS TEXT), CAST(coalesce({_CREDIT}, 0) AS TEXT), count(*)
{_JOINED} WHERE {{where}}
GROUP BY b.endpoint, b.mode, e.account, e.currency, e.exponent
"""
_TOTALS = f"""
SELECT b.endpoint, b.mode, b.effect, e.currency, e.exponent,
    CAST(coalesce({{sum}}(e.minor), 0) AS TEXT), count(*)
{_JOINED} WHERE e.side = 'debit'
GROUP BY b.endpoint, b.mode, b.effect, e.currency, e.exponent
"""
_NEWEST = f"""
SELECT booking, line FROM (
    SELECT e.booking, e.line {_JOINED} WHERE {{where}}
    ORDER BY e.booking DESC, e.line DESC LIMIT {{limit}}
) AS newest ORDER BY booking, line LIMIT 1
"""
_PAGE = f"""
SELECT e.booking, e.line, {{time_out}}, b.event_id, b.event_type, b.endpoint, b.mode, b.resource,
    b.effect, e.account, e.side, CAST(e.minor AS TEXT), e.currency, e.exponent
{_JOINED} WHERE {{where}} ORDER BY e.booking, e.line LIMIT {PAGE_ENTRIES}
"""
_UNBALANCED = f"""
SELECT b.number, b.event_id, e.currency, CAST(coalesce({_DEBIT}, 0) AS TEXT),
    CAST(coalesce({_CREDIT}, 0) AS TEXT), count(e.account)
FROM bookings b LEFT JOIN entries e ON e.booking = b.number
GROUP BY b.number, b.event_id, e.currency, e.exponent
HAVING count(e.account) < 2
    OR CAST(coalesce({_DEBIT}, 0) AS TEXT) <> CAST(coalesce({_CREDIT}, 0) AS TEXT)
ORDER BY b.number LIMIT {PROBLEMS_SHOWN_MAX}
"""
_UNCOUNTED = f"""
SELECT b.number, b.event_id
FROM bookings b LEFT JOIN events_counted c ON c.event_id = b.event_id
WHERE c.event_id IS NULL ORDER BY b.number LIMIT {PROBLEMS_SHOWN_MAX}
"""
_ORPHANS = f"""
SELECT e.booking, e.line FROM entries e LEFT JOIN bookings b ON b.number = e.booking
WHERE b.number IS NULL ORDER BY e.booking, e.line LIMIT {PROBLEMS_SHOWN_MAX}
"""


class Reading:
    """The books as they are now; the handler may go on counting meanwhile."""

    def __init__(self, source: Source) -> None:
        self._source = source
        dialect = source.dialect
        self._words = {"sum": dialect.sum, "time_out": dialect.time_out.format("b.received_at")}

    async def balances(self, wanted: Wanted = Wanted()) -> list[Balance]:  # noqa: B008  # frozen
        """Every account, by endpoint, mode, account and currency."""
        where, values = self._where(wanted)
        rows = await self._fetch(_BALANCES, *values, where=where)
        return [_balance(*row) for row in sorted(rows, key=_in_order)]

    async def totals(self) -> list[Total]:
        """The sum of every effect, by endpoint, mode, effect and currency."""
        return [Total(*row) for row in sorted(await self._fetch(_TOTALS), key=_in_order)]

    async def lines(self, wanted: Wanted, *, limit: int | None = None) -> AsyncIterator[Line]:
        """The newest entries that are wanted, `limit` at most, the newest last.

        Page by page, each beginning where the last one ended, however many there are.
        """
        after, left = (0, 0), limit
        if limit is not None:
            where, values = self._where(wanted)
            first = await self._fetch(_NEWEST, *values, where=where, limit=limit)
            if not first:
                return
            after = (first[0][0], first[0][1] - 1)
        while True:
            where, values = self._where(wanted, after)
            page = await self._fetch(_PAGE, *values, where=where)
            for row in page[:left]:
                yield Line(*row)
            left = None if left is None else left - min(left, len(page))
            if len(page) < PAGE_ENTRIES or left == 0:
                return
            after = (page[-1][0], page[-1][1])

    async def problems(self) -> list[str]:
        """What is wrong with the books, empty where they are sound; of each kind the first ones."""
        return [
            *(
                f"booking {number} (event {event}): debit {debit}, credit {credit} "
                f"{currency or 'of unknown amount'} in {entries} entries"
                for number, event, currency, debit, credit, entries in await self._fetch(
                    _UNBALANCED
                )
            ),
            *(
                f"booking {number}: its event {event} is not in events_counted"
                for number, event in await self._fetch(_UNCOUNTED)
            ),
            *(
                f"entry {line} of booking {number}: there is no such booking"
                for number, line in await self._fetch(_ORPHANS)
            ),
        ]

    def _where(
        self, wanted: Wanted, after: tuple[int, int] | None = None
    ) -> tuple[str, list[object]]:
        """The conditions, and their values in the order of `$1`, `$2` …"""
        terms = {
            "b.endpoint = {}": wanted.endpoint,
            "e.currency = {}": wanted.currency,
            "b.resource = {}": wanted.resource,
            f"b.received_at >= {self._source.dialect.time_in}": wanted.since,
        }
        said = [(term, value) for term, value in terms.items() if value is not None]
        texts = [term.format(f"${number}") for number, (term, _) in enumerate(said, start=1)]
        values: list[object] = [value for _, value in said]
        if after is not None:
            texts.append(f"(e.booking, e.line) > (${len(values) + 1}, ${len(values) + 2})")
            values += after
        return " AND ".join(texts) or "1 = 1", values

    async def _fetch(self, query: str, *values: object, **words: object) -> list[Any]:
        return list(await self._source.fetch(query.format(**self._words, **words), *values))


def _balance(
    endpoint: str, mode: str, account: str, currency: str | None, exponent: int | None,
    debit: str, credit: str, entries: int,
) -> Balance:  # fmt: skip
    grown = int(debit) - int(credit)
    balance = grown if NORMAL_SIDE.get(account) == "debit" else -grown
    return Balance(
        endpoint=endpoint, mode=mode, account=account, currency=currency, exponent=exponent,
        debit=debit, credit=credit, balance=str(balance), entries=entries,
    )  # fmt: skip


def _in_order(row: Any) -> str:
    return str(list(row[:5]))
