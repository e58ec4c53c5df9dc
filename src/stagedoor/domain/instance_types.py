"""What an instance type stands for on one machine: its number of vCPUs.

The sizes of a family grow alike: ``large`` and ``medium`` have two vCPUs, ``xlarge`` four, ``Nxlarge`` N times as many. What
does not follow that is listed.
"""

import re

_SIZE = re.compile(r"ml\.[a-z0-9-]+\.(?P<times>\d+)?(?P<size>xlarge|large|medium)")
_OTHERS = {"ml.c4.8xlarge": 36}


def vcpus(instance_type: str) -> int:
    """The number of vCPUs of an instance type; two for one whose name does not say."""
    if instance_type in _OTHERS:
        return _OTHERS[instance_type]
    match = _SIZE.fullmatch(instance_type)
    if match is None or match["size"] != "xlarge":
        return 2
    return 4 * int(match["times"] or 1)
