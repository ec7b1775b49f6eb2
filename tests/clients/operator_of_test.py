"""A small kopf operator: it writes into each ConfigMap labelled `operated` how many letters its word has."""

from typing import Any

import kopf


@kopf.on.startup()
def settle(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Post no Events, and come back quickly after errors."""
    settings.posting.enabled = False
    settings.networking.error_backoffs = [0.1] * 100


@kopf.on.create("configmaps", labels={"operated": "yes"})
@kopf.on.update("configmaps", labels={"operated": "yes"}, field="data.word")
def count(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    """Count the letters."""
    patch.setdefault("data", {})["letters"] = str(len(body["data"]["word"]))
