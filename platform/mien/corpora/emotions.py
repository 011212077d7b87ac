"""Emotion vocabularies, and the maps between them.

Every corpus says the same emotion in its own word ("fearful", "FEA"). An importer translates that word into the
field's noun (`FIELD_WORDS`); an experiment then scores a *vocabulary*, an ordered tuple of those nouns. The order is
the order of the columns of every probability and confusion matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

VOCABULARIES: dict[str, tuple[str, ...]] = {
    # The six that RAVDESS and CREMA-D share.
    "common6": ("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    "ravdess8": ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"),
    # The keywords that MAHNOB-HCI's participants chose from.
    "mahnob9": (
        *("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"),
        *("amusement", "anxiety"),
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


# MAHNOB-HCI: attribute feltEmo of session.xml. 7 to 10 are listed beside them and were not among the keywords of the
# experiment: no word of the field stands for them.
MAHNOB_CODES: dict[int, tuple[str, str | None]] = {
    0: ("neutral", "neutral"),
    1: ("anger", "anger"),
    2: ("disgust", "disgust"),
    3: ("fear", "fear"),
    4: ("joy, happiness", "happiness"),
    5: ("sadness", "sadness"),
    6: ("surprise", "surprise"),
    7: ("scream", None),
    8: ("bored", None),
    9: ("sleepy", None),
    10: ("unknown", None),
    11: ("amusement", "amusement"),
    12: ("anxiety", "anxiety"),
}


def classes_of(vocabulary: str) -> tuple[str, ...]:
    """The classes of a vocabulary, by its name or listed: "angry,happy,sad". Raises ValueError for neither.

    >>> classes_of("angry, happy")
    ('angry', 'happy')
    """
    if vocabulary in VOCABULARIES:
        return VOCABULARIES[vocabulary]
    words = tuple(word.strip() for word in vocabulary.split(","))
    if len(words) < 2:
        raise ValueError(f"choose from {', '.join(VOCABULARIES)}, or list classes of your own: angry,happy,sad")
    if not all(words) or len(set(words)) < len(words):
        raise ValueError("name each class once, with a comma between two")
    return words


def class_index(emotion: str | None, vocabulary: str, merge: Mapping[str, str] | None = None) -> int | None:
    """Column of an emotion in a vocabulary (see `classes_of`); None where the vocabulary has no place for it.

    merge: emotion to the class that it is counted as, where the vocabulary lacks the emotion itself.

    >>> class_index("calm", "common6"), class_index("calm", "common6", {"calm": "neutral"})
    (None, 4)
    >>> class_index("calm", "ravdess8", {"calm": "neutral"})
    1
    """
    classes = classes_of(vocabulary)
    if emotion is not None and emotion not in classes:
        emotion = (merge or {}).get(emotion)
    return classes.index(emotion) if emotion in classes else None
