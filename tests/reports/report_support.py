"""Normalises what differs from run to run in a report, one named thing at a time."""

from __future__ import annotations

import re


def without_the_moment(facts):
    """Facts with a fixed `generated_at`."""
    return facts | {"generated_at": "2026-01-02T03:04:05.678901Z"}


def without_the_model_digest(facts):
    """Facts with the model's names and no digest: it changes with every word of the model's YAML."""
    return facts | {"model": {"names": facts["model"]["names"]}}


def with_names_only(facts):
    """Facts whose inputs are named by file and not by the folder that the samples happen to be in."""
    return facts | {"inputs": [one | {"name": re.sub(r"^.*/", "", one["name"])} for one in facts["inputs"]]}


def normalised(facts):
    return with_names_only(without_the_model_digest(without_the_moment(facts)))
