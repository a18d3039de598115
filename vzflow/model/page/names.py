"""What the words of a document stand for: components of a model, classes of peers, or names that nobody knows yet."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from vzflow.model.rules import Model
from vzflow.model.shapes import CLASSES

#: Words that every Kubernetes or Istio document uses for peers that are no component, by the class of the model format.
_CLASS_WORDS = {
    "api_server": (
        "kubernetes api server", "api server", "kube apiserver", "k8s api server", "kubernetes api", "apiserver",
        "kubernetes apiserver", "kubernetes control plane", "kubernetes",
    ),
    "external": (
        "external", "externals", "external client", "external clients", "internet", "the internet", "outside", "public",
        "outside the cluster", "external users", "external traffic",
    ),
    "node": ("node", "nodes", "any node", "all nodes", "cluster nodes", "host", "hosts", "kubelet", "kubelets"),
    "pod": ("pod", "pods", "any pod", "all pods", "every pod"),
    "mesh": (
        "mesh", "mesh pods", "service mesh", "envoy", "envoys", "envoy proxy", "envoy proxies", "istio proxy",
    ),
    "sidecar": (
        "sidecar", "sidecars", "all sidecars", "envoy sidecar", "istio sidecar", "mesh services", "mesh service",
    ),
    "any": ("any", "anyone", "anywhere", "any source", "all", "all sources", "everyone", "everything", "*"),
}  # fmt: skip
_CLASS = {word: name for name, words in _CLASS_WORDS.items() for word in words}
_OWN = frozenset({"internal", "self", "itself", "own pods", "same component", "same pods", "peers"})
#: Characters of a name that is made of a word; longer ones are cut and told apart by a digest.
_LONGEST = 60


@dataclass(frozen=True)
class Meaning:
    """
    What a word stands for.

    Args:
        words: As `from` and `to` of a model have them.
        kind: component | class (of peers) | own (the row's own component) | unknown (a name made of the word).
    """

    words: tuple[str, ...]
    kind: Literal["component", "class", "own", "unknown"]


class Names:
    """Words of a document -> meanings: by a model's aliases and components, then by what every such document says."""

    def __init__(self, model: Model | None, components: Iterable[str]) -> None:
        self._listed = {folded(word) for word in components}
        self._known: dict[str, tuple[str, ...]] = {}
        self.model = model
        if model is not None:
            self._known = {folded(c.name): (c.name,) for c in model.components}
            for word, terms, _ in model.aliases:
                self._known[folded(word)] = tuple(term.removeprefix("component:") for term in terms)

    def of(self, word: str) -> Meaning:
        """Return what *word* stands for in the component column."""
        key = folded(word)
        if key in self._known:
            words = self._known[key]
            return Meaning(words, "component" if all(map(_is_component, words)) else "class")
        if key in _CLASS and key not in self._listed:
            return Meaning((_CLASS[key],), "class")
        return Meaning((made_name(word),), "unknown")

    def of_source(self, word: str, own: Meaning) -> Meaning:
        """Return what *word* stands for as a source of a row about *own*."""
        key = folded(word)
        if key in _OWN and key not in self._known and key not in self._listed:
            return Meaning(own.words, "own")
        return self.of(word)

    def is_listed(self, word: str) -> bool:
        """Say whether the document's own component column has *word*."""
        return folded(word) in self._listed

    def known_words(self) -> list[str]:
        """Return the model's names and aliases."""
        model = self.model
        return [] if model is None else [*(c.name for c in model.components), *(word for word, _, _ in model.aliases)]

    def is_name(self, word: str) -> bool:
        """Say whether *word*, commas and all, is one name."""
        key = folded(word)
        return key in self._known or key in self._listed or key in _CLASS


def folded(word: str) -> str:
    """Return what is the same for spellings of one name: case, hyphens and blanks do not count."""
    return " ".join(re.sub(r"[\s_-]+", " ", word.casefold()).split())


def made_name(word: str) -> str:
    """Return a name of the model format for a word: the same for all its spellings, another for every other word."""
    key = folded(word)
    plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if name == key.replace(" ", "-") and len(name) <= _LONGEST and name not in CLASSES:
        return name
    # Something was left out: words that differ only there must not become one.
    digest = blake2b(key.encode("utf-8", "backslashreplace"), digest_size=3).hexdigest()
    return f"{name[:_LONGEST].strip('-') or 'component'}-{digest}"


def _is_component(word: str) -> bool:
    return word not in CLASSES and ":" not in word
