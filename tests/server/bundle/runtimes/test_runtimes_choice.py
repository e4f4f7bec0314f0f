"""What runs a bundle: what was asked for or a refusal; unasked, the fastest that its report allows."""

import re
from typing import Any

import pytest

from selsa_bundle.errors import ChoiceError
from selsa_bundle.precision_report import Accuracy, DetectionAgreement, MeasuredPrecision, PrecisionReport
from selsa_bundle.runtimes.choice import EngineOptions, choose, options_named
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.processor import processor_flags, processor_name

BOTH = ("fp32", "int8")


def host(*flags: str, onnx: tuple[str, ...] = (), packages: tuple[str, ...] = ("openvino",)) -> Host:
    return Host(
        flags=frozenset(flags), onnx_providers=("CPUExecutionProvider", *onnx), packages=frozenset(packages)
    )


NEW = host("avx512_vnni", "avx512_bf16")
OLD = host("avx2")


def measured(
    provider: Any, precision: Any, speed: float, *, matched: int = 100, lost: float = 0.0
) -> MeasuredPrecision:
    return MeasuredPrecision(
        provider=provider,
        precision=precision,
        frame_engine_bytes=1,
        times_as_fast=speed,
        seconds=1 / speed,
        agreement=DetectionAgreement(
            frames=4,
            threshold=0.3,
            iou=0.9,
            compared=100,
            matched=matched,
            extra=0,
            score_quantiles={"0.95": 0.01},
        ),
        accuracy=Accuracy(data="d", split="val", videos=1, ap50=90 - lost, ap50_fp32=90),
    )


def report(*ways: MeasuredPrecision, instructions: tuple[str, ...] = ()) -> PrecisionReport:
    return PrecisionReport(
        created="now",
        machine="m",
        instructions=instructions,
        threads=0,
        engine_input=(64, 48),
        frames="f",
        measured=ways,
    )


FAST = report(
    measured("cpu", "fp32", 1.0),
    measured("cpu", "int8", 3.1),
    measured("openvino", "fp32", 1.1),
    measured("openvino", "bf16", 2.1),
)


def test_a_bundle_without_a_report_runs_as_it_was_compared_with_torch() -> None:
    chosen = choose(EngineOptions(), BOTH, None, NEW)
    assert (chosen.provider, chosen.precision, chosen.variant) == ("cpu", "fp32", "fp32")
    assert "no report" in chosen.why


def test_the_fastest_way_that_the_report_allows_is_chosen_and_that_is_said() -> None:
    chosen = choose(EngineOptions(), BOTH, FAST, NEW)
    assert (chosen.provider, chosen.precision, chosen.variant) == ("cpu", "int8", "int8")
    assert re.search(r"has avx512_vnni.*100\.0% of fp32 detections matched.*3\.1 times", chosen.why)


@pytest.mark.parametrize(
    ("known", "machine", "expected", "said"),
    [
        (FAST, OLD, ("openvino", "fp32"), "int8 on cpu is left out: this processor has none of avx512_vnni"),
        (FAST, host("avx2", packages=()), ("cpu", "fp32"), "openvino is not installed"),
        (FAST, host("avx512_bf16"), ("openvino", "bf16"), "has avx512_bf16"),
        (
            report(measured("cpu", "int8", 3.1, matched=96), measured("openvino", "bf16", 2.1)),
            NEW,
            ("openvino", "bf16"),
            "96.0% of fp32 detections matched, 97.0% wanted",
        ),
        (report(measured("cpu", "int8", 3.1, lost=0.6)), NEW, ("cpu", "fp32"), "0.60 AP50 lost, 0.5 allowed"),
        (report(measured("cpu", "int8", 0.8)), NEW, ("cpu", "fp32"), "nothing faster"),
    ],
)
def test_what_this_machine_cannot_do_or_the_report_forbids_is_left_out_with_the_reason(
    known: PrecisionReport, machine: Host, expected: tuple[str, str], said: str
) -> None:
    chosen = choose(EngineOptions(), BOTH, known, machine)
    assert (chosen.provider, chosen.precision) == expected
    assert said in chosen.why


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_int8_without_vnni_runs_if_its_weights_have_seven_bits(provider: Any) -> None:
    wanted = EngineOptions(provider=provider, precision="int8")
    assert choose(wanted, BOTH, FAST, OLD, weight_bits=7).precision == "int8"
    with pytest.raises(ChoiceError, match=r"none of avx512_vnni.*; `selsa quantize` makes"):
        choose(wanted, BOTH, FAST, OLD, weight_bits=8)
    with pytest.raises(ChoiceError, match=r"none of avx512_vnni.*, avx2"):
        choose(wanted, BOTH, FAST, host(), weight_bits=7)


