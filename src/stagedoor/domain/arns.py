"""Amazon Resource Names as values: ``arn:partition:service:region:account:resource``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arn:
    """One ARN in its six parts; ``resource`` is everything behind the fifth colon, unparsed."""

    service: str
    region: str
    account_id: str
    resource: str
    partition: str = "aws"

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account_id}:{self.resource}"

    @property
    def resource_type(self) -> str:
        """What stands before the first ``/`` or ``:`` of the resource (``endpoint``, ``role``, ``function``)."""
        for index, character in enumerate(self.resource):
            if character in "/:":
                return self.resource[:index]
        return ""

    @property
    def resource_id(self) -> str:
        """What stands behind the first ``/`` or ``:`` of the resource; the whole of it where there is none."""
        for index, character in enumerate(self.resource):
            if character in "/:":
                return self.resource[index + 1 :]
        return self.resource

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Read an ARN; ValueError when it has not six parts or does not begin with ``arn:``."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[1] or not parts[2]:
            raise ValueError(f"not an ARN: {text!r}")
        return cls(
            partition=parts[1], service=parts[2], region=parts[3], account_id=parts[4], resource=parts[5]
        )
