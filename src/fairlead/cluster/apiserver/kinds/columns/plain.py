"""The columns that every kind can be shown in: its name and its age."""

from fairlead.cluster.apiserver.kinds.columns.ages import age_text
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, text_at

NAME = Column("Name", "string", "name", "The name of the object, unique among its kind in its namespace.")
AGE = Column("Age", "string", "", "How long ago the object was created.")

PLAIN = (NAME, AGE)


def name_of(document: Document) -> str:
    """Return metadata.name."""
    return text_at(document, "metadata", "name")


def age_of(document: Document, now: float) -> str:
    """Return the time since metadata.creationTimestamp."""
    return age_text(text_at(document, "metadata", "creationTimestamp"), now)


def plain_row(document: Document, now: float) -> list[Json]:
    """Return the cells of `PLAIN`."""
    return [name_of(document), age_of(document, now)]
