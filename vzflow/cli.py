"""Arguments in, text and exit code out; no decisions. Heavy packages are imported by the commands that need them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vzflow.flow.errors import UsageProblem, VzflowError

if TYPE_CHECKING:
    import threading

    import pyarrow as pa

    from vzflow.pipeline.judge import Asked, Judge
    from vzflow.pipeline.one_input import InputResult, Progress, Told

# Rich costs a tenth of a second at start and draws boxes that scripts cannot read; the plain help says the same.
app = typer.Typer(
    name="vzflow", rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True,
    help="Was every flow in the cluster documented, and protected as the document says? With evidence.",
)  # fmt: skip
model_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="The documented model.")
app.add_typer(model_app, name="model")
store_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="The store itself.")
app.add_typer(store_app, name="store")

# What is wrong with the arguments themselves: typer brings click with it and shows this much of it.
_ArgumentProblem: Any = typer.BadParameter.__base__

StoreOption = Annotated[str, typer.Option("--store", envvar="VZFLOW_STORE", help="Folder of the store.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", envvar="VZFLOW_MODEL", help="Model file or shipped model; repeat to overlay."),
]
OutputOption = Annotated[str, typer.Option("-o", "--output", envvar="VZFLOW_OUTPUT", help="text or json.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", envvar="VZFLOW_QUIET", help="Say nothing but results and errors.")
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option("--kubeconfig", envvar="VZFLOW_KUBECONFIG", help="Else as kubectl finds it, else in-cluster."),
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", envvar="VZFLOW_TIMEOUT", min=0.1, help="Seconds to wait for more of an answer."),
]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option("--fail-on", envvar="VZFLOW_FAIL_ON",
                 help="Exit 1 if any: plaintext, unexpected, unexpected:any, unknown, amended, disputed."),
]  # fmt: skip
DEFAULT_STORE = "./vzflow-store"


@app.command()
def demo(
    store: Annotated[
        str | None, typer.Option("--store", envvar="VZFLOW_DEMO_STORE", help="Keep the store here instead of nowhere.")
    ] = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
) -> None:
    """Run the main job on the shipped samples: no cluster needed."""
    import tempfile

    from vzflow.flow.data import shipped
    from vzflow.pipeline.ingest import ingest as run_ingest

    _one_of(output, ("text", "json"))
    samples = shipped("sample_captures")
    inputs = [str(samples / name) for name in ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl")]
    with tempfile.TemporaryDirectory(prefix="vzflow-demo-") as folder:
        where = store or f"{folder}/store"
        with _progress(quiet=quiet) as progress:
            result = run_ingest(inputs, where, identity=[str(samples / "cluster.json")], progress=progress)
        _tell(result.inputs, result.errors, quiet=quiet)
        _print_report(_judge(where, None), output, None)
        _exit(result.exit_code(strict=False))


@app.command()
def ingest(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Captures and logs, told apart by content; `-` is standard input.", metavar="INPUT..."),
    ],
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[
        str,
        typer.Option("--format", envvar="VZFLOW_FORMAT", help="auto, pcap, calico, envoy, ztunnel, hubble or zeek."),
    ] = "auto",
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--identity", envvar="VZFLOW_IDENTITY", help="Snapshot, kubectl list, recording or audit log; repeat."
        ),
    ] = None,
    model: ModelOption = None,
    reporter: Annotated[
        str | None, typer.Option("--reporter", envvar="VZFLOW_REPORTER", help="NS/POD whose proxy wrote the logs.")
    ] = None,
    cluster: Annotated[
        str, typer.Option("--cluster", envvar="VZFLOW_CLUSTER", help="Cluster the addresses belong to.")
    ] = "default",
    vxlan_port: Annotated[
        list[int] | None,
        typer.Option("--vxlan-port", envvar="VZFLOW_VXLAN_PORT", min=1, max=65535,
                     help="UDP port that carries VXLAN in captures, besides 4789 and 8472; repeat."),
    ] = None,
    envoy_format: Annotated[
        str | None,
        typer.Option("--envoy-format", envvar="VZFLOW_ENVOY_FORMAT", metavar="STR|@FILE",
                     help="Format string or JSON template of Envoy access logs, or a file that holds it: MeshConfig, "
                     "logFormat of an extensionProvider, EnvoyFilter."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", envvar="VZFLOW_JOBS", min=0,
                     help="Files read at once, each in a process with its own memory; 0 is one for each core."),
    ] = 1,
    no_classify: Annotated[
        bool,
        typer.Option("--no-classify", envvar="VZFLOW_NO_CLASSIFY", help="Leave verdicts to the next command."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="VZFLOW_STRICT", help="Exit 4 if records of an input were rejected.")
    ] = False,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Store what is new in captures and logs, and classify it."""
    from vzflow.pipeline.ingest import ingest as run_ingest

    with _progress(quiet=quiet) as progress:
        result = run_ingest(
            inputs, store, form=form, identity=identity or [], model=model or [], reporter=reporter, cluster=cluster,
            vxlan_ports=vxlan_port or (), envoy_format=envoy_format, classify=not no_classify, jobs=jobs,
            progress=progress,
        )  # fmt: skip
    if not quiet:
        for note in result.notes:
            _say(note)
    _tell(result.inputs, result.errors, quiet=quiet)
    if result.moved and not quiet:
        _say(f"{result.moved} flows stored earlier are judged otherwise now")
    _exit(result.exit_code(strict=strict))