@pytest.mark.parametrize(
    ("measured_with", "chosen", "said"),
    [
        ((), "fp32", "its speed was measured with avx512_vnni, which this processor lacks"),
        (("avx2", "avx_vnni"), "fp32", "its speed was measured with avx_vnni, which this processor lacks"),
        (("avx2",), "int8", "this processor has avx2"),
    ],
)
def test_int8_without_vnni_is_chosen_unasked_only_if_it_was_measured_without(
    measured_with: tuple[str, ...], chosen: str, said: str
) -> None:
    known = report(*FAST.measured, instructions=measured_with)
    found = choose(EngineOptions(provider="cpu"), BOTH, known, OLD, weight_bits=7)
    assert found.precision == chosen
    assert said in found.why
    assert choose(EngineOptions(provider="cpu"), BOTH, known, NEW, weight_bits=7).precision == "int8"


def test_a_provider_that_was_named_is_kept_to() -> None:
    chosen = choose(EngineOptions(provider="openvino"), BOTH, FAST, NEW)
    assert (chosen.provider, chosen.precision) == ("openvino", "bf16")
    plain = choose(EngineOptions(provider="openvino"), BOTH, None, NEW)
    assert (plain.provider, plain.precision) == ("openvino", "fp32")


def test_a_precision_that_was_named_runs_whatever_the_report_says() -> None:
    forbidding = report(measured("cpu", "int8", 3.1, matched=10))
    chosen = choose(EngineOptions(precision="int8"), BOTH, forbidding, NEW)
    assert (chosen.provider, chosen.precision, chosen.why) == ("cpu", "int8", "as asked for")


@pytest.mark.parametrize(
    ("options", "variants", "machine", "named"),
    [
        (EngineOptions(precision="int8"), ("fp32",), NEW, "no int8 engines (it has fp32)"),
        (
            EngineOptions(precision="bf16"),
            BOTH,
            host("avx512_bf16", packages=()),
            "openvino is not installed",
        ),
        (EngineOptions(precision="bf16"), BOTH, OLD, "none of avx512_bf16, amx_bf16"),
        (
            EngineOptions(provider="cpu", precision="bf16"),
            BOTH,
            NEW,
            "cpu computes in fp32, int8; bf16 needs",
        ),
        (EngineOptions(precision="fp16"), BOTH, NEW, "fp16 needs --provider cuda, tensorrt"),
        (EngineOptions(provider="openvino"), BOTH, host(packages=()), "pip install 'selsa[openvino]'"),
        (EngineOptions(provider="cuda"), BOTH, NEW, "built without CUDA"),
        (EngineOptions(provider="tensorrt"), BOTH, NEW, "TensorRT is not installed"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(
    options: EngineOptions, variants: Any, machine: Host, named: str
) -> None:
    with pytest.raises(ChoiceError) as refused:
        choose(options, variants, FAST, machine)
    assert named in str(refused.value)


def test_the_cpu_takes_over_only_where_that_is_allowed_and_says_so() -> None:
    chosen = choose(EngineOptions(provider="cuda", allow_cpu=True), BOTH, FAST, NEW)
    assert (chosen.provider, chosen.precision) == ("cpu", "fp32")
    assert chosen.why.startswith("allowed by --allow-cpu, since this ONNX Runtime was built without CUDA")


def test_a_gpu_is_chosen_unasked_where_onnx_runtime_was_built_for_it() -> None:
    machine = host("avx512_vnni", onnx=("CUDAExecutionProvider",))
    assert choose(EngineOptions(), BOTH, FAST, machine).provider == "cuda"
    assert choose(EngineOptions(precision="int8"), BOTH, FAST, machine).provider == "cpu"


@pytest.mark.parametrize(("provider", "precision"), [("gpu", "auto"), ("auto", "int4")])
def test_an_unknown_name_is_shown_with_what_is_allowed(provider: str, precision: str) -> None:
    with pytest.raises(ChoiceError, match=r"is '(gpu|int4)'; allowed are auto, "):
        options_named(provider, precision)


def test_a_processor_that_says_nothing_has_no_instructions(tmp_path: Any) -> None:
    assert processor_flags(tmp_path / "none") == frozenset()
    assert processor_name(tmp_path / "none")
    (tmp_path / "arm").write_text(
        "processor\t: 0\nFeatures\t: fp asimddp\n\nprocessor\t: 1\nFeatures\t: fp\n"
    )
    assert processor_flags(tmp_path / "arm") == {"fp", "asimddp"}
