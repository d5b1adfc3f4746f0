"""What users choose, signed in and by the link in an e-mail."""

from html import escape

from flask import Response
from sqlalchemy.orm import Session

from common.db import reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply
from notification import queries
from notification.errors import (
    CategoryMandatory,
)
from notification.routes.base import routes
from notification.schemas.preferences import PreferencesIn, PreferencesOut, UnsubscribedOut, UnsubscribeQuery
from notification.use_cases import preferences


@routes.get("/preferences")
@operation("Show what one is told by which channel", returns={200: PreferencesOut})
def get_preferences() -> Response:
    with reading() as session:
        return reply(_preferences_of(session))


@routes.put("/preferences")
@operation(
    "Choose what to be told by which channel",
    body=PreferencesIn,
    returns={200: PreferencesOut},
    raises=(CategoryMandatory,),
)
def put_preferences(body: PreferencesIn) -> Response:
    with transaction() as session:
        changed = preferences.change_preferences(
            session,
            user_id=identity().user_id,
            channels={
                category: channels.model_dump(exclude_none=True)
                for category, channels in body.categories.items()
            },
            language=body.language,
        )
        quiet = body.quiet_hours
        if "quiet_hours" in body.model_fields_set:
            preferences.set_quiet_hours(
                changed,
                start=quiet.start if quiet else None,
                end=quiet.end if quiet else None,
                timezone=quiet.timezone if quiet else None,
            )
        session.flush()
        return reply(_preferences_of(session))


def _preferences_of(session: Session) -> PreferencesOut:
    preference, profile = queries.preference_of(session, identity().user_id)
    return PreferencesOut.of(preference, profile)


@routes.get("/unsubscribe")
@operation(
    "Show the page that an unsubscribe link opens",
    query=UnsubscribeQuery,
    roles=None,
    content_type="text/html",
)
def get_unsubscribe(query: UnsubscribeQuery) -> Response:
    """Changes nothing: mail scanners open links. The page's button does."""
    page = _UNSUBSCRIBE_PAGE.format(category=escape(query.category.value))
    return reply(page.encode(), content_type="text/html; charset=utf-8")


_UNSUBSCRIBE_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sri-Care</title></head><body><form method="post">
<p>No more e-mails about <b>{category}</b>? &middot; <b>{category}</b> පිළිබඳ විද්‍යුත් තැපැල් නවත්වන්නද? &middot;
<b>{category}</b> பற்றிய மின்னஞ்சல்களை நிறுத்தவா?</p>
<p><button type="submit">Unsubscribe &middot; නවත්වන්න &middot; நிறுத்து</button></p></form></body></html>
"""


@routes.post("/unsubscribe")
@operation(
    "Unsubscribe from e-mails of a category by one click",
    query=UnsubscribeQuery,
    returns={200: UnsubscribedOut},
    roles=None,
    raises=(NotFound,),
)
def post_unsubscribe(query: UnsubscribeQuery) -> Response:
    """RFC 8058: mail programs post here when the reader clicks their button."""
    with transaction() as session:
        preferences.unsubscribe(session, token=query.token, category=query.category)
        return reply(UnsubscribedOut(category=query.category, email=False))
