"""Which quantity a phrase is about: "recall of", "its border", "without the optical image"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sarcover.explain.quantities import QUANTITIES

Topics = frozenset[str]


@dataclass(frozen=True)
class TopicMention:
    """A phrase and the topics of the quantities that it can mean."""

    start: int
    end: int
    topics: Topics


# Topics, then the phrases that mean them, as regular expressions in which a space is any space. Where phrases
# overlap, the one that begins first counts; of those that begin at one place the longer, then the upper one.
_TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("training median", (
        r"training(?: pixels'?| data(?:'s)?)? medians?",
        r"medians? (?:of|in|from) (?:the |its )?training",
    )),
    ("training median, training texture, training p10, training p90, above training", (
        r"(?:that|those) (?:of|in) (?:the |its )?training(?: (?:pixels|data))?",
    )),
    ("within training", (
        r"within (?:the )?training(?:'s| data's)? 10th (?:percentile )?(?:to|and|-) (?:the )?90th"
        r"(?: percentiles?)?",
    )),
    ("training p10", (r"training(?:'s)? 10th\b",)),
    ("training p90", (r"training(?:'s)? 90th\b",)),
    ("training p10, training p90, within training", (
        r"10th (?:percentile )?(?:to|and|-) (?:the )?90th(?: percentiles?)?"
        r" (?:of|in) (?:the |its )?training(?: (?:pixels|data))?",
    )),
    ("p10, p90, reflectance p10, reflectance p90, within training", (
        r"10th (?:percentile )?(?:to|and|-) (?:the )?90th(?: percentiles?)?",
    )),
    ("p10, confidence p10, reflectance p10", (r"10th percentiles?",)),
    ("p90, entropy p90, reflectance p90", (r"90th percentiles?",)),
    ("training texture", (r"training(?: pixels'?| data(?:'s)?)? textures?",)),
    ("above training, within training, training median, training pixels", (r"training\b",)),
    ("model mean, model std, above model", (
        r"(?:mean|standard deviations?) (?:of|that) (?:the )?model",
        r"standard deviations?",
        r"model(?:'s)? mean",
    )),
    ("ndvi", (r"ndvi",)),
    ("ndwi", (r"ndwi",)),
    ("reflectance, reflectance p10, reflectance p90", (r"reflectances?",)),
    ("median, reflectance, ndvi, ndwi", (r"medians?", r"typically")),
    ("median, p10, p90", (r"backscatter(?:s|ed)?", r"returns (?:about|around)")),
    ("texture", (r"textures?", r"textured", r"coefficients? of variation")),
    ("low confidence, confidence, confidence p10", (r"low (?:confidence|certainty)",)),
    ("low confidence", (r"less than even", r"below one half")),
    ("confidence, confidence p10, low confidence", (r"confiden\w+", r"probabilit\w+", r"certain(?:ty)?")),
    ("entropy, entropy p90", (r"uncertain\w*", r"entrop\w+")),
    ("without optical", (
        r"without (?:the )?optical(?: (?:image|bands|input|data))?",
        r"optical(?: \w+){0,2} (?:withheld|removed|left out|taken away)",
    )),
    ("without radar", (
        r"without (?:the )?(?:radar|sar)(?: (?:image|bands|input|data))?",
        r"(?:radar|sar)(?: \w+){0,2} (?:withheld|removed|left out|taken away)",
    )),
    ("optical weight", (
        r"optical(?: \w+){0,3} (?:weight|contribut\w+|share)",
        r"weight(?= of [\d.,]+ ?% (?:of|from|to|on) (?:the )?optical)",
        r"(?:weight|contribution|share) (?:of|from|to|on) (?:the )?optical(?: (?:image|bands|input|data))?",
    )),
    ("radar weight", (
        r"(?:radar|sar)(?: \w+){0,3} (?:weight|contribut\w+|share)",
        r"weight(?= of [\d.,]+ ?% (?:of|from|to|on) (?:the )?(?:radar|sar))",
        r"(?:weight|contribution|share) (?:of|from|to|on) (?:the )?(?:radar|sar)(?: (?:image|bands|data))?",
    )),
    ("clear", (r"clear", r"cloud[ -]?free", r"optical values")),
    ("mean iou", (r"mean iou", r"miou")),
    ("iou, mean iou", (r"iou", r"intersection over union")),
    ("precision", (r"precision", r"user's accuracy")),
    ("recall", (r"recall", r"producer's accuracy")),
    ("f1", (r"f1(?:[ -]score)?",)),
    ("kappa", (r"kappa",)),
    ("border accuracy", (r"border accuracy", r"accuracy (?:at|near) (?:the )?borders?")),
    ("interior accuracy", (r"interior accuracy", r"(?:in the |the )?interior", r"away from borders?")),
    ("overall accuracy", (r"overall accuracy",)),
    ("overall accuracy, precision, recall", (
        r"accura\w+", r"correct(?:ly)?", r"right", r"verified", r"confirm\w*",
    )),
    ("overall accuracy", (r"agree\w*(?: \w+){0,2} reference",)),
    ("agreement", (r"agree\w*", r"repeat\w*", r"run again")),
    ("errors at borders, confused at borders, border accuracy, at borders, border width", (
        r"errors?\b[^.;]{0,40}\bborders?",
        r"(?:at|near) (?:the |a )?borders?",
        r"border pixels",
        r"within\b[^.;]{0,16}\bof (?:a|the) (?:reference )?border",
    )),
    ("border share, border", (
        r"borders?", r"bordered", r"bordering", r"neighbou?r\w*", r"adjoin\w*", r"adjacent", r"surround\w*",
        r"next to", r"touch\w*",
    )),
    ("share of errors, errors at borders", (r"of (?:all )?(?:the )?errors",)),
    ("confused share, recall", (r"of (?:its|the) reference",)),
    ("confused pixels, share of errors, confused share, confused at borders", (
        r"confus\w+", r"mistak\w+", r"(?:mapped|labelled) as", r"taken for", r"wrong(?:ly)?",
        r"incorrect\w*", r"misclassified",
    )),
    ("largest object", (r"largest (?:object|patch)",)),
    ("objects, object size, object area, largest object", (r"objects?", r"patches", r"fragments")),
    ("compactness", (r"compact\w*",)),
    ("pixel size", (r"pixel size", r"pixels? (?:of|is|are|measures?)", r"resolution")),
    ("reference pixels", (r"reference pixels?", r"in the reference")),
    ("unmapped", (
        r"(?:(?:has|have|with|without) )?no (?:class|data)", r"without (?:a )?class", r"unmapped", r"nodata",
    )),
    ("share, area, pixels", (
        r"cover(?:s|ed|ing|age)?", r"occup(?:y|ies|ied|ying)", r"tak(?:es?|ing) up", r"proportions?",
        r"(?:a|the|its|their) share", r"share of",
    )),
    ("share, area, pixels, share of errors", (r"account(?:s|ing)? for", r"ma(?:kes?|king) up")),
    ("share, area, pixels, mapped, unmapped, clear, agreement, without optical, without radar", (
        r"of the (?:mapped )?(?:area|map|land|scene|tile|ground)",
    )),
    ("mapped, pixels, area", (r"ha(?:s|ve) a class",)),
)  # fmt: skip

_ROWS = [
    (
        re.compile(rf"(?<![\w-])(?:{phrase})(?!\w)".replace(" ", r"\s"), re.IGNORECASE),
        frozenset(topics.split(", ")),
    )
    for topics, phrases in _TABLE
    for phrase in phrases
]


def find_topics(text: str) -> list[TopicMention]:
    """Phrases that name quantities, in order, without overlaps."""
    found = [
        (match.start(), -match.end(), rank, topics)
        for rank, (phrase, topics) in enumerate(_ROWS)
        for match in phrase.finditer(text)
    ]
    mentions: list[TopicMention] = []
    for start, minus_end, _, topics in sorted(found, key=lambda row: row[:3]):
        if not mentions or start >= mentions[-1].end:
            mentions.append(TopicMention(start, -minus_end, topics))
    return mentions


@lru_cache(maxsize=1)
def global_topics() -> Topics:
    """Topics of quantities that only an area as a whole has."""
    of_classes = {q.topic for q in QUANTITIES if "*" in q.pattern.split(".")[:3]}
    return frozenset({q.topic for q in QUANTITIES} - of_classes)
