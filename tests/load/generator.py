"""Load on a real server, on the loopback and bounded in time.

python tests/load/generator.py throughput [--clients 8] [--rounds 3] [--bundle BUNDLE] [--json FILE]
    frames per second of one client, of several at once, and of the pipeline alone, and their ratios.
    Without a bundle two untrained ones are made, of small (160x96) and of larger frames (480x288).
    Options of `selsa serve` under trial go after `--`:
        python tests/load/generator.py throughput --frames 24 -- --batch 8 --max-concurrent 8
    Beside other work on the machine, trust the ratios and not the rates.

    python tests/load/generator.py confinement [--bundle BUNDLE] [--size 1920x1080] [--rounds 5] [--json FILE]
        what a frame costs with decoders in processes of their own, and with them in this one. Default: the
        packaged bundle.

    python tests/load/generator.py mixed [--clients 8] [--minutes 30] [--bundle BUNDLE] [--json FILE]
        good and bad videos, clients that leave and clients that are slow. Fails if an answer is not what it
        must be, a frame is lost or doubled, memory grows by more than 5 % after the warm-up, or a file stays
        open. With `--url http://host:port` (and `--pid` of the server, for memory and files) it starts no
        server. Memory is the proportional set size (PSS) of the server and the processes below it.

    python tests/load/generator.py sizes [--sizes 200] [--provider cpu openvino] [--json FILE]
        one video of each frame size. Fails if memory grows by more than 5 % after the first 20 sizes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import orjson
from confinement_cost import measure_confinement
from mixed import MixedLoad, MixedReport, run_mixed
from quick_bundle import LARGE, SMALL, make_bundle
from served import ServerProcess, serving
from sizes import run_sizes
from throughput import Throughput, Workload, measure_throughput

from selsa_bundle.default_bundle import default_bundle, synthetic_bundle
from selsa_bundle.runtimes.load import load_engines

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    given, server_options = _split(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        parsed.work(parsed, server_options, Path(folder))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Ours, and those after `--`."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(required=True, metavar="MODE")
    throughput = modes.add_parser("throughput", help="frames per second of one client and of several")
    throughput.add_argument("--bundle", type=Path, nargs="*", help="default: two small untrained ones")
    throughput.add_argument("--clients", type=int, default=8)
    throughput.add_argument("--frames", type=int, default=24, help="of each video")
    throughput.add_argument("--size", default="320x192", help="of each video's frames")
    throughput.add_argument("--rounds", type=int, default=3, help="measured, after one to warm up")
    throughput.add_argument("--threads", type=int, default=0, help="of an engine; 0: one per core")
    throughput.add_argument("--json", type=Path, help="also write the figures to this file")
    throughput.set_defaults(work=_throughput)
    cost = modes.add_parser("confinement", help="what decoders in processes of their own cost")
    cost.add_argument("--bundle", type=Path, help="default: the packaged one")
    cost.add_argument("--frames", type=int, default=24)
    cost.add_argument("--size", default="1920x1080", help="of the frames")
    cost.add_argument("--rounds", type=int, default=5, help="measured, after one to warm up")
    cost.add_argument("--json", type=Path, help="also write the figures to this file")
    cost.set_defaults(work=_confinement)
    mixed = modes.add_parser("mixed", help="clients of all kinds for a while")
    mixed.add_argument("--bundle", type=Path, help="default: the packaged one")
    mixed.add_argument("--url", help="of a server that runs already")
    mixed.add_argument("--pid", type=int, help="of that server, if it runs here")
    mixed.add_argument("--clients", type=int, default=8)
    mixed.add_argument("--minutes", type=float, default=30)
    mixed.add_argument("--warm-up", type=float, help="seconds; default: two minutes, a quarter of less")
    mixed.add_argument("--seed", type=int, default=0)
    mixed.add_argument("--json", type=Path, help="also write the figures to this file")
    mixed.set_defaults(work=_mixed)
    sizes = modes.add_parser("sizes", help="videos of many frame sizes")
    sizes.add_argument("--bundle", type=Path, help="default: the packaged one")
    sizes.add_argument("--provider", nargs="*", default=["cpu", "openvino"])
    sizes.add_argument("--sizes", type=int, default=200)
    sizes.add_argument("--json", type=Path, help="also write the figures to this file")
    sizes.set_defaults(work=_sizes)
    return parser


def _mixed(given: argparse.Namespace, server_options: list[str], folder: Path) -> None:
    seconds = given.minutes * 60
    load = MixedLoad(
        clients=given.clients,
        seconds=seconds,
        warm_up=given.warm_up or min(120.0, seconds / 4),
        warm_up_requests=round(10 * given.minutes),
        seed=given.seed,
    )
    if given.url:
        report = run_mixed(ServerProcess(given.url, given.pid), load, say=_say)
    else:
        spool = folder / "spool"
        spool.mkdir()
        options = ["--spool-dir", str(spool), *server_options]
        with serving(given.bundle or default_bundle(), options) as server:
            report = run_mixed(server, load, spool, _say)
    _print_mixed(report)
    if given.json:
        given.json.write_bytes(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
    if not report.passed:
        raise SystemExit(1)


def _sizes(given: argparse.Namespace, server_options: list[str], folder: Path) -> None:
    del folder
    bundle = given.bundle or default_bundle()
    reports = [run_sizes(bundle, each, given.sizes, server_options, _say) for each in given.provider]
    for report in reports:
        figures = ", ".join(f"{size / 1e6:.1f}" for size in report.idle)
        print(f"{report.provider:10} {figures} MB; growth {report.growth:+.2%}")
    if given.json:
        given.json.write_bytes(orjson.dumps([each.as_dict() for each in reports], option=orjson.OPT_INDENT_2))
    if not all(report.passed for report in reports):
        raise SystemExit(1)


def _print_mixed(report: MixedReport) -> None:
    rate = report.frames / report.seconds
    for name, outcomes in sorted(report.outcomes.items()):
        print(f"{name:20} {', '.join(f'{count} {outcome}' for outcome, count in sorted(outcomes.items()))}")
    print(f"{'frames':20} {report.frames} in {report.seconds:.0f} s, {rate:.1f} a second")
    for name, sizes in (("idle memory, MB", report.idle), ("under load, MB", report.busy)):
        print(f"{name:20} {', '.join(f'{size / 1e6:.1f}' for size in sizes)}")
    print(f"{'growth':20} {report.growth:+.2%}")
    print(f"{'left open':20} {report.left_open or 'nothing'}")
    print(f"{'left in the spool':20} {report.left_in_spool or 'nothing'}")
    for failure in report.failures[:20]:
        print(f"FAILURE {failure}")


def _throughput(given: argparse.Namespace, server_options: list[str], folder: Path) -> None:
    bundles = given.bundle or [make_bundle(folder, preprocess) for preprocess in (SMALL, LARGE)]
    width, height = map(int, given.size.split("x"))
    workload = Workload(
        clients=given.clients,
        frames=given.frames,
        size=(width, height),
        rounds=given.rounds,
        threads=given.threads,
    )
    results = [measure_throughput(each, folder, workload, server_options, _say) for each in bundles]
    _print_throughput(results)
    if given.json:
        given.json.write_bytes(orjson.dumps([each.as_dict() for each in results], option=orjson.OPT_INDENT_2))


def _confinement(given: argparse.Namespace, server_options: list[str], folder: Path) -> None:
    del server_options
    width, height = map(int, given.size.split("x"))
    loaded = load_engines(given.bundle or synthetic_bundle())
    cost = measure_confinement(
        loaded, folder, frames=given.frames, size=(width, height), rounds=given.rounds, say=_say
    )
    print(f"{cost.name}, {cost.video}; ms, here and confined")
    print(f"{'to open and close':24} {1e3 * cost.opening[0]:9.2f} {1e3 * cost.opening[1]:9.2f}")
    for name, (here, confined), ratio in (
        ("a frame, decoded", cost.frame, cost.frame_ratio),
        ("a frame, detected on", cost.pipeline, cost.pipeline_ratio),
    ):
        print(f"{name:24} {1e3 * here:9.2f} {1e3 * confined:9.2f}   ratio {ratio:.3f}")
    if given.json:
        given.json.write_bytes(orjson.dumps(cost.as_dict(), option=orjson.OPT_INDENT_2))


def _print_throughput(results: list[Throughput]) -> None:
    print(f"{'bundle':20} {'pipeline':>9} {'1 client':>9} {'at once':>9}  at once / 1   HTTP / pipeline")
    for each in results:
        rates = f"{each.pipeline:9.1f} {each.one:9.1f} {each.many:9.1f}"
        print(f"{each.name:20} {rates}  {each.many_to_one:11.3f}   {each.http_to_pipeline:15.3f}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
