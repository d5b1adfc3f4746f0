"""Customers, plans, usage, months billed and dunned, payments, refunds, credit notes, disputes and deaths in any order:
the books always balance, nobody is billed twice for a month, and nobody is barred without notice.

A small number of examples here; `BILLING_EXAMPLES=50 BILLING_STEPS=50`, repeated, for a long run.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from billing.handlers import HANDLERS
from billing.models import (
    Account,
    AccountStatus,
    BilledFee,
    CreditNote,
    Invoice,
    InvoiceState,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Subscription,
    UsageRecord,
    UsageTotal,
)
from billing.use_cases import billing_runs, dunning
from common import clock, ids
from common.db import db, reading, transaction
from tests.support.billing import (
    a_line,
    a_record,
    admin,
    an_account_event,
    offer_plan,
    payment_event,
    refund_event,
    rupees,
)
from tests.support.services import bearer, emitted, make_app

EXAMPLES = int(os.environ.get("BILLING_EXAMPLES", "3"))
STEPS = int(os.environ.get("BILLING_STEPS", "15"))
START = datetime(2026, 11, 10, 6, tzinfo=UTC)
TAXES = [
    {"code": "CESS", "name": "Cess", "rate_percent": "2.5"},
    {"code": "VAT", "name": "VAT", "rate_percent": "18", "on": ["CESS"]},
]
DATA = {"kind": "data_mb", "name": "Data", "included": 100, "tiers": [{"price_minor": 7}]}
FATES = st.sampled_from(("once", "once", "twice", "killed first"))
PICK = st.integers(0, 9)


class Killed(BaseException):
    """kill -9: nothing catches it."""


class Books(RuleBasedStateMachine):
    """Each example has a database of its own."""

    def __init__(self, open_books: Callable[[ExitStack], Any]) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.app = open_books(self.stack)
        self.stack.enter_context(clock.frozen(START))
        self.client, self.base = self.app.test_client(), "/api/billing"
        self.users: list[str] = []
        self.payments: list[tuple[str, str, str]] = []
        self.left: dict[str, int] = {}
        self.cash = 0
        self.records: list[dict[str, Any]] = []
        self.seen: dict[str, tuple[Any, ...]] = {}
        self.plans = [
            offer_plan(self.client, code, price, rates=[DATA])
            for code, price in (("small", 99_999), ("large", 333_333))
        ]
        for n in range(2):
            self.open_account("once")
            self.subscribe(n, n)
            self.bill_by_hand(n, 20_000, -20)

    @rule(fate=FATES)
    def open_account(self, fate: str) -> None:
        user_id = ids.new_id()
        self._deliver(an_account_event(user_id), fate)
        self.users.append(user_id)

    @rule(pick=PICK, plan=st.integers(0, 1))
    def subscribe(self, pick: int, plan: int) -> None:
        self._post(self._user(pick), "/subscriptions", {"plan_id": self.plans[plan]["id"]})

    @rule(pick=PICK, plan=st.integers(0, 1), when=st.sampled_from(("now", "period_end")))
    def change(self, pick: int, plan: int, when: str) -> None:
        self._of_subscription(self._user(pick), "change", {"plan_id": self.plans[plan]["id"], "when": when})

    @rule(pick=PICK, when=st.sampled_from(("now", "period_end")))
    def cancel(self, pick: int, when: str) -> None:
        self._of_subscription(self._user(pick), "cancel", {"when": when})

    @rule(pick=PICK, quantities=st.lists(st.integers(1, 90), min_size=1, max_size=3), days=st.integers(0, 40))
    def use(self, pick: int, quantities: list[int], days: int) -> None:
        at = clock.rfc3339(clock.now() - timedelta(days=days))
        fresh = [a_record(self._user(pick), quantity, occurred_at=at) for quantity in quantities]
        batch = self.records[-2:] + fresh
        self.records += fresh
        self._admin("post", "/admin/usage-records", {"records": batch})

    @rule(days=st.sampled_from((1, 7, 25)), killed_after=st.integers(0, 3))
    def days_go_by(self, days: int, killed_after: int) -> None:
        for _ in range(days):
            clock.move(timedelta(days=1))
            self._work(dunning.advance_due_run, self._settings.dunning, killed_after)

    @rule(killed_after=st.integers(0, 4))
    def bill_the_month(self, killed_after: int) -> None:
        with transaction() as session:
            period = f"{clock.today():%Y-%m}"
            billing_runs.start_run(session, run_id=ids.new_id(), period=period, requested_by=ids.new_id())
        self._work(billing_runs.advance_run, self._settings.billing_terms, killed_after)

    @rule(pick=PICK, amount=st.integers(1, 50_000), days=st.integers(-30, 20))
    def bill_by_hand(self, pick: int, amount: int, days: int) -> None:
        due_on = (clock.today() + timedelta(days=days)).isoformat()
        body = {"user_id": self._user(pick), "lines": [a_line(amount)], "due_on": due_on}
        self._admin("post", "/admin/invoices", body, repeated=True)

    @rule(pick=PICK, share=st.sampled_from((1, 1, 2, 3)), more=st.sampled_from((0, 0, 5_000)), fate=FATES)
    def pay(self, pick: int, share: int, more: int, fate: str) -> None:
        invoice = self._invoice(pick)
        amount = 0 if invoice is None else -(-invoice.due_minor // share) + more
        if invoice is not None and amount:
            payment_id = ids.new_id()
            self._deliver(payment_event(invoice.user_id, invoice.id, amount, payment_id), fate)
            self.payments.append((invoice.user_id, invoice.id, payment_id))
            self.left[payment_id] = amount
            self.cash += amount

    @rule(pick=PICK, share=st.sampled_from((1, 2)), fate=FATES)
    def refund(self, pick: int, share: int, fate: str) -> None:
        if not self.payments:
            return
        user_id, invoice_id, payment_id = self.payments[pick % len(self.payments)]
        amount = self.left[payment_id] // share
        if amount:
            self._deliver(refund_event(user_id, invoice_id, payment_id, amount), fate)
            self.left[payment_id] -= amount
            self.cash -= amount

    @rule(pick=PICK, amount=st.integers(1, 60_000))
    def credit(self, pick: int, amount: int) -> None:
        invoice = self._invoice(pick)
        if invoice is not None:
            body = {"amount": rupees(amount), "reason": "line was down"}
            self._admin("post", f"/admin/invoices/{invoice.id}/credit-notes", body, repeated=True)

    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        invoice = self._invoice(pick)
        if invoice is not None:
            self._admin("post", f"/admin/invoices/{invoice.id}/void", None, repeated=True)

    @rule(pick=PICK)
    def dispute(self, pick: int) -> None:
        invoice = self._invoice(pick)
        if invoice is not None:
            self._post(invoice.user_id, f"/invoices/{invoice.id}/disputes", {"reason": "not mine"})

    @rule(pick=PICK, outcome=st.sampled_from(("accepted", "rejected")), credit=st.booleans())
    def resolve(self, pick: int, outcome: str, credit: bool) -> None:
        found = self.client.get(f"{self.base}/admin/disputes?state=open", headers=admin()).json["items"]
        if found:
            body: dict[str, Any] = {"outcome": outcome, "resolution": "looked at"}
            if credit and outcome == "accepted":
                body["credit"] = rupees(100)
            self._admin("post", f"/admin/disputes/{found[pick % len(found)]['id']}/resolve", body)

    @invariant()
    def the_books_balance(self) -> None:
        with reading() as session:
            entries = session.scalars(select(LedgerEntry)).all()
            facts = session.scalars(select(LedgerTransaction).order_by(LedgerTransaction.id)).all()
            owners = {fact.id: fact.account_id for fact in facts}
            told = {fact.account_id: fact.balance_minor for fact in facts}
            accounts = session.scalars(select(Account)).all()
            invoices = session.scalars(select(Invoice)).all()
        sums, of_account, due = Counter[str](), Counter[tuple[str, str]](), Counter[str]()
        for entry in entries:
            sums[entry.transaction_id] += entry.amount_minor
            of_account[owners[entry.transaction_id], entry.ledger_account] += entry.amount_minor
            sums[entry.ledger_account] += entry.amount_minor
        assert not any(sums[transaction_id] for transaction_id in owners)
        assert sums[LedgerAccount.CASH] == self.cash
        for invoice in invoices:
            due[invoice.account_id] += invoice.due_minor
        for account in accounts:
            assert told.get(account.id, 0) == account.receivable_minor - account.credit_minor
            assert (
                account.receivable_minor
                == of_account[account.id, LedgerAccount.RECEIVABLE]
                == due[account.id]
            )
            assert account.credit_minor == -of_account[account.id, LedgerAccount.CUSTOMER_CREDIT] >= 0

    @invariant()
    def what_is_in_the_ledger_stays_as_it_is(self) -> None:
        with reading() as session:
            rows = {
                str(row[0]): tuple(row)
                for table in (LedgerTransaction.__table__, LedgerEntry.__table__)
                for row in session.execute(select(table))
            }
        assert self.seen.items() <= rows.items()
        self.seen = rows

    @invariant()
    def numbers_have_no_gaps_and_a_month_has_one_invoice(self) -> None:
        with reading() as session:
            invoices = session.scalars(select(Invoice)).all()
            numbers = [str(invoice.number) for invoice in invoices]
            numbers += session.scalars(select(CreditNote.number)).all()
            numbers += session.scalars(select(Account.number)).all()
        series: dict[str, list[int]] = {}
        for number in numbers:
            name, _, last = number.rpartition("-")
            series.setdefault(name, []).append(int(last))
        assert all(sorted(found) == list(range(1, len(found) + 1)) for found in series.values())
        months = Counter(
            (i.account_id, i.period)
            for i in invoices
            if i.run_id is not None and i.state is not InvoiceState.VOID
        )
        assert set(months.values()) <= {1}
        assert all(invoice.state is not InvoiceState.DRAFT for invoice in invoices)
        told = Counter(event.data["invoice_id"] for event in emitted("invoice.issued"))
        assert told == Counter(invoice.id for invoice in invoices)

    @invariant()
    def a_record_is_charged_once(self) -> None:
        with reading() as session:
            records = session.scalars(select(UsageRecord)).all()
            totals = session.scalars(select(UsageTotal)).all()
        assert {record.record_id for record in records} == {record["record_id"] for record in self.records}
        assert sum(r.amount_minor for r in records) == sum(t.amount_minor for t in totals)

    @invariant()
    def what_counts_as_billed_stands_on_invoices(self) -> None:
        """Of runs, that are not void; less what their credit notes gave back, to the cent."""
        with reading() as session:
            owners = {one.id: one.account_id for one in session.scalars(select(Subscription))}
            fees = session.scalars(select(BilledFee)).all()
            totals = session.scalars(select(UsageTotal)).all()
            invoices = {one.id: one for one in session.scalars(select(Invoice))}
            notes = session.scalars(select(CreditNote).where(CreditNote.created_by.is_(None))).all()
        left = Counter[str]()
        for invoice in invoices.values():
            if invoice.run_id is not None and invoice.state is not InvoiceState.VOID:
                left[invoice.account_id] += invoice.subtotal_minor
        for note in notes:
            left[invoices[note.invoice_id].account_id] -= note.net_minor
        for fee in fees:
            left[owners[fee.subscription_id]] -= fee.billed_minor
        for total in totals:
            left[total.account_id] -= total.billed_minor
        assert all(amount >= 0 for amount in left.values())

    @invariant()
    def nobody_is_barred_without_notice(self) -> None:
        """Of something that was overdue then, seven days before at least, and not before the day that it named."""
        notices = [(e.subject, e.time, e.data["bar_from"]) for e in emitted("invoice.overdue")]
        for event in emitted("account.barred"):
            on = event.time.astimezone(clock.OPERATOR_ZONE).date().isoformat()
            assert any(
                who == event.subject and event.time - at >= timedelta(days=7) and bar_from <= on
                for who, at, bar_from in notices
            )
        with reading() as session:
            for account in session.scalars(select(Account).where(Account.status != AccountStatus.ACTIVE)):
                assert account.receivable_minor > account.credit_minor

    def teardown(self) -> None:
        """Whatever has happened, life goes on; and a month billed again brings nothing new."""
        self.pay(0, 2, 0, "twice")
        self.use(0, [80, 60], 0)
        self.days_go_by(25, 1)
        self.pay(1, 1, 5_000, "killed first")
        self.refund(len(self.payments) - 1, 2, "twice")
        self.bill_the_month(2)
        before = self._count()
        self.bill_the_month(0)
        assert self._count() == before
        for holds in (
            self.the_books_balance,
            self.what_is_in_the_ledger_stays_as_it_is,
            self.numbers_have_no_gaps_and_a_month_has_one_invoice,
            self.a_record_is_charged_once,
            self.what_counts_as_billed_stands_on_invoices,
            self.nobody_is_barred_without_notice,
        ):
            holds()
        self.stack.close()

    @property
    def _settings(self) -> Any:
        return self.app.extensions["sricare_settings"]

    def _count(self) -> tuple[int, int]:
        with reading() as session:
            return len(session.scalars(select(Invoice)).all()), len(session.scalars(select(CreditNote)).all())

    def _user(self, pick: int) -> str:
        return self.users[pick % len(self.users)]

    def _invoice(self, pick: int) -> Invoice | None:
        with reading() as session:
            found = session.scalars(select(Invoice).order_by(Invoice.id.desc())).all()
        return found[pick % len(found)] if found else None

    def _deliver(self, event: Any, fate: str) -> None:
        """Once, twice, or first to a worker that is killed just before it commits."""

        def hand_over(*, killed: bool = False) -> None:
            with transaction() as session:
                HANDLERS[event.type](session, event)
                if killed:
                    raise Killed

        if fate == "killed first":
            with pytest.raises(Killed):
                hand_over(killed=True)
        for _ in range(1 + (fate == "twice")):
            hand_over()

    def _work(self, advance: Callable[[Session, Any], bool], terms: Any, killed_after: int) -> None:
        """A worker's job until there is no more to do; killed once, just before it commits."""
        more = True
        while more:
            killed_after -= 1
            try:
                with transaction() as session:
                    more = advance(session, terms)
                    if killed_after == 0:
                        raise Killed
            except Killed:
                more = True

    def _post(self, user_id: str, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(self.base + path, json=body, headers=bearer(user_id))
        assert answer.status_code in (200, 201, 409), answer.text
        return answer.json

    def _of_subscription(self, user_id: str, act: str, body: dict[str, Any]) -> None:
        held = self.client.get(f"{self.base}/subscriptions", headers=bearer(user_id)).json["items"]
        if held:
            self._post(user_id, f"/subscriptions/{held[0]['id']}/{act}", body)

    def _admin(self, method: str, path: str, body: dict[str, Any] | None, *, repeated: bool = False) -> None:
        headers = admin()
        for _ in range(1 + repeated):
            answer = self.client.open(self.base + path, method=method, json=body, headers=headers)
            assert answer.status_code in (200, 201, 409), answer.text


def test_whatever_happens_in_whatever_order_the_books_balance(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_runs, "SLICE", 2)
    monkeypatch.setattr(dunning, "BATCH", 2)
    url = make_url(database_url)

    def open_books(stack: ExitStack) -> Any:
        """The application on a fresh copy of the migrated database."""
        if url.get_backend_name() == "sqlite":
            copy = tmp_path / f"{ids.new_id()}.sqlite3"
            shutil.copyfile(str(url.database), copy)
            fresh = f"sqlite:///{copy}"
        else:
            server = request.getfixturevalue("postgres")
            fresh = server.create_database(template=str(url.database))
            stack.callback(server.drop_database, str(make_url(fresh).database))
        app = make_app("billing", fresh, tmp_path, taxes=TAXES)
        stack.enter_context(app.app_context())
        stack.callback(db.engine.dispose)
        return app

    run_state_machine_as_test(
        lambda: Books(open_books),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="BILLING_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
