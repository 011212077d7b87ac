"""The feature store: clips and features of every corpus as Parquet files. docs/reference/store.md has its layout."""

from mien.features.store.feature_folder import FeatureFolder
from mien.features.store.rows import FeatureTable, Row
from mien.features.store.store import FeatureStore

__all__ = ["FeatureFolder", "FeatureStore", "FeatureTable", "Row"]
