"""The parity report of a bundle, and the differences that rounding explains."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Tolerance(BaseModel):
    """Largest differences that rounding explains for fp32 on a CPU; wrong implementations exceed them by far.

    Two runs of the published code with different settings differ by at most 5.1e-5 in scores and 0.004 px in
    corners at 1920x1080. The smallest error that was tried differs by 1.9e-2 and 2.3 px.
    """

    model_config = ConfigDict(frozen=True)

    score: float = 1e-3
    corner: float = 0.1
    feature: float = 1e-3
    unmatched: float = 0.01


class EngineParity(BaseModel):
    """Differences between one pair of engines and torch on a clip."""

    model_config = ConfigDict(frozen=True)

    frame_count: int
    tolerance: Tolerance
    proposals: int
    proposals_unmatched: int
    proposal_corner: float
    features: dict[str, float] = Field(description="relative L2 of each feature of the family, at worst")
    detections: int
    detections_unmatched: int
    detections_extra: int
    detection_score: float
    detection_corner: float
    detection_threshold: float
    batched: Literal["equal", "within tolerance", "outside tolerance"]

    def failures(self) -> list[str]:
        """One sentence for each value outside the tolerance; empty if parity holds."""
        t = self.tolerance
        # At the cut, two boxes of almost equal score can change places. One such box per frame is allowed.
        allowed_proposals = t.unmatched * self.proposals + self.frame_count
        allowed_detections = t.unmatched * self.detections
        checks = (
            (self.proposals == 0, "no frame has a proposal, so nothing was compared"),
            (
                self.proposals_unmatched > allowed_proposals,
                f"{self.proposals_unmatched} of {self.proposals} proposals have no partner",
            ),
            *(
                (off > t.feature, f"{name}: {off:.2e} off (relative L2)")
                for name, off in self.features.items()
            ),
            (
                self.detections_unmatched > allowed_detections,
                f"of {self.detections} detections {self.detections_unmatched} are missing",
            ),
            (
                self.detections_extra > allowed_detections,
                f"{self.detections_extra} detections are extra",
            ),
            (self.detection_score > t.score, f"scores differ by up to {self.detection_score:.2e}"),
            (self.detection_corner > t.corner, f"corners differ by up to {self.detection_corner:.3f} px"),
            (self.batched == "outside tolerance", "a batch of frames gives other detections than each alone"),
        )
        return [sentence for failed, sentence in checks if failed]


class ParityReport(EngineParity):
    """`parity.json` of a bundle."""

    frames: str
    sizes: tuple[tuple[int, int], ...]
    compared_with: str
    native: dict[str, EngineParity] = Field(
        default_factory=dict, description="the same of the native graphs, by precision"
    )
