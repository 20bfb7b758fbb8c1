"""Bill of materials of the environment that a release is made in, in CycloneDX's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from typing import TYPE_CHECKING

from echofm_core import __version__
from echofm_core.runtime.extras import DISTRIBUTION
from echofm_core.runtime.installed_code import code_digest

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

#: Longest name of a licence that is taken over; some packages put the whole text there.
LONGEST = 100
#: Where a distribution declares its licence, the best first.
_KEYS = ("License-Expression", "License", "Classifier")


def bill_of_materials() -> bytes:
    """Every installed distribution: name, version, package URL, licence, and what it needs.

    CycloneDX 1.6; no path of this machine is in it.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    found = {_key(each.metadata["Name"]): each for each in distributions() if each.metadata["Name"]}
    parts = {key: _component(key, each) for key, each in found.items() if key != DISTRIBUTION}
    root = Component(
        name=DISTRIBUTION,
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref=DISTRIBUTION,
        properties=[Property(name="echofm:code", value=code_digest())],
    )
    bom = Bom(components=parts.values())
    bom.metadata.component = root
    for key, each in found.items():
        needed = {parts[name] for name in _needs(each) if name in parts and name != key}
        bom.register_dependency(parts.get(key, root), needed)
    output = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return output.output_as_string(indent=1).encode() + b"\n"


def _component(key: str, found: Distribution) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        name=found.metadata["Name"],
        version=found.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{key}=={found.version}",
        purl=PackageURL(type="pypi", name=key, version=found.version),
        licenses=_licences(found),
    )


def _needs(found: Distribution) -> Iterator[str]:
    """Distributions that it asks for, those of its extras left out."""
    for text in found.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", text)
        if name and "extra ==" not in text:
            yield _key(name[0])


def _licences(found: Distribution) -> list[License]:
    """The one that a distribution declares: an expression, a short name, or by classifier."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    named = {key: found.metadata.get_all(key) or [] for key in _KEYS}
    classes = [line for line in named.pop("Classifier") if line.startswith("License :: ")]
    texts = [text for values in named.values() for text in values]
    for text in (*texts, *(line.rpartition(" :: ")[2] for line in classes)):
        if text.strip() and len(text) <= LONGEST and "\n" not in text.strip():
            return [LicenseFactory().make_from_string(text.strip())]
    return []


def _key(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
