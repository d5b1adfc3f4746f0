"""Tables of auth, by noun."""

from auth.models.accounts import Address, Language, Line, Role, User
from auth.models.audit import AuditArchive, AuditEntry, AuditHead
from auth.models.base import Base
from auth.models.codes import Channel, Code, Purpose
from auth.models.factors import Ceremony, MfaChallenge, Passkey, RecoveryCode, Totp
from auth.models.kyc import KycDocument, KycState, KycSubmission
from auth.models.limits import Attempts
from auth.models.sessions import LoginSession, RefreshToken

__all__ = [
    "Address",
    "Attempts",
    "AuditArchive",
    "AuditEntry",
    "AuditHead",
    "Base",
    "Ceremony",
    "Channel",
    "Code",
    "KycDocument",
    "KycState",
    "KycSubmission",
    "Language",
    "Line",
    "LoginSession",
    "MfaChallenge",
    "Passkey",
    "Purpose",
    "RecoveryCode",
    "RefreshToken",
    "Role",
    "Totp",
    "User",
]
