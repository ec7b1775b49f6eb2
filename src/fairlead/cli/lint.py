"""`fairlead lint`: mistakes in policies and Services, and Ingresses they close: each with its field and what to do."""

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption
from fairlead.cli.objects import live_objects, policy_objects, read_manifests
from fairlead.cli.output import EXIT_NO, Output, answer_json

_FILES = typer.Option("-f", "--filename", metavar="PATH", help="Manifests to judge, instead of a running cluster.")


def lint(
    files: Annotated[list[Path] | None, _FILES] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="The form of the answer.")] = Output.TEXT,
    name: NameOption = DEFAULT_NAME,
) -> None:
    """Find what cannot work, or looks like a mistake, in network policies and Services.

    An error never works, whatever else there is, and makes the exit code 1. A warning depends on the pods and
    namespaces that are known.
    """
    from fairlead.compile.lint_policies import lint_policies
    from fairlead.compile.lint_services import lint_services
    from fairlead.compile.lint_world import read_world
    from fairlead.model import Severity
    from fairlead.sim.lint_names import lint_names
    from fairlead.sim.reach_objects import read_objects

    objects = policy_objects(read_manifests(files)) if files else live_objects(name)
    world = read_world(objects.policies, objects.pods, objects.namespaces, objects.services)
    found = [*lint_policies(world), *lint_names(world), *lint_services(objects.services, objects.pods)]
    if objects.ingresses:
        question = read_objects(objects)
        found += question.closed(question.reach())
    found.sort(key=lambda finding: (finding.severity is not Severity.ERROR, finding.origin))
    if output is Output.JSON:
        answer_json(found)
    else:
        for finding in found:
            print(f"{finding.severity.value}: {finding.origin}: {finding.message}")
            if finding.remedy:
                print(f"    {finding.remedy}")
        if not found:
            print("nothing found")
    if any(finding.severity is Severity.ERROR for finding in found):
        raise typer.Exit(EXIT_NO)
