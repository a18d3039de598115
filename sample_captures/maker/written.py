"""What is written down of the connections that were played: logs, derived flow log, snapshot, and where each is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from maker import calico, cluster, packets
from maker.cast import PODS, address
from maker.stage import Played

PCAP, TEXT, JSON, CALICO = "verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl"
SNAPSHOT, CONNECTIONS = "cluster.json", "connections.jsonl"
MADE = (PCAP, TEXT, JSON, CALICO, SNAPSHOT, CONNECTIONS)

#: File and record (line, or first packet, from 1) of each trace of a connection, and who reports it.
Records = dict[str, list[dict[str, object]]]


def find_packets(all_played: list[Played], pcap: Path) -> None:
    """
    Give every connection its conversation in the capture.

    Raises:
        RuntimeError: One is not there, or something is there that belongs to none.
    """
    left = packets.conversations(pcap)
    for played in all_played:
        scene = played.scene
        # Behind its own sidecar a client reaches the pod, whatever it dialled.
        through_sidecar = scene.ends[0] in scene.logged
        to = (address(scene.ends[1]), scene.port) if through_sidecar else scene.dialled
        found = [
            talk
            for talk in left
            if (talk.initiator[0], talk.responder) == (address(scene.ends[0]), to)
            and played.began <= talk.first_seen <= played.ended
        ]
        if len(found) != 1:
            raise RuntimeError(f"{scene.name}: {len(found)} conversations in the capture")
        played.talk = found[0]
        left.remove(found[0])
    if left:
        raise RuntimeError(f"conversations that belong to no connection: {left}")


def write(all_played: list[Played], folder: Path, began: float, lives: tuple[float, float], taken: float) -> None:
    """
    Write every file but the capture.

    Args:
        all_played: With their packets found.
        folder: Where the capture is already.
        began: Of the run; all times are epoch seconds.
        lives: When the Job's pod finished and Kibana's began.
        taken: When the snapshot was taken.
    """
    records: Records = {p.scene.name: [_record(PCAP, p.talk.record, "tap")] for p in all_played if p.talk}
    _write_access_logs(all_played, folder, records)
    _write_flow_log(all_played, folder, (int(began), int(taken)), records)
    snapshot = cluster.snapshot(began, *lives, taken)
    (folder / SNAPSHOT).write_text(json.dumps(snapshot, indent=1) + "\n")
    told = [json.dumps(_told(played, records[played.scene.name])) + "\n" for played in all_played]
    (folder / CONNECTIONS).write_text("".join(told))


def _record(file: str, record: int, reporter: str) -> dict[str, object]:
    return {"file": file, "record": record, "reporter": reporter}


def _write_access_logs(all_played: list[Played], folder: Path, records: Records) -> None:
    """Write both access logs, in the order of the connections."""
    written: dict[str, list[str]] = {TEXT: [], JSON: []}
    for played in all_played:
        for key, line in played.lines:
            name = TEXT if PODS[key].sidecar == "text" else JSON
            written[name].append(line)
            reporter = "initiator" if key == played.scene.ends[0] else "responder"
            records[played.scene.name].append(_record(name, len(written[name]), reporter))
    for name, lines in written.items():
        (folder / name).write_text("".join(lines))


def _write_flow_log(all_played: list[Played], folder: Path, window: tuple[int, int], records: Records) -> None:
    """Write the Calico lines that are derived from the connections."""
    lines: list[str] = []
    for played in all_played:
        wanted = calico.WANTED.get(played.scene.name)
        if wanted is None or played.talk is None:
            continue
        for reporter in wanted.reporters:
            line = calico.line(wanted, reporter, played.talk, played.scene.ends, window)
            lines.append(json.dumps(line, separators=(",", ":")) + "\n")
            side = "initiator" if reporter == "src" else "responder"
            records[played.scene.name].append(_record(CALICO, len(lines), side))
    (folder / CALICO).write_text("".join(lines))


def _told(played: Played, records: list[dict[str, object]]) -> dict[str, object]:
    talk = played.talk
    if talk is None:
        raise RuntimeError(f"{played.scene.name} was not found in the capture")
    return {
        "connection": played.scene.name,
        "began": played.began,
        "ended": played.ended,
        "protocol": talk.protocol,
        "initiator_ip": talk.initiator[0],
        "initiator_port": talk.initiator[1],
        "responder_ip": talk.responder[0],
        "responder_port": talk.responder[1],
        "dialled_ip": played.scene.dialled[0],
        "dialled_port": played.scene.dialled[1],
        "records": records,
    }


def check_against_truth(folder: Path, truth: Path) -> None:
    """
    Hold what was made against the hand-written table.

    Raises:
        RuntimeError: A record is not a line of the table, or a line of it not a record.
    """
    with truth.open() as table:
        named = {(row["connection"], row["file"], row["reporter"]) for row in csv.DictReader(table, delimiter="\t")}
    made = set()
    for text in (folder / CONNECTIONS).read_text().splitlines():
        told = json.loads(text)
        made |= {(told["connection"], r["file"], r["reporter"]) for r in told["records"]}
    if made != named:
        raise RuntimeError(f"only made: {sorted(made - named)}; only in {truth.name}: {sorted(named - made)}")
