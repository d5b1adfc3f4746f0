"""What the HTTP side of every service is made of; `create_web_app` wires it."""

from common.web.app import create_web_app
from common.web.idempotency import keep as keep_reply
from common.web.idempotency import look_up as look_up_key
from common.web.idempotency import resumes, work_id
from common.web.operation import Operation, operation
from common.web.replies import reply, reply_page

__all__ = [
    "Operation",
    "create_web_app",
    "keep_reply",
    "look_up_key",
    "operation",
    "reply",
    "reply_page",
    "resumes",
    "work_id",
]
