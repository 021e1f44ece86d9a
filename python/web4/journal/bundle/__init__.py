"""Incident bundles: part of a journal, redacted, that verifies wherever it is taken (JRN-21)."""

from web4.journal.bundle.checking import BundleReport, verify_bundle
from web4.journal.bundle.export import export_bundle
from web4.journal.bundle.manifest import Manifest, Selector
from web4.journal.bundle.source import BundleSource

__all__ = ["BundleReport", "BundleSource", "Manifest", "Selector", "export_bundle", "verify_bundle"]