@app.command()
def snapshot(
    output: Annotated[
        str,
        typer.Option("-o", "--output", envvar="VZFLOW_SNAPSHOT", metavar="FILE|FOLDER/",
                     help="File to write; in a folder, one for each context, named by cluster and time."),
    ],
    kubeconfig: KubeconfigOption = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", envvar="VZFLOW_CONTEXT", help="Context of the kubeconfig; repeat for several."),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", envvar="VZFLOW_CLUSTER",
                     help="Name of the cluster, kept in the file; repeat, one for each context."),
    ] = None,
    timeout: TimeoutOption = 60.0,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Read clusters once and save what identity needs."""
    from vzflow.pipeline.cluster import take_snapshot
    from vzflow.pipeline.ingest import gravest

    taken = take_snapshot(
        output, kubeconfig=kubeconfig, contexts=context or (), clusters=cluster or (), timeout=timeout
    )  # fmt: skip
    for one in taken:
        for note in () if quiet else one.notes:
            _say(f"{one.path}: {note}" if len(taken) > 1 else note)
        if one.error is not None:
            _say(str(one.error))
    _exit(gravest([one.error.exit_code for one in taken if one.error is not None]))


@app.command()
def watch(
    output: Annotated[
        str,
        typer.Option("-o", "--output", envvar="VZFLOW_RECORDINGS", metavar="FOLDER|s3://BUCKET/PREFIX",
                     help="Where recordings are put."),
    ],
    kubeconfig: KubeconfigOption = None,
    context: Annotated[
        str | None, typer.Option("--context", envvar="VZFLOW_CONTEXT", help="Context of the kubeconfig.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", envvar="VZFLOW_CLUSTER", help="Name of the cluster, kept in the recordings."),
    ] = None,
    spool: Annotated[
        str | None,
        typer.Option("--spool", envvar="VZFLOW_SPOOL", metavar="FOLDER",
                     help="Where recordings wait until the bucket has taken them."),
    ] = None,
    rotate_seconds: Annotated[
        float,
        typer.Option("--rotate-seconds", envvar="VZFLOW_ROTATE_SECONDS", min=1,
                     help="Finish a file when it is this old: from then on it can be ingested."),
    ] = 900.0,
    rotate_mb: Annotated[
        int,
        typer.Option("--rotate-mb", envvar="VZFLOW_ROTATE_MB", min=1,
                     help="Finish a file when it has this many MB, before it is compressed."),
    ] = 64,
    listen: Annotated[
        str | None,
        typer.Option("--listen", envvar="VZFLOW_LISTEN", metavar="HOST:PORT",
                     help="Serve /healthz, /readyz and /metrics here."),
    ] = None,
    timeout: TimeoutOption = 60.0,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Record everything that happens to a cluster, until SIGTERM or SIGINT, which is how it ends well (0)."""
    from vzflow.identity.recording import Limits
    from vzflow.pipeline.recorder import record

    stopping = _until_told()
    record(
        output, stopping, kubeconfig=kubeconfig, context=context, cluster=cluster, spool=spool, timeout=timeout,
        listen=listen, limits=Limits(rotate_mb * 1_000_000, rotate_seconds), say=(lambda line: None) if quiet else _say,
    )  # fmt: skip


