"""What real lamps look like, as data: which colours, which words, how often. A new lamp gets its lines here."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

# Lamps that are words, as printed on real clusters. "|" starts a new line.
WORDS: dict[str, tuple[str, ...]] = {
    "check_engine": ("CHECK", "CHECK|ENGINE", "SERVICE|ENGINE|SOON", "ENGINE"),
    "oil_pressure": ("OIL",),
    "oil_level": ("OIL LEVEL", "OIL|LEVEL"),
    "coolant_temp": ("TEMP",),
    "battery_charge": ("CHARGE", "BATT"),
    "brake_system": ("BRAKE", "BRAKE", "BRAKE", "BRAKE|SYSTEM"),
    "parking_brake": ("PARK", "PARK", "EPB"),
    "auto_hold": ("HOLD", "AUTO|HOLD", "BRAKE|HOLD"),
    "abs": ("ABS", "ABS", "ANTI|LOCK"),
    "airbag": ("AIR|BAG", "SRS", "AIRBAG"),
    "airbag_off": ("PASSENGER|AIRBAG OFF", "AIRBAG OFF", "PASS AIR|BAG OFF"),
    "power_steering": ("EPS", "EPS", "P/S"),
    "stability_control": ("VSA", "VSC", "ESC", "ESP", "TRAC", "VDC", "TC", "TCS", "DSC"),
    "stability_off": ("ESC|OFF", "VSC|OFF", "TRAC|OFF", "TCS OFF", "VSA|OFF", "ESP OFF"),
    "tpms": ("TPMS", "TPMS"),
    "transmission": ("A/T", "AT OIL|TEMP", "A/T OIL|TEMP", "AT"),
    "immobilizer": ("KEY", "SECURITY", "IMMO"),
    "service": ("SERVICE", "MAINT|REQD", "SERVICE|DUE"),
    "ev_fault": ("EV|SYSTEM", "HYBRID|SYSTEM"),
    "low_fuel": ("LOW FUEL",),
    "collision_warning": ("PCS", "FCW", "CMBS"),
    "lane_departure": ("LDW", "LKAS", "LDA"),
    "awd": ("4WD", "AWD", "4x4", "4WD|LOCK", "4LO"),
    "start_stop": ("A-STOP",),
    "cruise_control": ("CRUISE", "CRUISE", "SET", "CRUISE|MAIN", "CRUISE|CONTROL"),
    "eco": ("ECO", "ECO", "ECO|MODE", "ECON"),
    "ready": ("READY", "READY", "Ready", "EV READY"),
    "other": ("STARTER|SYSTEM", "O/D|OFF", "BSM", "SPORT", "SHIFT", "PWR", "WINTER", "LPG", "CNG", "AFS|OFF", "ALERT"),
}
# Drawn together with their word often enough to be a variant of their own: pictogram above, word below.
CAPTIONS: dict[str, tuple[str, ...]] = {
    "brake_system": ("BRAKE", "BRAKE", "BRAKE SYSTEM"),
    "parking_brake": ("PARK", "BRAKE"),
    "check_engine": ("CHECK", "CHECK ENGINE"),
    "abs": ("ABS",),
    "awd": ("LOCK", "AUTO", "LOW"),
}

# How often each lamp is lit in which colour. Facts of ISO 2575 practice; the odd ones are what real cars show.
LAMP_COLORS: dict[str, dict[str, float]] = {
    "check_engine": {"amber": 0.97, "red": 0.03},
    "oil_pressure": {"red": 0.93, "amber": 0.07},
    "oil_level": {"amber": 0.85, "red": 0.15},
    "coolant_temp": {"red": 0.6, "blue": 0.35, "amber": 0.05},
    "coolant_level": {"amber": 0.6, "red": 0.4},
    "battery_charge": {"red": 0.95, "amber": 0.05},
    "brake_system": {"red": 0.9, "amber": 0.1},
    "parking_brake": {"red": 0.9, "amber": 0.1},
    "brake_wear": {"amber": 0.8, "red": 0.2},
    "auto_hold": {"green": 0.7, "white": 0.2, "amber": 0.1},
    "abs": {"amber": 0.97, "red": 0.03},
    "airbag": {"red": 0.8, "amber": 0.2},
    "airbag_off": {"amber": 0.9, "red": 0.1},
    "seat_belt": {"red": 0.96, "amber": 0.04},
    "power_steering": {"amber": 0.6, "red": 0.4},
    "stability_control": {"amber": 1.0},
    "stability_off": {"amber": 1.0},
    "tpms": {"amber": 0.95, "red": 0.05},
    "transmission": {"amber": 0.6, "red": 0.4},
    "immobilizer": {"amber": 0.45, "red": 0.35, "green": 0.2},
    "master_warning": {"amber": 0.5, "red": 0.5},
    "glow_plug": {"amber": 1.0},
    "dpf": {"amber": 1.0},
    "adblue": {"amber": 0.8, "red": 0.2},
    "bulb_failure": {"amber": 0.95, "red": 0.05},
    "service": {"amber": 0.8, "red": 0.1, "white": 0.1},
    "ev_fault": {"amber": 0.6, "red": 0.4},
    "low_fuel": {"amber": 0.97, "red": 0.03},
    "washer_fluid": {"amber": 0.9, "blue": 0.1},
    "door_open": {"red": 0.9, "amber": 0.05, "white": 0.05},
    "hood_open": {"red": 0.7, "amber": 0.3},
    "trunk_open": {"red": 0.7, "amber": 0.3},
    "collision_warning": {"amber": 0.6, "red": 0.4},
    "lane_departure": {"amber": 0.4, "green": 0.35, "white": 0.25},
    "awd": {"green": 0.4, "amber": 0.6},
    "start_stop": {"green": 0.5, "amber": 0.35, "white": 0.15},
    "high_beam": {"blue": 1.0},
    "low_beam": {"green": 1.0},
    "front_fog": {"green": 1.0},
    "rear_fog": {"amber": 1.0},
    "position_lights": {"green": 1.0},
    "turn_signal": {"green": 1.0},
    "hazard": {"red": 1.0},
    "cruise_control": {"green": 0.6, "amber": 0.15, "white": 0.25},
    "eco": {"green": 0.9, "white": 0.1},
    "ready": {"green": 0.9, "white": 0.1},
    "frost": {"amber": 0.4, "white": 0.3, "blue": 0.3},
    "other": {"amber": 0.5, "green": 0.2, "red": 0.2, "white": 0.1},
}
# Lamps that owners meet most; the others still appear in every third cluster or so.
FREQUENT = frozenset(
    "check_engine oil_pressure battery_charge brake_system parking_brake seat_belt door_open airbag abs tpms low_fuel "
    "coolant_temp power_steering stability_control immobilizer high_beam turn_signal position_lights".split()
)


def emission(color: str, rng: Generator) -> NDArray[np.float32]:
    """Linear RGB of a lamp. LEDs leak into the other channels: that is what turns an overexposed red core pink."""
    leak = float(rng.choice([0.03, 0.08, 0.18], p=[0.4, 0.4, 0.2]))
    u = rng.uniform
    # Most phones turn a bright red core pink, some turn it yellow.
    green, blue = (1.6, 0.5) if rng.random() < 0.25 else (0.9, 1.6)
    rgb = {
        "red": (1, u(0, green) * leak, u(0, blue) * leak),
        "amber": (1, u(0.25, 0.62), u(0, 0.6) * leak),
        "green": (u(0, 2.5) * leak, 1, u(0.05, 0.5)),
        "blue": (u(0, 1.5) * leak, u(0.05, 0.45), 1),
        "white": (u(0.8, 1), 1, u(0.85, 1.1)),
    }[color]
    return np.array(rgb, np.float32)
