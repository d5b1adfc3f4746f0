"""Usage: records of the network, rated as they come; what a service bought elsewhere brings for them to be used up.

Every record counts once, by its id. A record costs what it adds to its own month's charge (`models.tariffs`), so
late ones and batches in any order come to the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from billing import events
from billing.models import (
    HOME,
    Account,
    Allowance,
    EndedService,
    Plan,
    SubscriptionTerm,
    UsageRecord,
    UsageTotal,
)
from billing.models.tariffs import RATES, Rate
from billing.schemas import UsageRecordIn
from billing.schemas.shared import MAX_SUBTOTAL_MINOR
from billing.use_cases.periods import after, first_day, period_of, start_of
from common import clock
from common.db.bulk import insert_many

CHUNK = 1000
"""Records per transaction."""
THRESHOLDS = (50, 80, 100)
_KEY = ("account_id", "period", "plan_id", "kind", "zone")
_RECORD = (
    "record_id", "account_id", "kind", "zone", "quantity", "occurred_at", "plan_id", "from_allowance",
    "amount_minor", "currency", "received_at",
)  # fmt: skip
_SUMS = ("records", "quantity", "amount_minor", "notified", "roaming_notified")


@dataclass(frozen=True, slots=True)
class Tariff:
    """A plan as rating needs it."""

    plan_id: str
    name: str
    currency: str
    roaming_cap_minor: int | None
    rates: Mapping[tuple[str, str], Rate]


@dataclass(slots=True)
class Total:
    """A row of usage_totals at work."""

    key: tuple[str, str, str, str, str]
    new: bool
    records: int = 0
    quantity: int = 0
    amount_minor: int = 0
    notified: int = 0
    roaming_notified: int = 0


@dataclass(slots=True)
class Rated:
    """What became of a batch."""

    accepted: int = 0
    duplicates: int = 0
    unrated: int = 0
    unknown: list[str] = field(default_factory=list)
    implausible: list[str] = field(default_factory=list)

    def add(self, other: "Rated") -> None:
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.unrated += other.unrated
        self.unknown += other.unknown
        self.implausible += other.implausible


_tariffs: dict[str, Tariff] = {}
"""Plans never change, so they are read once."""


def rate_records(session: Session, records: Sequence[UsageRecordIn]) -> Rated:
    """Take up to CHUNK records. Those of unknown users, and those that cost more than can be billed, are left out
    and named; everything else counts once."""
    first = {record.record_id: record for record in reversed(records)}
    accounts = _lock_accounts(session, {record.user_id for record in records})
    seen = set(session.scalars(select(UsageRecord.record_id).where(UsageRecord.record_id.in_(first))))
    fresh = [record for record_id, record in reversed(first.items()) if record_id not in seen]
    rating = _Rating(session, accounts, fresh)
    outcome = Rated(duplicates=len(records) - len(fresh))
    rows: list[tuple[Any, ...]] = []
    now = clock.now()
    for record in fresh:
        account = accounts.get(record.user_id)
        if account is None:
            outcome.unknown.append(record.record_id)
            continue
        rated = rating.rate(account, record)
        if rated is None:
            outcome.implausible.append(record.record_id)
            continue
        plan_id, covered, amount = rated
        outcome.unrated += plan_id is None and covered < record.quantity
        rows.append(
            (
                record.record_id, account.id, record.kind, record.zone, record.quantity, record.occurred_at,
                plan_id, covered, amount, account.currency, now,
            )
        )  # fmt: skip
    outcome.accepted = len(rows)
    insert_many(session, UsageRecord.__table__, _RECORD, rows)
    rating.write()
    return outcome


def grant_allowances(
    session: Session, *, service_id: str, user_id: str, name: str, allowances: Iterable[Mapping[str, Any]],
    starts_at: datetime, ends_at: datetime | None,
) -> None:  # fmt: skip
    """What an activated service brings; anew when it is on for longer than before. Safe to repeat, and to come after
    the event of its end."""
    _hold_account(session, user_id)
    ended = session.get(EndedService, service_id)
    if ended is not None and starts_at <= ended.ended_at and (ends_at is None or ended.ended_at < ends_at):
        ends_at = ended.ended_at
    for allowance in allowances:
        known = session.get(Allowance, (service_id, allowance["kind"]), with_for_update=True)
        if known is not None:
            if known.ends_at is not None and (ends_at is None or ends_at > known.ends_at):
                known.granted, known.used, known.notified = allowance["granted"], 0, 0
                known.ends_at = ends_at
        elif allowance["granted"] > 0:
            session.add(
                Allowance(
                    service_id=service_id, kind=allowance["kind"], user_id=user_id, name=name,
                    granted=allowance["granted"], used=min(allowance["used"], allowance["granted"]), notified=0,
                    starts_at=starts_at, ends_at=ends_at,
                )
            )  # fmt: skip


def end_allowances(session: Session, *, service_id: str, user_id: str, at: datetime) -> None:
    """A service is off: what is left of its allowances lapses. Safe to repeat, and to come first."""
    _hold_account(session, user_id)
    ended = session.get(EndedService, service_id, with_for_update=True)
    if ended is None:
        session.add(EndedService(service_id=service_id, ended_at=at))
    else:
        ended.ended_at = max(ended.ended_at, at)
    for allowance in session.scalars(select(Allowance).where(Allowance.service_id == service_id)):
        if allowance.ends_at is None or at < allowance.ends_at:
            allowance.ends_at = at


def _hold_account(session: Session, user_id: str) -> None:
    """Nobody rates the user's usage meanwhile; without an account there is none."""
    session.execute(select(Account.id).where(Account.user_id == user_id).with_for_update())


