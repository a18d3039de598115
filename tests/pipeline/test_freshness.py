"""Identity that comes later: what it speaks of is classified again, and all is as if it had always been known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from identity.churn import BEGIN, HOUR, Cluster, Size
from identity.churn_flows import Flows
from identity.churn_objects import save_list, save_recording, save_snapshot
from identity.identity_support import meta, node, objects, pod, service

from vzflow.identity.snapshot import load
from vzflow.model import classify
from vzflow.pipeline import judge
from vzflow.pipeline.freshness import Freshness, end_in
from vzflow.pipeline.judge import Judge, model_of, session
from vzflow.store.duck import connect
from vzflow.store.lake import Lake, Unit

NAME = "simulated"
HOURS = 4
EVERYTHING = "SELECT * FROM classified ORDER BY segment, record"
_RECEIPT = {
    "name": "a.pcap", "format": "pcap", "interpretation": "{}", "cluster": NAME, "offset_from": 0, "offset_to": 1,
    "bytes": 1, "records_read": 1, "records_in_flows": 1, "skipped": "{}", "unfinished_bytes": 0,
    "vzflow_version": "0", "ingested_at": datetime(2026, 1, 3, tzinfo=UTC),
}  # fmt: skip


def cluster():
    return Cluster(Size(hours=HOURS), seed=3)


def as_windows(batch):
    """The same flows as aggregated records that last five minutes."""
    table = pa.Table.from_batches([batch])
    for name, values in {
        "source": pa.repeat(pa.scalar("calico"), len(table)),
        "last_seen": pc.add(table["first_seen"], pa.scalar(timedelta(minutes=5))),
    }.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), values.cast(table.schema.field(place).type))
    return table.combine_chunks().to_batches()[0]


def store_of(path, simulated, *, windows=False):
    batch, _ = Flows(simulated, NAME, near=0.5, services=0.2).draw(3000, BEGIN, simulated.end)
    lake = Lake.open(path, create=True)
    digest = "0" * 16
    lake.add_segment([as_windows(batch) if windows else batch], lambda: Unit(digest, _RECEIPT | {"digest": digest}))
    return lake


def classified(lake):
    with session(Judge(lake, model_of(lake))) as duck:
        return duck.run(EVERYTHING)


def refreshed(lake):
    return Judge(lake, model_of(lake)).refresh()


def put(lake, path):
    lake.add_identity(load([path], NAME))


@pytest.mark.parametrize("windows", [False, True], ids=["packets", "windows"])
@pytest.mark.parametrize("save", [save_snapshot, save_list], ids=["snapshots", "lists"])
def test_snapshots_one_by_one_give_what_all_at_once_give(tmp_path, save, windows):
    """After each of them every row is what it would be in a store that is classified for the first time."""
    simulated = cluster()
    lake = store_of(tmp_path / "S", simulated, windows=windows)
    again = [refreshed(lake)]
    known = []
    for hour in range(HOURS + 1):
        known.append(save(simulated, BEGIN + hour * HOUR, tmp_path / f"{hour}.json"))
        put(lake, known[-1])
        again.append(refreshed(lake))
        new = store_of(tmp_path / f"new-{hour}", simulated, windows=windows)
        for path in known:
            put(new, path)
        assert classified(lake).equals(classified(new))
    assert again[0] == HOURS
    if save is save_snapshot:
        # It says who was gone and who was still there: that is about the hour before it, and those after.
        assert again[-1] < HOURS


def test_what_is_known_already_classifies_nothing_again(tmp_path):
    """A snapshot that was lost among those that a watch had recorded all the time adds nothing."""
    simulated = cluster()
    lake = store_of(tmp_path / "S", simulated)
    put(lake, save_recording(simulated, tmp_path / "watch.jsonl"))
    assert refreshed(lake) == HOURS
    put(lake, save_snapshot(simulated, BEGIN + 2 * HOUR, tmp_path / "same.json"))
    assert refreshed(lake) == 0


def test_a_model_that_is_another_makes_everything_stale(tmp_path):
    """So do files, queries and the version; the flows' times do not matter to that."""
    lake = store_of(tmp_path / "S", cluster())
    assert refreshed(lake) == HOURS
    assert refreshed(lake) == 0
    assert Judge(lake, model_of(lake, ["verrazzano-1.7"])).refresh() == HOURS


def test_the_timeline_is_made_once(tmp_path, monkeypatch):
    """The next command finds it in the store; another snapshot, or another range of the model, makes another."""
    simulated = cluster()
    lake = store_of(tmp_path / "S", simulated)
    put(lake, save_recording(simulated, tmp_path / "watch.jsonl"))
    assert refreshed(lake) == HOURS
    before, lookups = classified(lake), Judge(lake, model_of(lake)).lookups
    make, made = judge.identity_tables.tables, []
    monkeypatch.setattr(judge.identity_tables, "tables", lambda *a: made.append(1) or make(*a))
    assert classified(lake).equals(before)
    assert Judge(lake, model_of(lake)).lookups == lookups
    assert not made
    put(lake, save_snapshot(simulated, BEGIN + 2 * HOUR, tmp_path / "same.json"))
    assert refreshed(lake) == 0
    assert len(made) == 1
    ranged = tmp_path / "ranged.yaml"
    ranged.write_text("vzflow_model: 1\nname: ranged\nranges: {dns: [20.0.0.0/8]}\n")
    assert Judge(lake, model_of(lake, ["verrazzano-1.0", ranged])).refresh() == HOURS
    assert len(made) == 2


@pytest.mark.parametrize(
    ("made_from", "end"),
    [
        (None, None),
        ("too short", None),
        ("f" * 24 + "00000e10", datetime(2026, 1, 2, 11, tzinfo=UTC)),
        ("f" * 32, datetime(2026, 1, 2, 10, tzinfo=UTC) + timedelta(seconds=0xFFFFFFFF)),
    ],
)
def test_the_text_says_until_when_the_flows_lasted(made_from, end):
    """A text of another version says nothing, or something that leads to another text."""
    assert end_in(("2026-01-02", "10"), made_from) == end


def test_flows_at_the_end_of_time_have_an_end(tmp_path):
    """Logs may say any year."""
    assert end_in(("9999-12-31", "23"), "f" * 32) == datetime.max.replace(microsecond=0, tzinfo=UTC)


def test_a_port_that_leads_to_a_node_counts(tmp_path):
    """Endpoints of a node make no new holder of anything, and tell which end of a connection answers."""
    things = [pod("web", "10.0.0.1", "03:00"), node("n1", "10.1.0.1")]
    kubelet = service("kubelet", [{"name": "https", "port": 10250}], namespace="kube-system", clusterIP="None")
    led = [{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"name": "https", "port": 10250}]}]
    leads = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": meta("kubelet", "02:00", "kube-system"),
        "subsets": led,
    }
    hour, end = ("2026-01-02", "12"), datetime(2026, 1, 2, 12, 59, tzinfo=UTC)
    made = []
    for more in ([], [kubelet, leads]):
        with connect() as duck:
            known = judge.lookups_of(
                model_of(Lake.open(tmp_path, create=True)), objects(("13:00", things + more)), [NAME]
            )
            classify.prepare(duck, known)
            made.append(Freshness(duck, ("1",)).made_from({hour: ["file"]}, {hour: end}))
    assert made[0] != made[1]