@app.command()
def report(
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = "text",
    fail_on: FailOnOption = None,
    min_coverage: Annotated[
        float,
        typer.Option("--min-coverage", envvar="VZFLOW_MIN_COVERAGE", min=0, max=100,
                     help="Exit 4 below this percentage of observed minutes."),
    ] = 0.0,
    model: ModelOption = None,
    since: Annotated[
        str | None, typer.Option("--since", envvar="VZFLOW_SINCE", help="Time, UTC, as 2026-01-02T03:04:05Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", envvar="VZFLOW_UNTIL", help="Time, exclusive.")] = None,
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", envvar="VZFLOW_NAMESPACE", help="Of either end.")
    ] = None,
    workload: Annotated[str | None, typer.Option("--workload", envvar="VZFLOW_WORKLOAD", help="Of either end.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", envvar="VZFLOW_PORT", min=0, max=65535, help="Pod port of the responder.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", envvar="VZFLOW_VERDICT", help="Only this verdict.")
    ] = None,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Say what was expected, unexpected or in clear, with evidence."""
    from vzflow.pipeline import answer
    from vzflow.pipeline.ingest import gravest
    from vzflow.pipeline.judge import Asked

    _one_of(output, ("text", "json"))
    conditions = tuple(fail_on or ())
    answer.check_fail_on(conditions)
    asked = Asked(*_window(since, until), namespace, workload, port, _verdict(verdict))
    facts = _print_report(_judge(store, model), output, asked)
    codes = [0]
    if answer.covered(facts) < min_coverage:
        codes.append(4)
        if not quiet:
            _say(answer.too_little(facts, min_coverage))
    failed = answer.failures(facts, conditions)
    if failed:
        codes.append(1)
        if not quiet:
            _say(f"found {', '.join(failed)}")
    _exit(gravest(codes))


@app.command()
def explain(
    what: Annotated[
        str, typer.Argument(help="A flow id, or an edge as NS/WORKLOAD>NS/WORKLOAD:PORT.", metavar="FLOW_ID|EDGE")
    ],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    output: OutputOption = "text",
    quiet: QuietOption = False,
) -> None:
    """Show every reason, rule, identity interval and record behind a verdict."""
    from vzflow.pipeline import verbs
    from vzflow.report import explanation
    from vzflow.report.plain import json_text, printable

    _one_of(output, ("text", "json"))
    found = verbs.explain(store, what, model=model or ())
    _print(json_text(found) if output == "json" else explanation.render(printable(found), colour=_colour(sys.stdout)))
    if found["others"] and not quiet:
        _say(f"the first of {1 + len(found['others'])} exchanges of this edge; the others: {' '.join(found['others'])}")


@app.command()
def sql(
    text: Annotated[
        str | None, typer.Argument(help="One SQL query; read from stdin when left out.", metavar="QUERY")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    output: OutputOption = "text",
) -> None:
    """Query the views flow, verdict, exchange, edge, identity, model_rule, reject and receipt."""
    from vzflow.pipeline import verbs

    _one_of(output, ("text", "json"))
    _print_rows(verbs.sql(store, text if text is not None else _stdin(), model=model or ()), output)


@app.command()
def query(
    name: Annotated[str, typer.Argument(help="Name of a file in queries/; `vzflow query list` lists them.")],
    store: StoreOption = DEFAULT_STORE,
    model: ModelOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", envvar="VZFLOW_PARAM", help="NAME=VALUE, for queries with parameters."),
    ] = None,
    output: OutputOption = "text",
) -> None:
    """Run one of the shipped questions."""
    from vzflow.model import catalogue
    from vzflow.pipeline import verbs
    from vzflow.report.plain import aligned, json_text

    _one_of(output, ("text", "json"))
    if name == "list":
        listed = [{"name": q.name, "code": q.code, "says": q.says} for q in catalogue.questions().values()]
        _print(
            json_text(listed)
            if output == "json"
            else _lines(aligned([tuple(one.values()) for one in listed], indent=0))
        )
        return
    values = dict(pair.partition("=")[::2] for pair in param or ())
    params = {key: _time(value, f"--param {key}") if key == "time" else value for key, value in values.items()}
    _print_rows(verbs.query(store, name, model=model or (), **params), output)


@model_app.command("show")
def model_show(model: ModelOption = None, output: OutputOption = "text") -> None:
    """Print the rules of a model, each with the row it quotes."""
    from vzflow.model.document import load
    from vzflow.pipeline.judge import DEFAULT_MODEL, today
    from vzflow.report import rules

    _one_of(output, ("text", "json"))
    loaded = load(model or [DEFAULT_MODEL], on=today())
    _print(rules.render(loaded.tables(), loaded.names, output == "json"))


@store_app.command("compact")
def store_compact(store: StoreOption = DEFAULT_STORE, quiet: QuietOption = False) -> None:
    """Drop observations of the cluster that say nothing new, and join their files."""
    from vzflow.pipeline import verbs

    before, after = verbs.compact(store)
    if not quiet:
        _say(f"identity: {after} of {before} observations kept")


@app.command()
def run(
    route: Annotated[Path, typer.Argument(help="Route file, as pipelines/hourly.toml.", metavar="ROUTE.toml")],
    quiet: QuietOption = False,
) -> None:
    """Do the scheduled batch of a route file: ingest what is new, classify, report."""
    from vzflow.pipeline.route import run_route
    from vzflow.report import json_report, text
    from vzflow.report.plain import printable

    def as_text(facts: Any) -> str:  # noqa: ANN401 - the facts of a report
        return text.render(printable(facts))

    with _progress(quiet=quiet) as progress:
        result = run_route(route, {".json": json_report.render, ".txt": as_text}, progress)
    errors = [error for part in result.ingested for error in part.errors]
    _tell(
        [one for part in result.ingested for one in part.inputs],
        [*errors, *([result.problem] if result.problem is not None else [])], quiet=quiet,
    )  # fmt: skip
    if not quiet:
        for note in result.notes:
            _say(note)
        if result.facts is not None:
            _print(text.render(printable(result.facts), colour=_colour(sys.stdout)))
        if result.failed:
            _say(f"found {', '.join(result.failed)}")
    _exit(result.exit_code)


@app.callback()
def _vzflow(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from importlib.metadata import version as installed

        _print(f"vzflow {installed('vzflow')}\n")
        raise typer.Exit
    _help_without_command(context)


@store_app.callback()
@model_app.callback()
def _model(context: typer.Context) -> None:
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; every expected error is one line on stderr and its exit code."""
    interrupted = _note_interrupts()
    with suppress(AttributeError):  # a stream that a test or a wrapper put in place need not have it
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = app(standalone_mode=False)
    except _ArgumentProblem as problem:
        command = problem.ctx.command_path if problem.ctx is not None else "vzflow"
        _say(f"{problem.format_message().rstrip('.')}. See `{command} --help`.")
        code = 2
    except VzflowError as error:
        _say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if os.environ.get("VZFLOW_TRACEBACK"):
            raise
        code = 70
        if not interrupted:
            said = str(error).strip().splitlines() or [""]
            _say(f"internal error: {type(error).__name__}: {said[0]}. Set VZFLOW_TRACEBACK=1 to see where.")
    sys.exit(128 + interrupted[0] if interrupted else code)


