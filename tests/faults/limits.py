"""Until when all is well again after each fault, with the settings that people get (seconds).

docs/FAULTS.md tells them, and a test keeps that page and this module the same. They are what the
suite insists on, on a busy machine too; docs/BENCHMARKS.md says how long it takes usually.
"""

from __future__ import annotations

from typing import Final

LIMITS: Final = {
    "connection killed": 2.0,
    "Redis frozen": 6.0,
    "connection half-open": 6.0,
    "Redis restarted": 4.0,
    "revision went back": 10.0,
    "primary gone": 15.0,
    "Redis full": 2.0,
    "message lost": 10.0,
    "message lost, then a change": 2.0,
    "message twice or late": 2.0,
    "node killed": 3.0,
    "node drained": 3.0,
    "Nginx reloaded": 35.0,
    "viewer stalled": 2.0,
    "viewer vanished": 61.0,
    "slow link": 10.0,
    "laptop woke": 10.0,
    "upload cut": 5.0,
    "clock wrong": 2.0,
}
