"""Frame records as NumPy arrays or `supervision.Detections`; both libraries are imported on first use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from selsa_client.wire.errors import MissingPackageError
from selsa_server.schema.detect import DetectionDocument, FrameRecord, SummaryRecord, VideoRecord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import supervision


class FrameArrays(NamedTuple):
    """The detections of one frame as arrays, by score descending; N may be 0.

    Attributes:
        boxes: float32 [N, 4]: x1, y1, x2, y2 in pixels of the frame as displayed.
        scores: float32 [N].
        class_ids: int64 [N].
        class_names: str [N].
        track_ids: int64 [N], 0 for a detection without a track; None if the frame's detections have no
            tracks.
    """

    boxes: "npt.NDArray[np.float32]"
    scores: "npt.NDArray[np.float32]"
    class_ids: "npt.NDArray[np.int64]"
    class_names: "npt.NDArray[np.str_]"
    track_ids: "npt.NDArray[np.int64] | None" = None


class Frame(FrameRecord):
    """The detections of one frame, by score descending."""

    def to_numpy(self) -> FrameArrays:
        """The detections as arrays.

        Raises:
            MissingPackageError: NumPy is not installed.
        """
        try:
            import numpy as np
        except ModuleNotFoundError as error:
            raise MissingPackageError("frame.to_numpy()", "numpy") from error
        found = self.detections
        corners = [(each.box.x1, each.box.y1, each.box.x2, each.box.y2) for each in found]
        return FrameArrays(
            boxes=np.array(corners, np.float32).reshape(len(found), 4),
            scores=np.array([each.score for each in found], np.float32),
            class_ids=np.array([each.class_id for each in found], np.int64),
            class_names=np.array([each.class_name for each in found], np.str_),
            track_ids=np.array([each.track_id or 0 for each in found], np.int64) if self.tracked else None,
        )

    def to_supervision(self) -> "supervision.Detections":
        """The detections for supervision's trackers, zones and annotators; names are `data["class_name"]`.

        With tracks, `tracker_id` is the object's number, 0 for a detection without a track.

        Raises:
            MissingPackageError: the extra `supervision` is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise MissingPackageError("frame.to_supervision()", "supervision", "supervision") from error
        arrays = self.to_numpy()
        return supervision.Detections(
            xyxy=arrays.boxes,
            confidence=arrays.scores,
            class_id=arrays.class_ids,
            tracker_id=arrays.track_ids,
            data={"class_name": arrays.class_names},
        )


class Document(DetectionDocument):
    """All records of a video, held in memory."""

    frames: tuple[Frame, ...]


def document_of(video: VideoRecord, frames: Sequence[Frame], summary: SummaryRecord) -> Document:
    """A document of these records; the summary's aliases are applied to its frames."""
    named = tuple(frame.with_aliases(summary.aliases or {}) for frame in frames)
    return Document(video=video, frames=named, summary=summary)