class _Rating:
    """The records of one transaction against the rows that they change, read and written once."""

    def __init__(
        self, session: Session, accounts: Mapping[str, Account], records: Sequence[UsageRecordIn]
    ) -> None:
        self._session = session
        account_ids = [account.id for account in accounts.values()]
        self._terms = _terms(session, account_ids)
        self._allowances = _allowances(session, accounts)
        self._totals: dict[tuple[str, str, str], dict[tuple[str, str], Total]] = {}
        self._changed: dict[tuple[str, ...], Total] = {}
        self._drawn: dict[tuple[str, str], Allowance] = {}
        self._load_totals(account_ids, {period_of(record.occurred_at) for record in records})

    def rate(self, account: Account, record: UsageRecordIn) -> tuple[str | None, int, int] | None:
        """(plan that rated it, quantity that bought allowances covered, amount in minor units); None for a record that
        would raise its month's charge above what an invoice can say."""
        draws = self._draws(account, record)
        covered = sum(part for _, part in draws)
        plan_id, amount = None, 0
        tariff = self._tariff(account.id, record) if covered < record.quantity else None
        if tariff is not None:
            charged = self._charge(account, record, record.quantity - covered, tariff)
            if charged is None:
                return None
            plan_id, amount = tariff.plan_id, charged
        for allowance, part in draws:
            allowance.used += part
            self._drawn[allowance.service_id, allowance.kind] = allowance
            self._tell_allowance(account, allowance)
        return plan_id, covered, amount

    def _charge(self, account: Account, record: UsageRecordIn, quantity: int, tariff: Tariff) -> int | None:
        """Add a quantity to its month's total: what that adds to the charge. None, and nothing added, when too much."""
        period = period_of(record.occurred_at)
        month = self._totals.setdefault((account.id, period, tariff.plan_id), {})
        total = month.get((record.kind, record.zone))
        if total is None:
            total = Total((account.id, period, tariff.plan_id, record.kind, record.zone), new=True)
        rate = tariff.rates[record.kind, record.zone]
        counted = total.quantity + rate.in_units(quantity)
        amount = rate.charge(total.records + 1, counted) - rate.charge(total.records, total.quantity)
        capped = record.zone != HOME and tariff.roaming_cap_minor is not None
        if capped:
            amount = min(amount, _left_of_cap(tariff, month))
        if total.amount_minor + amount > MAX_SUBTOTAL_MINOR:
            return None
        total.records, total.quantity, total.amount_minor = (
            total.records + 1, counted, total.amount_minor + amount,
        )  # fmt: skip
        month[record.kind, record.zone] = self._changed[total.key] = total
        if capped:
            self._tell_roaming(account, tariff, month, total)
        if rate.included:
            self._tell_included(account, tariff, rate, total)
        return amount

    def write(self) -> None:
        table: Any = UsageTotal.__table__
        changed = self._changed.values()
        rows = [(*t.key, t.records, t.quantity, t.amount_minor, 0, t.notified, t.roaming_notified)
                for t in changed if t.new]  # fmt: skip
        columns = (
            *_KEY,
            "records",
            "quantity",
            "amount_minor",
            "billed_minor",
            "notified",
            "roaming_notified",
        )
        insert_many(self._session, table, columns, rows)
        old = [
            {f"of_{name}": value for name, value in zip(_KEY, t.key, strict=True)}
            | {name: getattr(t, name) for name in _SUMS}
            for t in changed
            if not t.new
        ]
        if old:
            self._session.connection().execute(_UPDATE_TOTAL, old)
        self._session.add_all(events.allowance_used(allowance) for allowance in self._drawn.values())
        self._session.flush()

    def _draws(self, account: Account, record: UsageRecordIn) -> list[tuple[Allowance, int]]:
        """What of a record each bought allowance covers, the one that lapses first before others."""
        kind = record.kind if record.zone == HOME else f"roaming_{record.kind.removeprefix('voice_')}"
        found, left = [], record.quantity
        for allowance in self._allowances.get((account.user_id, kind), ()):
            if allowance.starts_at <= record.occurred_at and (
                allowance.ends_at is None or record.occurred_at < allowance.ends_at
            ):
                part = min(left, allowance.granted - allowance.used)
                left -= part
                if part:
                    found.append((allowance, part))
        return found

    def _tariff(self, account_id: str, record: UsageRecordIn) -> Tariff | None:
        """The tariff that prices a record: of the subscriptions held then, the oldest that has a rate for it."""
        for starts_at, ends_at, plan_id in self._terms.get(account_id, ()):
            if starts_at <= record.occurred_at and (ends_at is None or record.occurred_at < ends_at):
                tariff = _tariff_of(self._session, plan_id)
                if (record.kind, record.zone) in tariff.rates:
                    return tariff
        return None

    def _load_totals(self, account_ids: Sequence[str], periods: set[str]) -> None:
        table = UsageTotal.__table__.c
        statement = select(*(table[name] for name in (*_KEY, *_SUMS))).where(
            table.account_id.in_(account_ids), table.period.in_(periods)
        )
        for account_id, period, plan_id, kind, zone, *sums in self._session.execute(statement):
            total = Total((account_id, period, plan_id, kind, zone), False, *sums)
            self._totals.setdefault((account_id, period, plan_id), {})[kind, zone] = total

    def _tell_included(self, account: Account, tariff: Tariff, rate: Rate, total: Total) -> None:
        reached = _reached(total.quantity, rate.included)
        if reached > total.notified:
            total.notified = reached
            self._tell(account, source="plan", name=tariff.name, kind=rate.kind, percent=reached,
                       used=min(total.quantity, rate.included), granted=rate.included,
                       until=start_of(first_day(after(total.key[1]))))  # fmt: skip

    def _tell_roaming(
        self,
        account: Account,
        tariff: Tariff,
        month: Mapping[tuple[str, str], Total],
        total: Total,
    ) -> None:
        assert tariff.roaming_cap_minor is not None
        spent = _roamed(month)
        reached = _reached(spent, tariff.roaming_cap_minor)
        if reached > max(each.roaming_notified for each in month.values()):
            total.roaming_notified = reached
            self._tell(account, source="roaming_cap", name=tariff.name, kind="roaming", percent=reached, used=spent,
                       granted=tariff.roaming_cap_minor, currency=tariff.currency,
                       until=start_of(first_day(after(total.key[1]))))  # fmt: skip

    def _tell_allowance(self, account: Account, allowance: Allowance) -> None:
        reached = _reached(allowance.used, allowance.granted)
        if reached > allowance.notified:
            allowance.notified = reached
            self._tell(account, source="service", name=allowance.name, kind=allowance.kind, percent=reached,
                       used=allowance.used, granted=allowance.granted, service_id=allowance.service_id,
                       until=allowance.ends_at)  # fmt: skip

    def _tell(self, account: Account, **what: Any) -> None:
        self._session.add(events.usage_threshold_reached(account, **what))