# -- below: what the commands share ------------------------------------------------------------------------------------


def _note_interrupts() -> list[int]:
    """Return a list that an interrupt fills: libraries turn it into errors of their own on its way up."""
    seen: list[int] = []

    def note(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
        seen.append(number)
        raise KeyboardInterrupt

    # A shell that starts a job in the background has interrupts ignored: that stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, note)
    return seen


def _until_told() -> threading.Event:
    """Return what SIGTERM and SIGINT set; a second one ends the program as anywhere else."""
    import threading

    stopping = threading.Event()

    def handler(before: Any) -> Callable[[int, Any], None]:  # noqa: ANN401 - as signal takes it
        def stop(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame
            signal.signal(number, before)
            stopping.set()

        return stop

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler(signal.getsignal(number)))
    return stopping


def _judge(store: str, model: list[str] | None) -> Judge:
    from vzflow.pipeline.verbs import open_judge

    return open_judge(store, model or ())


def _print_report(judge: Judge, output: str, asked: Asked | None) -> dict[str, Any]:
    from vzflow.pipeline.answer import report_facts
    from vzflow.pipeline.judge import Asked
    from vzflow.report import json_report, text
    from vzflow.report.plain import printable

    facts = report_facts(judge, asked or Asked())
    _print(json_report.render(facts) if output == "json" else text.render(printable(facts), colour=_colour(sys.stdout)))
    return facts


def _print_rows(table: pa.Table, output: str) -> None:
    from vzflow.report.plain import aligned, instant, json_text

    names = _distinct(table.column_names)
    try:
        columns = [column.to_pylist() for column in table.columns]
    except (ValueError, OverflowError) as error:
        what = f"a value that cannot be shown: {error}"
        raise UsageProblem(what, at="query", do="Cast its column to VARCHAR.") from error
    rows = list(zip(*columns, strict=True))
    if output == "json":
        _print(json_text([dict(zip(names, row, strict=True)) for row in rows]))
        return
    cells = [[instant(v) if isinstance(v, datetime) else v for v in row] for row in rows]
    _print(_lines(aligned([names, *cells], indent=0)))


def _distinct(names: Sequence[str]) -> list[str]:
    """Return *names*, those that stand there already numbered as DuckDB numbers them in a subquery."""
    seen: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in range(1, len(names) + 1) if f"{name}_{number}" not in (*names, *seen))
        seen.append(next(free) if name in seen else name)
    return seen


