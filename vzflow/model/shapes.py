"""
What a model file may say: its keys, and what each value may be.

Only what one file shows is checked here. Whether its words mean something together with the files before it is decided
in `document.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

#: Words of `from` and `to` that are no component: they speak of addresses or of every pod.
CLASSES = ("node", "own_node", "api_server", "external", "pod", "mesh", "sidecar", "any")

#: Prefixes of words that name something outside the model: any namespace, any configured address range.
PREFIXES = ("namespace", "range")

#: IANA protocol numbers of the protocols that have a name in flows.
PROTOCOL_NUMBERS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
WITH_PORTS = frozenset({"tcp", "udp", "sctp"})

#: Any value of a label, or any namespace. No label value or namespace may contain this character.
ANY_VALUE = "*"

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_RULE_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def problem(what: str, do: str, *at: str | int) -> PydanticCustomError:
    """Return an error for a validator to raise: what is wrong, what to do, and the way down to it from the value."""
    return PydanticCustomError("model", "{what}", {"what": what, "do": do, "at": at})


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that *word* was probably meant to be, or None."""
    lower = {k.lower(): k for k in known}
    close = get_close_matches(word.lower(), lower, 1, 0.6)
    return lower[close[0]] if close else None


@dataclass(frozen=True)
class PortRange:
    """
    Responder ports lo to hi, both included.

    Both None: every port, also where a record holds none. `port_class` "probe" leaves of them only the ports that the
    responder declares for its probes.
    """

    lo: int | None = None
    hi: int | None = None
    port_class: str | None = None


