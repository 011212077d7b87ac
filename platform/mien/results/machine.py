"""The machine that this runs on."""

from __future__ import annotations

from pathlib import Path

_DMI = Path("/sys/devices/virtual/dmi/id")


def instance_type() -> str | None:
    """Amazon's name of this machine's type ("c7i.4xlarge"), None elsewhere.

    Nitro machines tell it as their product's name, to everybody and without a request to the metadata service.
    """
    try:
        vendor, name = ((_DMI / entry).read_text().strip() for entry in ("sys_vendor", "product_name"))
    except OSError:
        return None
    return name if vendor == "Amazon EC2" else None
