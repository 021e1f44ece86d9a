"""What every test of the kit shares with those of extensions."""

from tests.extensions.conftest import patient_reaping

__all__ = ["patient_reaping"]
