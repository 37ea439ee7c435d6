"""Prints the lowest versions that the package allows, as pip's constraints."""

from importlib.metadata import requires

from packaging.requirements import Requirement

for requirement in map(Requirement, requires("keras-influence")):
    if requirement.marker and not requirement.marker.evaluate(
        {"extra": "plots"}
    ):
        continue
    for bound in requirement.specifier:
        if bound.operator == ">=":
            print(f"{requirement.name}=={bound.version}")
