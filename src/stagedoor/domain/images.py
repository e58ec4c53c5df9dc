"""AWS's container image URIs as names of local algorithms and frameworks.

Place in the flow: CreateModel and CreateTrainingJob ask which algorithm an image stands for; what each repository is
stands in ``images.toml`` next to this module. No image is ever pulled.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.(amazonaws\.com(\.cn)?|api\.aws)"
    r"/(?P<repository>[a-z0-9]+([._/-][a-z0-9]+)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class UnsupportedImageError(ValueError):
    """Nothing here stands for this image; the text names the image, the reason and what is supported."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image URI in its parts; ``tag`` is ``latest`` where none was given."""

    account_id: str
    region: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, uri: str) -> "Image":
        """Read ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG``; UnsupportedImageError for anything else."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise UnsupportedImageError(
                f"The image {uri} is not an Amazon ECR image URI (ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG), "
                f"and no other registry is supported. {_supported()}"
            )
        if match["digest"]:
            raise UnsupportedImageError(
                f"The image {uri} is named by its digest; name it by its tag. {_supported()}"
            )
        return cls(match["account"], match["region"], match["repository"], match["tag"] or "latest")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What stands behind an image: ``name`` is the warm runtime of the engine and the stem of the worker's modules.

    ``version`` is what the image's tag begins with (``1.7-1``): informative, one local version answers for all.
    ``framework`` is the runtime for scripts of the user's own, empty for an image that takes none. ``is_builtin``: without a script
    the image is an algorithm.
    """

    name: str
    version: str
    framework: str = ""
    is_builtin: bool = True


def resolve(uri: str) -> Algorithm:
    """The local algorithm behind an image URI; UnsupportedImageError says why there is none."""
    image = Image.parse(uri)
    entry = _catalogue().get(image.repository)
    if entry is None:
        raise UnsupportedImageError(
            f"The image {uri} is not one of those that this release has a local runtime for. {_supported()}"
        )
    if "reason" in entry:
        raise UnsupportedImageError(f"The image {uri} cannot be used: {entry['reason']}. {_supported()}")
    if re.fullmatch(entry["tags"], image.tag) is None:
        raise UnsupportedImageError(
            f"The image {uri} cannot be used: {image.repository} has no tag {image.tag}. {_supported()}"
        )
    framework = entry.get("framework", "")
    if "algorithm" in entry:
        return Algorithm(entry["algorithm"], image.tag.removesuffix("-py3").removesuffix("-cpu"), framework)
    return Algorithm(framework, re.split(r"-[cg]pu\b|-py\d", image.tag)[0], framework, is_builtin=False)


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _supported() -> str:
    names = sorted(name for name, entry in _catalogue().items() if "reason" not in entry)
    return f"Supported images: {', '.join(f'…/{name}:TAG' for name in names)}."