def _words(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - whatever the file holds there
    items = _listed(value)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise problem("a list or map stands where a word is expected", "Write one word, or a list of words.", index)
        if not item.strip():
            raise problem("a blank text stands where a word is expected", "Write a word, or leave it out.", index)
    return items


def _listed(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if isinstance(value, dict):
        raise problem("a map stands where a word or a list of words is expected", "Write one word, or a list of words.")
    items = tuple(value) if isinstance(value, list) else (value,)
    if not items:
        raise problem("the list is empty", "Name something, or leave the line out.")
    return items


def _sentence(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str) and not value.strip():
        raise problem("the text is blank", "Write a sentence, or leave the line out.")
    return value.strip() if isinstance(value, str) else value


def _ports(value: Any) -> tuple[PortRange, ...]:  # noqa: ANN401
    return tuple(_port(text, index) for index, text in enumerate(_words(value)))


def _port(text: str, index: int) -> PortRange:
    if text == "any":
        return PortRange()
    if text == "probe":
        return PortRange(port_class="probe")
    match = _PORT.fullmatch(text)
    lo, hi = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= lo <= hi <= 65_535:
        raise problem(
            f"`{text}` is not a port", "Write a number from 1 to 65535, a range like 9300-9400, any, or probe.", index
        )
    return PortRange(lo, hi)


def _protocols(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(_protocol(text, index) for index, text in enumerate(_words(value)))


def _protocol(text: str, index: int) -> str:
    if text in PROTOCOL_NUMBERS.values():
        return text
    if re.fullmatch(r"0|[1-9][0-9]{0,2}", text) and int(text) <= 255:
        return PROTOCOL_NUMBERS.get(int(text), text)
    do = "Write tcp, udp, sctp, icmp, icmpv6, or a number from 0 to 255."
    raise problem(f"`{text}` is not a protocol", do, index)


def _day(value: Any) -> date:  # noqa: ANN401
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass  # 2026-02-30: said below in the same words
    raise problem(f"`{value}` is not a day", "Write it as 2026-12-31.")


def _matching(pattern: re.Pattern[str], what: str, do: str) -> BeforeValidator:
    def check(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise problem(f"`{value}` is not {what}", do)
        return value

    return BeforeValidator(check)


def _named(value: Any) -> Any:  # noqa: ANN401
    for name in value if isinstance(value, dict) else ():
        if not NAME.fullmatch(name):
            raise problem(f"`{name}` is not a name", "Use small letters, digits, `-`, `.` and `_`.", name)
        if name in CLASSES:
            raise problem(f"`{name}` already means something in rules", "Choose another name.", name)
    return value


def _namespaces(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    names = _words(value)
    for index, name in enumerate(names):
        if name != ANY_VALUE and not _NAMESPACE.fullmatch(name):
            raise problem(f"`{name}` is not a namespace", "Write its name, or `*` for every namespace.", index)
    return names


def _protected(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    names = _namespaces(value)
    if ANY_VALUE in names:
        raise problem("`*` cannot be protected", "Name the namespaces.", names.index(ANY_VALUE))
    return names


def _selectors(value: Any) -> Any:  # noqa: ANN401
    for index, labels in enumerate(value if isinstance(value, list) else ()):
        if labels == {}:
            raise problem("a selector without labels matches every pod", "Name a label, or leave it out.", index)
    return value


def _blocks(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    blocks = _words(value)
    for index, text in enumerate(blocks):
        try:
            ip_network(text)
        except ValueError:
            raise problem(f"`{text}` is not an address range", "Write it as 10.0.0.0/24 or fd00::/64.", index) from None
    return blocks


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Namespaces = Annotated[tuple[str, ...], BeforeValidator(_namespaces)]
Blocks = Annotated[tuple[str, ...], BeforeValidator(_blocks)]
Sentence = Annotated[str, BeforeValidator(_sentence)]
Selectors = Annotated[list[dict[str, str]], BeforeValidator(_selectors)]
T = TypeVar("T")
Named = Annotated[dict[str, T], BeforeValidator(_named)]

Mesh = Literal["yes", "no", "gateway"]
Egress = Literal["unmodelled", "open", "closed", "rules"]
TransportStated = Literal["mtls", "tls", "plaintext_ok", "unspecified"]
Provenance = Literal["row", "prose", "peerauthentication", "author"]


class Shape(BaseModel):
    """A map of a model file: no other keys, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys_only(cls, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in known:
                    meant = nearest(key, known)
                    do = f"Did you mean `{meant}`?" if meant else f"Keys here: {', '.join(known)}."
                    raise problem(f"unknown key `{key}`", do, key)
        return value


class PeerShape(Shape):
    """Pods that rules may name and that are not judged. Keys absent from an overlay keep what earlier files say."""

    says: Sentence | None = None
    namespaces: Namespaces | None = None
    selectors: Selectors | None = None
    mesh: Mesh | None = None
    #: A document names it and does not say which pods it is: it claims none until an overlay gives namespaces.
    pods: Literal["unknown"] | None = None


class ComponentShape(PeerShape):
    """Pods whose flows are judged."""

    egress: Egress | None = None


class GrantShape(Shape):
    """Every initiator of `from` may reach every responder of `to`."""

    to: Words
    from_: Annotated[Words, Field(alias="from")]


class RuleShape(Shape):
    """One rule: who may reach whom on which responder ports, and over what."""

    id: Annotated[str, _matching(_RULE_ID, "a rule id", "Begin with a letter; then letters, digits, `-`, `.` and `_`.")]
    says: Sentence | None = None
    note: Sentence | None = None
    source: Sentence | None = None
    to: Words | None = None
    port: Annotated[tuple[PortRange, ...], BeforeValidator(_ports)] = ()
    protocol: Annotated[tuple[str, ...], BeforeValidator(_protocols)] = ("tcp",)
    from_: Annotated[Words | None, Field(alias="from")] = None
    grants: list[GrantShape] = []
    transport: TransportStated = "unspecified"
    transport_provenance: Provenance | None = None

    @property
    def allowed(self) -> list[GrantShape]:
        """The grants, the short form included."""
        if self.to is None or self.from_ is None:
            return self.grants
        return [GrantShape.model_validate({"to": list(self.to), "from": list(self.from_)})]

    @model_validator(mode="after")
    def _is_whole(self) -> RuleShape:
        if self.grants and (self.to or self.from_):
            raise problem("both `grants` and `from`/`to` are given", "Keep one form.")
        if (self.to is None) != (self.from_ is None):
            raise problem(f"`{'to' if self.to is None else 'from'}` is missing", "Say who may reach whom.")
        if not self.allowed and not self._may_allow_nothing():
            raise problem("`from` and `to` are missing", "Say who may reach whom.")
        ported = [p for p in self.protocol if p in WITH_PORTS]
        if self.allowed and ported and not self.port:
            raise problem("`port` is missing", "Write the responder's port, or any.")
        if self.port and len(ported) < len(self.protocol):
            raise problem("`port` is given for a protocol that has none", "Leave it out, or write two rules.", "port")
        if self.transport == "unspecified" and self.transport_provenance:
            raise problem("`transport_provenance` is given and no transport", "Say which transport it is about.")
        return self

    def _may_allow_nothing(self) -> bool:
        return False


class DocumentedShape(RuleShape):
    """A row of the document."""

    quote: Annotated[str | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _shows_the_row(self) -> DocumentedShape:
        if self.quote is None and self.says is None:
            raise problem("`quote` is missing", "Quote the document's row, or write `says`.")
        return self


class InfrastructureShape(RuleShape):
    """What the document says in prose, or every cluster has."""

    says: Sentence
    source: Sentence


class AmendmentShape(RuleShape):
    """What the document lacks or has wrong. May revoke rules; one that only revokes allows nothing."""

    says: Sentence
    source: Sentence
    revokes: Words | None = None

    def _may_allow_nothing(self) -> bool:
        return self.revokes is not None


class AcceptedShape(RuleShape):
    """An edge that a site accepts although the document does not have it. `expires` is the last day it holds."""

    owner: Sentence
    reason: Sentence
    expires: Annotated[date, BeforeValidator(_day)]


class FileShape(Shape):
    """One model file."""

    vzflow_model: Literal["1"]
    name: Annotated[str, _matching(NAME, "a name", "Use small letters, digits, `-`, `.` and `_`.")]
    says: Sentence | None = None
    document: Sentence | None = None
    trust_domains: Words | None = None
    mesh: Literal["on", "off"] | None = None
    protected_namespaces: Annotated[tuple[str, ...], BeforeValidator(_protected)] = ()
    components: Named[ComponentShape] = {}
    peers: Named[PeerShape] = {}
    aliases: dict[str, Words] = {}
    ranges: Named[Blocks] = {}
    rules: list[DocumentedShape] = []
    infrastructure: list[InfrastructureShape] = []
    amendments: list[AmendmentShape] = []
    accepted: list[AcceptedShape] = []
