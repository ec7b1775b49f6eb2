"""What is wrong, unsupported or doubtful in what a user wrote: data, collected, never raised."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin


class Severity(Enum):
    """How much a finding takes away: ERROR leaves the object (or its part) out, WARNING only tells."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Struct, frozen=True):
    """One thing to tell the author of `origin`: what is wrong and what to do."""

    severity: Severity
    origin: Origin
    message: str
    remedy: str = ""
