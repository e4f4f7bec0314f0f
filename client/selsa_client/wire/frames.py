"""Frame records as NumPy arrays or `supervision.Detections`; both libraries are imported on first use."""

from typing import TYPE_CHECKING, NamedTuple

from selsa_client.wire.errors import MissingPackageError
from selsa_server.schema.detect import DetectionDocument, FrameRecord

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
    """

    boxes: "npt.NDArray[np.float32]"
    scores: "npt.NDArray[np.float32]"
    class_ids: "npt.NDArray[np.int64]"
    class_names: "npt.NDArray[np.str_]"


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
        )

    def to_supervision(self) -> "supervision.Detections":
        """The detections for supervision's trackers, zones and annotators; names are `data["class_name"]`.

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
            data={"class_name": arrays.class_names},
        )


class Document(DetectionDocument):
    """All records of a video, held in memory."""

    frames: tuple[Frame, ...]