def _tell(inputs: Sequence[InputResult], errors: Sequence[VzflowError], *, quiet: bool) -> None:
    """Say what became of the inputs; errors are said in any case, a line each."""
    from vzflow.pipeline.ingest import advice
    from vzflow.report.plain import aligned

    def fate(one: InputResult) -> tuple[str, ...]:
        rejects = ", ".join(f"{reason} {count}" for reason, count in sorted(one.rejects.items()))
        earlier = one.rejected - sum(one.rejects.values())
        parts = [f"{one.flows} flows of {one.records} records" if one.fate in ("stored", "continued") else ""]
        parts += [f"{one.skipped} skipped" if one.skipped else "", f"rejected: {rejects}" if rejects else ""]
        parts += [f"{earlier} rejected earlier" if earlier else ""]
        parts += [f"{one.unfinished} bytes of an unfinished line left for later" if one.unfinished else ""]
        return (one.name, one.fate, "; ".join(p for p in parts if p))

    readable = [fate(one) for one in inputs if one.error is None]
    if readable and not quiet:
        print(_lines(aligned(readable, indent=0)), end="", file=sys.stderr)
    if not quiet and (advised := advice(inputs)) is not None:
        _say(advised)
    for error in errors:
        _say(str(error))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on a terminal's stderr, or None where nobody watches."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from vzflow.report.plain import printable

    drawn = began = 0.0
    before = ""

    def draw(told: Told) -> None:
        nonlocal drawn, began, before
        now = time.monotonic()
        if told.name != before:
            before, began = told.name, now
        elif told.done != told.total and now - drawn < 0.1:
            return
        drawn = now
        line = printable(_progress_line(told, now - began))[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _progress_line(told: Told, seconds: float) -> str:
    """Return a bar, the name, the rate and the time left, as far as these are known."""
    parts = [Path(told.name).name]
    if told.total is None:
        parts.insert(0, f"{told.done / 1e6:.1f} MB")
    else:
        share = told.done / told.total if told.total else 1.0
        parts.insert(0, f"[{'#' * int(30 * share):.<30}] {100 * share:3.0f} %")
    if told.records and seconds >= 1:
        parts.append(f"{told.records / seconds:,.0f} {told.unit}/s")
    if told.total and seconds >= 1 and 0 < told.done < told.total:
        left = round(seconds * (told.total - told.done) / told.done)
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return " ".join(parts)


def _colour(stream: Any) -> bool:  # noqa: ANN401 - a text stream
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _say(text: str) -> None:
    from vzflow.report.plain import printable

    print(f"vzflow: {printable(text)}", file=sys.stderr)


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _print(text: str) -> None:
    """Write data to stdout. If its reader has gone (`| head`), nothing is wrong and the exit code still counts."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = f"cannot be written: {error.strerror}"
        raise UsageProblem(what, at="standard output", do="Write it elsewhere.") from error


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageProblem("not text", at="standard input", do="Give one SQL query.") from error


def _one_of(value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageProblem(f"no such output: {value}", at="--output", do=f"Use {' or '.join(allowed)}.")


def _verdict(value: str | None) -> str | None:
    from vzflow.flow.terms import Verdict

    if value is not None and value not in set(Verdict):
        raise UsageProblem(f"no such verdict: {value}", at="--verdict", do=f"Use {', '.join(Verdict)}.")
    return value


def _window(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    begin, end = _time(since, "--since"), _time(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise UsageProblem(f"{until} is not after {since}", at="--until", do="It ends the window, exclusively.")
    return begin, end


def _time(value: str | None, flag: str) -> datetime | None:
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageProblem(f"not a time: {value}", at=flag, do="Write it as 2026-01-02T03:04:05Z.") from None
