"""What is in an image, for whoever has to know: a CycloneDX document, with licences and hashes.

Made from the image itself, so that it names what is there and nothing that was left out; hashes are those of the wheels
and packages that were pinned. Writes nothing that does not keep to the schema.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Final

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from debian.deb822 import Deb822
from packageurl import PackageURL

from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import Message
    from pathlib import Path

    from cyclonedx.model.license import License

    from archive import ImageArchive
    from context import Provisioner

_CLASSIFIER: Final = "License :: "
_LONGEST_NAME: Final = 80  # some put the whole text of their licence where its name belongs


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing in the image.

    Attributes:
        name: of the distribution or package.
        version: its own.
        purl: where scanners look it up.
        licenses: names, or expressions of SPDX.
        sha256: of the wheel or package it came in; "" where that is not at hand.
    """

    name: str
    version: str
    purl: PackageURL
    licenses: tuple[str, ...]
    sha256: str = ""


def write_sbom(
    image: ImageArchive, provisioner: Provisioner, context: Path, pins: Mapping[str, str], target: Path
) -> list[Part]:
    """Writes the document; gives what it names.

    Args:
        image: what it is about.
        provisioner: whose image that is.
        context: what it was built from.
        pins: hashes of the base's packages, by name.
        target: where the document goes.

    Raises:
        SetupFailed: it does not keep to the schema, or something has no licence.
    """
    parts = [*python_parts(image, context), *debian_parts(image, pins)]
    nameless = [part.name for part in parts if not part.licenses]
    if nameless:
        raise SetupFailed(
            f"no licence is known of {', '.join(nameless)}, which are in the image of {provisioner.store}"
        )
    text = JsonV1Dot6(_bom(image, provisioner, parts)).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise SetupFailed(f"{target.name} does not keep to the schema of CycloneDX: {problem}")
    target.write_text(text + "\n")
    return parts


def _bom(image: ImageArchive, provisioner: Provisioner, parts: Iterable[Part]) -> Bom:
    components = [_component(part) for part in parts]
    bom = Bom(components=components)
    # The same image, the same document.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, "".join(image.layers))
    bom.metadata.timestamp = datetime.fromtimestamp(image.created, UTC)
    bom.metadata.component = Component(
        name=provisioner.name, version=provisioner.version, type=ComponentType.CONTAINER, bom_ref="image"
    )
    bom.register_dependency(bom.metadata.component, components)
    return bom


def _component(part: Part) -> Component:
    return Component(
        name=part.name,
        version=part.version,
        purl=part.purl,
        bom_ref=part.purl.to_string(),
        licenses=_licenses(part.licenses),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)] if part.sha256 else [],
    )


def _licenses(names: tuple[str, ...]) -> list[License]:
    factory = LicenseFactory()
    if len(names) == 1:
        return [factory.make_from_string(names[0])]
    # An expression can't stand beside others, only a name can.
    return [DisjunctiveLicense(name=name) for name in names]


def python_parts(image: ImageArchive, context: Path) -> list[Part]:
    """The distributions that are installed."""
    wheels = _wheels(context)
    return [_python_part(text, wheels) for text in image.descriptions(".dist-info/METADATA").values()]


def _python_part(text: str, wheels: Mapping[str, str]) -> Part:
    metadata = HeaderParser().parsestr(text)
    name, version = str(metadata["Name"]), str(metadata["Version"])
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return Part(
        name=normal,
        version=version,
        purl=PackageURL(type="pypi", name=normal, version=version),
        licenses=tuple(_named_licenses(metadata)),
        sha256=wheels.get(f"{normal}=={version}", ""),
    )


def _named_licenses(metadata: Message) -> list[str]:
    expression = str(metadata.get("License-Expression", ""))
    if expression:
        return [expression]
    named = str(metadata.get("License", "")).strip()
    if named and len(named) < _LONGEST_NAME and "\n" not in named:
        return [named]
    classifiers = [str(each) for each in metadata.get_all("Classifier", [])]
    return sorted({each.rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIER)})


def _wheels(context: Path) -> dict[str, str]:
    found = {}
    for folder in ("wheels", "ours"):
        for path in (context / folder).glob("*.whl"):
            name, version = path.name.split("-")[:2]
            normal = re.sub(r"[-_.]+", "-", name).lower()
            found[f"{normal}=={version}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def debian_parts(image: ImageArchive, pins: Mapping[str, str]) -> list[Part]:
    """The packages of the base; none where the base is somebody else's image."""
    texts = image.descriptions("/copyright")
    controls = [Deb822(text) for text in image.descriptions("").values() if text.startswith("Package: ")]
    return [
        _debian_part(control, texts.get(_copyright(image, control["Package"]), ""), pins.get(control["Package"], ""))
        for control in controls
    ]


def _copyright(image: ImageArchive, package: str) -> str:
    """Path of its copyright file: some packages link to the documentation of another."""
    target = image.entries[f"usr/share/doc/{package}"].target
    return f"usr/share/doc/{target or package}/copyright"


def _debian_part(control: Deb822, copyright_text: str, sha256: str) -> Part:
    name, version = str(control["Package"]), str(control["Version"])
    qualifiers = {"arch": str(control["Architecture"]), "distro": "debian"}
    return Part(
        name=name,
        version=version,
        purl=PackageURL(type="deb", namespace="debian", name=name, version=version, qualifiers=qualifiers),
        licenses=tuple(_debian_licenses(copyright_text)),
        sha256=sha256,
    )


def _debian_licenses(text: str) -> list[str]:
    paragraphs = list(Deb822.iter_paragraphs(text.splitlines()))
    if paragraphs and "Format" in paragraphs[0]:
        said = [str(paragraph.get("License", "")) for paragraph in paragraphs]
        return sorted({each.strip().partition("\n")[0] for each in said} - {""})  # below the name is the text
    # An older kind of file, of plain words; those who wrote it named the texts that Debian ships.
    found = set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text))
    return [*sorted(found), "what its copyright file says"] if text else []
