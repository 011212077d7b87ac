"""Emotion vocabularies, and the maps between them.

Every corpus says the same emotion in its own word ("fearful", "FEA"). An importer translates that word into the
field's noun (`FIELD_WORDS`); an experiment then scores a *vocabulary*, an ordered tuple of those nouns. The order is
the order of the columns of every probability and confusion matrix.
"""

from __future__ import annotations

VOCABULARIES: dict[str, tuple[str, ...]] = {
    # The six that RAVDESS and CREMA-D share.
    "common6": ("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    "cremad6": ("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    "ravdess8": ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"),
    "mahnob9": (
        "neutral",
        "anger",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
        "amusement",
        "anxiety",
    ),
}

FIELD_WORDS: frozenset[str] = frozenset(word for words in VOCABULARIES.values() for word in words)

# RAVDESS, Livingstone & Russo 2018, table 1: third field of the file name.
RAVDESS_CODES: dict[str, tuple[str, str]] = {
    "01": ("neutral", "neutral"),
    "02": ("calm", "calm"),
    "03": ("happy", "happiness"),
    "04": ("sad", "sadness"),
    "05": ("angry", "anger"),
    "06": ("fearful", "fear"),
    "07": ("disgust", "disgust"),
    "08": ("surprised", "surprise"),
}

# CREMA-D, Cao et al. 2014: third field of the file name; the first letter names the vote.
CREMAD_CODES: dict[str, str] = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}


def class_index(emotion: str | None, vocabulary: str, calm: str = "merge") -> int | None:
    """Column of an emotion in a vocabulary; None where the vocabulary has no place for it.

    calm: "merge" counts calm as neutral where the vocabulary lacks it, "drop" leaves such clips out.

    >>> class_index("calm", "common6"), class_index("calm", "common6", calm="drop"), class_index("calm", "ravdess8")
    (4, None, 1)
    """
    classes = VOCABULARIES[vocabulary]
    if emotion == "calm" and "calm" not in classes and calm == "merge":
        emotion = "neutral"
    return classes.index(emotion) if emotion in classes else None