_TOTALS: Any = UsageTotal.__table__
_UPDATE_TOTAL = (
    update(_TOTALS)
    .where(*(_TOTALS.c[name] == bindparam(f"of_{name}") for name in _KEY))
    .values({name: bindparam(name) for name in _SUMS})
)


def _roamed(month: Mapping[tuple[str, str], Total]) -> int:
    return sum(each.amount_minor for (_, zone), each in month.items() if zone != HOME)


def _left_of_cap(tariff: Tariff, month: Mapping[tuple[str, str], Total]) -> int:
    assert tariff.roaming_cap_minor is not None
    return max(0, tariff.roaming_cap_minor - _roamed(month))


def _reached(used: int, granted: int) -> int:
    """The highest threshold that has been reached; 0 for none."""
    return max((level for level in THRESHOLDS if used * 100 >= granted * level), default=0)


def _lock_accounts(session: Session, user_ids: set[str]) -> dict[str, Account]:
    """Accounts by user, locked in the order of their ids."""
    statement = select(Account).where(Account.user_id.in_(user_ids)).order_by(Account.id).with_for_update()
    return {account.user_id: account for account in session.scalars(statement)}


def _terms(
    session: Session, account_ids: Sequence[str]
) -> dict[str, list[tuple[datetime, datetime | None, str]]]:
    table = SubscriptionTerm
    statement = (
        select(table.account_id, table.starts_at, table.ends_at, table.plan_id)
        .where(table.account_id.in_(account_ids))
        .order_by(table.subscription_id, table.starts_at)
    )
    found: dict[str, list[tuple[datetime, datetime | None, str]]] = {}
    for account_id, starts_at, ends_at, plan_id in session.execute(statement):
        found.setdefault(account_id, []).append((starts_at, ends_at, plan_id))
    return found


def _allowances(session: Session, accounts: Mapping[str, Account]) -> dict[tuple[str, str], list[Allowance]]:
    statement = select(Allowance).where(Allowance.user_id.in_(accounts), Allowance.used < Allowance.granted)
    found: dict[tuple[str, str], list[Allowance]] = {}
    for allowance in session.scalars(
        statement.order_by(Allowance.ends_at.nulls_last(), Allowance.service_id)
    ):
        found.setdefault((allowance.user_id, allowance.kind), []).append(allowance)
    return found


def _tariff_of(session: Session, plan_id: str) -> Tariff:
    tariff = _tariffs.get(plan_id)
    if tariff is None:
        plan = session.get_one(Plan, plan_id)
        rates = {(rate.kind, rate.zone): rate for rate in RATES.validate_json(plan.rates)}
        tariff = Tariff(plan.id, plan.name, plan.currency, plan.roaming_cap_minor, rates)
        _tariffs[plan_id] = tariff
    return tariff
