"""The numbers of section 9, configurable and checked when the node starts (LIM-1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustLimits:
    """Limits of the TrustFSM.

    Args:
        cooldown_ms: First cooldown after a demotion to untrusted (TRUST-3).
        cooldown_cap_ms: Longest cooldown that doubling leads to.
        cooldown_reset_ms: Time without a demotion after which the doubling begins anew.
        unverifiable_count: How many `unverifiable` within `unverifiable_window_ms` demote.
        unverifiable_window_ms: See `unverifiable_count`.
        grave_confidence: From this confidence on a contradicting statement counts towards `severe_conflict`.
        grave_confirmers: From this number of independent confirmers of the contradicted claim on.
        grave_count: Which such conflict is severe (TRUST-4), and every later one.
        newcomers_per_hour: New records from unknown (TRUST-10).
        log_events: Events that a `TrustFSM` holds in memory; older ones are folded into its base record.
    """

    cooldown_ms: int = 60_000
    cooldown_cap_ms: int = 3_600_000
    cooldown_reset_ms: int = 86_400_000
    unverifiable_count: int = 3
    unverifiable_window_ms: int = 600_000
    grave_confidence: float = 0.9
    grave_confirmers: int = 2
    grave_count: int = 3
    newcomers_per_hour: int = 1_000
    log_events: int = 1_024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.cooldown_cap_ms < self.cooldown_ms:
            raise ValueError("cooldown_cap_ms must not be below cooldown_ms")
        if self.grave_confidence > 1:
            raise ValueError("grave_confidence must not exceed 1")
