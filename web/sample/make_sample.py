"""Write trips.tsv: bike trips of a city that does not exist, the same bytes on every run."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

ROWS = 3_600
STATIONS = {
    "Harbour Gate": (0.0, 0.0),
    "Øster Quay": (1.2, 0.4),
    "Çınar Square": (2.1, -0.9),
    "Łąkowa Street": (3.4, 1.6),
    "Old Observatory": (4.0, -1.1),
    "São Bento Steps": (1.7, 2.2),
    "Müllerplatz": (2.8, 0.3),
    "Вокзал Central": (0.6, -1.8),
    "Αγορά Market": (5.1, 0.8),
    "Žižkov Park": (4.6, 2.5),
    "University East": (6.2, -0.4),
    "Lighthouse Road": (-1.4, 1.1),
    "Kauppahalli": (0.9, 1.5),
    "Saint Éloi": (3.1, -2.3),
    "Ғарыш Gardens": (5.7, -2.0),
    "Waterworks": (-0.8, -1.2),
}
RIDERS = ["member"] * 6 + ["day pass"] * 3 + ["visitor"]
NOTES = [
    "flat tyre",
    "bell missing",
    "rain all the way",
    "left in the wrong rack",
    "brake squeaks",
    "lovely light ☀",
    "basket “borrowed”",
    "child seat fitted",
    "returned by the café opposite",
    "lock stuck, hotline helped",
]
LONG_NOTE = (
    "Reported by the rider: the dock at the station did not take the bike, so it was left "
    "leaning on the rail beside the kiosk, with the front light still on. A second rider "
    "moved it to the next station and scanned it there, which is why this trip seems to last "
    "the whole afternoon. The workshop looked at the dock the same evening: a pebble in the "
    "latch. The time was corrected by hand, the fare was given back, and the pebble now lives "
    "in a jar on the workshop's window sill, next to the others. Please keep this trip out of "
    "the averages: its distance is right, its duration is not."
)


def trips() -> list[list[str]]:
    random = Random(20240501)
    names = list(STATIONS)
    weights = [1 + 12 / (1 + abs(x) + abs(y)) for x, y in STATIONS.values()]
    at = datetime(2024, 5, 1, 5, 12, tzinfo=UTC)
    rows = []
    for number in range(1, ROWS + 1):
        at += timedelta(seconds=random.expovariate(1 / (150 if 7 <= at.hour <= 21 else 900)))
        start, end = random.choices(names, weights, k=2)
        (x1, y1), (x2, y2) = STATIONS[start], STATIONS[end]
        km = (abs(x1 - x2) + abs(y1 - y2)) * 0.8 + random.uniform(0.3, 2.4)
        minutes = km * random.uniform(3.4, 6.1) + random.uniform(0.5, 4)
        rider = random.choice(RIDERS)
        fare = "" if rider == "member" else f"{1.5 + 0.12 * minutes:.2f}"
        note = random.choice(NOTES) if random.random() < 0.07 else ""
        if number == 17:
            note = LONG_NOTE
        rows.append(
            [
                f"T{240500000 + number}",
                at.strftime("%Y-%m-%d %H:%M"),
                start,
                end,
                str(random.randint(1001, 1640)),
                f"{minutes:.0f}",
                f"{km:.1f}",
                fare,
                rider,
                "" if random.random() < 0.02 else f"{random.gauss(16, 5):.1f}",
                note,
            ]
        )
    return rows


def main() -> None:
    header = [
        "trip",
        "started",
        "from",
        "to",
        "bike",
        "minutes",
        "km",
        "fare",
        "rider",
        "°C",
        "note",
    ]
    with Path(__file__).with_name("trips.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([header, *trips()])


if __name__ == "__main__":
    main()
