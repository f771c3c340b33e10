"""Where an input lies in the embedding of the student that answered it, as one whole number: its spot.

When a student is trained its embedding is cut into regions, each around a centre; a band says how far from that
centre an input lies, by the distances of training rows. Its ONNX file holds both and tells them beside `probs`.
"""

REGIONS = 32
BAND_SHARES = (*(part / 14 for part in range(1, 14)), 0.98, 0.995)  # of training rows that lie nearer
BANDS = len(BAND_SHARES) + 1
SPOTS = REGIONS * BANDS
NOWHERE = -1  # the teacher's answer, or that of a student that does not tell


def spot_of(region: int, band: int) -> int:
    """NOWHERE for what is no region or no band."""
    return region * BANDS + band if 0 <= region < REGIONS and 0 <= band < BANDS else NOWHERE


def is_spot(number: object) -> bool:
    return type(number) is int and 0 <= number < SPOTS
