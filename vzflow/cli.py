"""Arguments in, text and exit code out; no decisions. Heavy packages are imported by the commands that need them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vzflow.flow.errors import UsageProblem, VzflowError

if TYPE_CHECKING:
    import pyarrow as pa

    from vzflow.pipeline.ingest import IngestResult, Progress
    from vzflow.pipeline.judge import Asked, Judge

# Rich costs a tenth of a second at start and draws boxes that scripts cannot read; the plain help says the same.
app = typer.Typer(
    name="vzflow", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Was every flow in the cluster documented, and protected as the document says? With evidence.",
)  # fmt: skip
model_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The documented model.")
app.add_typer(model_app, name="model")

StoreOption = Annotated[str, typer.Option("--store", envvar="VZFLOW_STORE", help="Folder of the store.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", envvar="VZFLOW_MODEL", help="Model file or shipped model; repeat to overlay."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", envvar="VZFLOW_QUIET", help="Say nothing but results and errors.")]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option("--fail-on", envvar="VZFLOW_FAIL_ON",
                 help="Exit 1 if any: plaintext, unexpected, unexpected:any, unknown, amended, disputed."),
]  # fmt: skip
DEFAULT_STORE = "./vzflow-store"


@app.command()
def demo(
    store: Annotated[str | None, typer.Option("--store", help="Keep the store here instead of nowhere.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Run the main job on the shipped samples: no cluster needed."""
    import tempfile

    from vzflow.flow.data import shipped
    from vzflow.pipeline.ingest import ingest as run_ingest

    samples = shipped("sample_captures")
    inputs = [str(samples / name) for name in ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl")]
    with tempfile.TemporaryDirectory(prefix="vzflow-demo-") as folder:
        where = store or f"{folder}/store"
        with _progress(quiet=False) as progress:
            _tell(run_ingest(inputs, where, identity=[str(samples / "cluster.json")], progress=progress))
        _print_report(_judge(where, None), output, None)


@app.command()
def ingest(
    inputs: Annotated[list[str], typer.Argument(help="Captures and logs, told apart by content.", metavar="INPUT...")],
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[str, typer.Option("--format", envvar="VZFLOW_FORMAT", help="auto, pcap, calico or envoy.")] = "auto",
    identity: Annotated[
        list[str] | None,
        typer.Option("--identity", envvar="VZFLOW_IDENTITY", help="Cluster snapshot (kubectl get ... -o json); repeat."),
    ] = None,
    model: ModelOption = None,
    reporter: Annotated[
        str | None, typer.Option("--reporter", envvar="VZFLOW_REPORTER", help="NS/POD whose proxy wrote the logs.")
    ] = None,
    cluster: Annotated[
        str, typer.Option("--cluster", envvar="VZFLOW_CLUSTER", help="Cluster the addresses belong to.")
    ] = "default",
    strict: Annotated[bool, typer.Option("--strict", envvar="VZFLOW_STRICT", help="Exit 4 if a record was rejected.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Store what is new in captures and logs, and classify it."""
    from vzflow.pipeline.ingest import ingest as run_ingest

    with _progress(quiet=quiet) as progress:
        result = run_ingest(
            inputs, store, form=form, identity=identity or [], model=model or [], reporter=reporter, cluster=cluster,
            progress=progress,
        )  # fmt: skip
    if not quiet:
        _tell(result)
    _exit_after(result, strict=strict)


@app.command()
def snapshot(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    kubeconfig: Annotated[str | None, typer.Option("--kubeconfig", envvar="KUBECONFIG", help="Else as kubectl finds it, else in-cluster.")] = None,
    context: Annotated[str | None, typer.Option("--context", envvar="VZFLOW_CONTEXT", help="Context of the kubeconfig.")] = None,
) -> None:
    """Read a cluster once and save what identity needs."""
    from vzflow.pipeline.cluster import take_snapshot

    notes = take_snapshot(output, kubeconfig=kubeconfig, context=context)
    for note in notes:
        _say(note)


@app.command()
def report(
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[str, typer.Option("-o", "--output", envvar="VZFLOW_OUTPUT", help="text or json.")] = "text",
    fail_on: FailOnOption = None,
    min_coverage: Annotated[
        float, typer.Option("--min-coverage", envvar="VZFLOW_MIN_COVERAGE", help="Exit 4 below this percentage of observed minutes.")
    ] = 0.0,
    model: ModelOption = None,
    since: Annotated[str | None, typer.Option("--since", envvar="VZFLOW_SINCE", help="Time, UTC, as 2026-01-02T03:04:05Z.")] = None,
    until: Annotated[str | None, typer.Option("--until", envvar="VZFLOW_UNTIL", help="Time, exclusive.")] = None,
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", envvar="VZFLOW_NAMESPACE", help="Of either end.")] = None,
    workload: Annotated[str | None, typer.Option("--workload", envvar="VZFLOW_WORKLOAD", help="Of either end.")] = None,
    port: Annotated[int | None, typer.Option("--port", envvar="VZFLOW_PORT", help="Pod port of the responder.")] = None,
    verdict: Annotated[str | None, typer.Option("--verdict", envvar="VZFLOW_VERDICT", help="Only this verdict.")] = None,
) -> None:
    """Say what was expected, unexpected or in clear, with evidence."""
    from vzflow.pipeline import answer
    from vzflow.pipeline.judge import Asked

    conditions = tuple(fail_on or ())
    answer.check_fail_on(conditions)
    asked = Asked(_time(since, "--since"), _time(until, "--until"), namespace, workload, port, _verdict(verdict))
    facts = _print_report(_judge(store, model), output, asked)
    if answer.covered(facts) < min_coverage:
        _say(f"vzflow: {answer.covered(facts):.0f} % of the window's minutes observed, {min_coverage:g} % asked for")
        raise typer.Exit(4)
    failed = answer.failures(facts, conditions)
    if failed:
        _say(f"vzflow: found {', '.join(failed)}")
        raise typer.Exit(1)


@app.command()
def explain(
    what: Annotated[str, typer.Argument(help="A flow id, or an edge as NS/WORKLOAD>NS/WORKLOAD:PORT.", metavar="FLOW_ID|EDGE")],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Show every reason, rule, identity interval and record behind a verdict."""
    from vzflow.pipeline import answer
    from vzflow.report import explanation
    from vzflow.report.plain import jsonable

    _one_of(output, ("text", "json"))
    judge = _judge(store, model)
    flow_ids = answer.flows_of_edge(judge, what) if ">" in what else [what]
    found = answer.explain(judge, flow_ids[0])
    if output == "json":
        print(json.dumps(found, indent=2, default=jsonable))
    else:
        print(explanation.render(found, colour=_colour(sys.stdout)), end="")
    if len(flow_ids) > 1:
        _say(f"vzflow: the first of {len(flow_ids)} exchanges of this edge: {' '.join(flow_ids)}")


@app.command()
def sql(
    text: Annotated[str | None, typer.Argument(help="One SQL query; read from stdin when left out.", metavar="QUERY")] = None,
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Query the views flow, verdict, exchange, edge, identity, model_rule, reject and receipt."""
    from vzflow.pipeline.judge import session

    _one_of(output, ("text", "json"))
    with session(_judge(store, model)) as duck:
        _print_rows(duck.ask(text if text is not None else sys.stdin.read()), output)


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="Name of a file in queries/; `vzflow query list` lists them.")],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    param: Annotated[list[str] | None, typer.Option("-p", "--param", help="NAME=VALUE, for queries with parameters.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Run one of the shipped questions."""
    from vzflow.model import catalogue
    from vzflow.pipeline.judge import session
    from vzflow.report.plain import aligned

    _one_of(output, ("text", "json"))
    if name == "list":
        print("\n".join(aligned([(q.name, q.code or "", q.says) for q in catalogue.questions().values()], indent=0)))
        return
    asked = catalogue.question(name)
    values = dict(pair.partition("=")[::2] for pair in param or ())
    if set(values) != set(asked.params):
        wanted = " ".join(f"-p {p}=..." for p in asked.params) or "no parameters"
        raise UsageProblem(f"{name} takes {wanted}", at="--param", do="Give exactly these.")
    with session(_judge(store, model)) as duck:
        _print_rows(duck.run(asked.sql, values or None), output)


@model_app.command("show")
def model_show(
    model: ModelOption = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Print the rules of a model, each with the row it quotes."""
    from vzflow.model.document import load
    from vzflow.pipeline.judge import DEFAULT_MODEL, today
    from vzflow.report import rules

    _one_of(output, ("text", "json"))
    loaded = load(model or [DEFAULT_MODEL], on=today())
    print(rules.render(loaded.tables(), loaded.names, output == "json"), end="")


@app.command()
def run(
    route: Annotated[Path, typer.Argument(help="Route file, as pipelines/hourly.toml.", metavar="ROUTE.toml")],
    quiet: QuietOption = False,
) -> None:
    """Do the scheduled batch of a route file: ingest what is new, classify, report."""
    from vzflow.pipeline.route import run_route
    from vzflow.report import json_report, text

    with _progress(quiet=quiet) as progress:
        result = run_route(route, {".json": json_report.render, ".txt": text.render}, progress)
    if not quiet:
        for part in result.ingested:
            _tell(part)
        print(text.render(result.facts, colour=_colour(sys.stdout)), end="")
    if result.failed:
        _say(f"vzflow: found {', '.join(result.failed)}")
    raise typer.Exit(result.exit_code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"vzflow {installed('vzflow')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; every expected error is one line on stderr and its exit code."""
    try:
        app()
    except VzflowError as error:
        _say(f"vzflow: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        _say("vzflow: interrupted")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("VZFLOW_TRACEBACK"):
            raise
        _say(f"vzflow: internal error: {type(error).__name__}: {error}. Set VZFLOW_TRACEBACK=1 to see where.")
        sys.exit(70)


# -- below: what the commands share ------------------------------------------------------------------------------------


def _judge(store: str, model: list[str] | None) -> Judge:
    from vzflow.pipeline.judge import Judge, model_of
    from vzflow.store.lake import Lake

    lake = Lake.open(store)
    return Judge(lake, model_of(lake, model or []))


def _print_report(judge: Judge, output: str, asked: Asked | None) -> dict[str, Any]:
    from vzflow.pipeline.answer import report_facts
    from vzflow.pipeline.judge import Asked
    from vzflow.report import json_report, text

    _one_of(output, ("text", "json"))
    facts = report_facts(judge, asked or Asked())
    shown = json_report.render(facts) if output == "json" else text.render(facts, colour=_colour(sys.stdout))
    print(shown, end="")
    return facts


def _print_rows(table: pa.Table, output: str) -> None:
    from vzflow.report.plain import aligned, instant, jsonable

    rows = table.to_pylist()
    if output == "json":
        print(json.dumps(rows, indent=2, default=jsonable))
        return
    cells = [[instant(v) if isinstance(v, datetime) else v for v in row.values()] for row in rows]
    print("\n".join(aligned([table.column_names, *cells], indent=0)))


def _tell(result: IngestResult) -> None:
    from vzflow.report.plain import aligned

    def fate(one: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a row for `aligned`
        if one.error is not None:
            return (one.name, "unreadable", str(one.error))
        rejects = ", ".join(f"{reason} {count}" for reason, count in sorted(one.rejects.items()))
        parts = [f"{one.flows} flows of {one.records} records" if one.fate in ("stored", "continued") else ""]
        parts += [f"{one.skipped} skipped" if one.skipped else "", f"rejected: {rejects}" if rejects else ""]
        parts += [f"{one.unfinished} bytes of an unfinished line left for later" if one.unfinished else ""]
        return (one.name, one.fate, "; ".join(p for p in parts if p))

    if result.inputs:
        _say("\n".join(aligned([fate(one) for one in result.inputs], indent=0)))


def _exit_after(result: IngestResult, *, strict: bool) -> None:
    if any(one.error is not None for one in result.inputs):
        raise typer.Exit(3)
    if strict and result.incomplete:
        raise typer.Exit(4)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on a terminal's stderr, or None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return

    def draw(name: str, records: int) -> None:
        sys.stderr.write(f"\r\x1b[K{Path(name).name}: {records:,} records")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _colour(stream: Any) -> bool:  # noqa: ANN401 - a text stream
    return bool(stream.isatty()) and "NO_COLOR" not in os.environ


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _one_of(value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageProblem(f"no such output: {value}", at="--output", do=f"Use {' or '.join(allowed)}.")


def _verdict(value: str | None) -> str | None:
    from vzflow.flow.terms import Verdict

    if value is not None and value not in set(Verdict):
        raise UsageProblem(f"no such verdict: {value}", at="--verdict", do=f"Use {', '.join(Verdict)}.")
    return value


def _time(value: str | None, flag: str) -> datetime | None:
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise UsageProblem(f"not a time: {value}", at=flag, do="Write it as 2026-01-02T03:04:05Z.") from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
