"""A report of precisions in a few lines, for the terminal."""

from selsa_bundle.precision_report import PrecisionReport


def summary_of(report: PrecisionReport) -> list[str]:
    """One line per measured way to run, and one per way that was not measured."""
    lines = []
    for each in report.measured:
        found = each.agreement
        speed = f"computed by {each.stand_in}"
        if each.times_as_fast is not None:
            speed = f"{each.times_as_fast:.2f} times as fast"
        parts = [
            f"{each.precision} on {each.provider}: {speed}",
            f"{found.matched} of {found.compared} detections matched",
        ]
        if each.accuracy is not None:
            parts.append(f"AP50 {each.accuracy.ap50:.1f} (fp32 {each.accuracy.ap50_fp32:.1f})")
        failures = each.failures(report.bounds)
        is_base = (each.provider, each.precision) == ("cpu", "fp32")
        if failures and not is_base:
            parts.append(f"not chosen automatically: {'; '.join(failures)}")
        lines.append(", ".join(parts))
    return lines + [f"{way} not measured: {reason}" for way, reason in report.left_out.items()]
