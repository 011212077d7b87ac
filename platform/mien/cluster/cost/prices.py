"""Prices: what a machine, a disk and a request cost, from a dated table that the user can edit. Nothing is fetched."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from mien.errors import MienError

HOURS_OF_A_MONTH = 730.0  # Amazon's own month: 8,760 hours / 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A type of machine in a region. on_demand, spot: US dollars an hour."""

    name: str
    vcpus: int
    memory_gib: float
    gpus: int
    on_demand: float
    spot: float
    interruptions_per_h: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Prices of one region. Per GB and month: storage_gb_month (S3 Standard), disk_gb_month (EBS gp3)."""

    date: str
    region: str
    instances: Mapping[str, Instance]
    storage_gb_month: float
    put_per_1000: float
    get_per_1000: float
    disk_gb_month: float
    unchecked: tuple[str, ...]

    def instance(self, name: str) -> Instance:
        """Raises MienError for a type that the table lacks."""
        if name not in self.instances:
            known = ", ".join(self.instances)
            raise MienError(f"no price for instance type {name!r} in {self.region}: it has {known}; {_REMEDY}")
        return self.instances[name]


_REMEDY = "add it to a copy of platform/mien/cluster/cost/prices.json and give that as --prices"


def load_prices(region: str, file: Path | None = None, interruptions_per_h: float | None = None) -> Prices:
    """The prices of a region, from the table of this package or from one of the same form.

    The rate of interruptions is that of a Poisson process in which the upper end of the band is the share of machines
    that are lost within a month: -ln(1 - share) / 730 an hour. interruptions_per_h: for all types, instead of that.
    Raises MienError for a table that is none, for a region without prices, and for a negative rate.
    """
    if interruptions_per_h is not None and not interruptions_per_h >= 0:
        raise MienError(f"--interruptions {interruptions_per_h}: 0 an hour or more")
    table = _read(file)
    try:
        if region not in table["regions"]:
            raise MienError(
                f"no prices for region {region!r}: give --region, of {', '.join(table['regions'])}; or {_REMEDY}"
            )
        found = table["regions"][region]
        unchecked = [name for name, price in found["instances"].items() if not price["checked"]]
        return Prices(
            date=table["date"],
            region=region,
            instances={
                name: _instance(name, table["instances"][name], price, table["interruption_bands"], interruptions_per_h)
                for name, price in found["instances"].items()
            },
            storage_gb_month=_dollars(found["s3"]["storage_gb_month"]),
            put_per_1000=_dollars(found["s3"]["put_per_1000"]),
            get_per_1000=_dollars(found["s3"]["get_per_1000"]),
            disk_gb_month=_dollars(found["ebs_gp3_gb_month"]["price"]),
            unchecked=(*unchecked, *(what for what in ("s3", "ebs_gp3_gb_month") if not found[what]["checked"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MienError(
            f"{file or 'prices.json'}: {_wrong(error)}; keep the form of mien/cluster/cost/prices.json"
        ) from None


def _read(file: Path | None) -> dict[str, Any]:
    try:
        text = file.read_text() if file else package_files("mien.cluster.cost").joinpath("prices.json").read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise MienError(f"--prices {file}: cannot be read as JSON ({error})") from None


def _instance(name: str, kind: Any, price: Any, bands: Any, interruptions_per_h: float | None) -> Instance:
    _, share = bands[price["interruptions"]]
    by_band = -math.log1p(-share) / HOURS_OF_A_MONTH
    return Instance(
        name=name,
        vcpus=int(kind["vcpus"]),
        memory_gib=float(kind["memory_gib"]),
        gpus=int(kind["gpus"]),
        on_demand=_dollars(price["on_demand"]),
        spot=_dollars(price["spot"]),
        interruptions_per_h=by_band if interruptions_per_h is None else interruptions_per_h,
    )


def _dollars(value: Any) -> float:
    if not float(value) >= 0:
        raise ValueError(f"{value!r} is no price")
    return float(value)


def _wrong(error: Exception) -> str:
    return f"lacks {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
