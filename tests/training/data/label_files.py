"""Label files as CVAT, Label Studio and others write them, for one small video."""

import json
from pathlib import Path

import numpy as np
from media import write_video

SIZE = (64, 48)
FRAMES = 12


def write_clip(folder: Path, name: str = "clip", count: int = FRAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_video(folder / f"{name}.mp4", count, size=SIZE)


def cvat_box(frame: int, corners: tuple[float, ...], *, outside: int = 0, **values: object) -> str:
    places = " ".join(
        f'{name}="{value}"' for name, value in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)
    )
    shown = {"keyframe": 1, "occluded": 0, "z_order": 0} | values
    more = " ".join(f'{name}="{value}"' for name, value in shown.items())
    return f'    <box frame="{frame}" outside="{outside}" {places} {more}>\n    </box>\n'


def cvat_text(
    *tracks: tuple[str, list[str]], source: str = "clip.mp4", stop: int = FRAMES - 1, step: str = ""
) -> str:
    """`tracks`: (label, boxes)."""
    names = dict.fromkeys(label for label, _ in tracks)
    labels = "".join(f"<label><name>{name}</name></label>" for name in names)
    written = "".join(
        f'  <track id="{number}" label="{label}" source="manual">\n{"".join(boxes)}  </track>\n'
        for number, (label, boxes) in enumerate(tracks)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n'
        f"    <task><id>7</id><name>t</name><size>12</size><mode>interpolation</mode>"
        f"<start_frame>0</start_frame><stop_frame>{stop}</stop_frame><frame_filter>{step}</frame_filter>\n"
        f"    <labels>{labels}</labels>\n    <source>{source}</source></task>\n  </meta>\n"
        f"{written}</annotations>\n"
    )


def studio_entry(frame: int, x: float, *, enabled: bool = True, **values: object) -> dict[str, object]:
    entry = {"frame": frame, "x": x, "y": 25, "width": 25, "height": 50, "rotation": 0, "time": frame / 25}
    return entry | {"enabled": enabled} | values


def studio_task(
    *sequences: list[dict[str, object]], video: str = "/data/upload/1/0a1b2c3d-clip.mp4", count: int = FRAMES
) -> dict[str, object]:
    results = [
        {
            "id": f"r{number}",
            "type": "videorectangle",
            "from_name": "box",
            "to_name": "video",
            "value": {
                "framesCount": count,
                "duration": count / 25,
                "sequence": sequence,
                "labels": ["car"],
            },
        }
        for number, sequence in enumerate(sequences)
    ]
    return {"id": 1, "data": {"video": video}, "annotations": [{"id": 1, "result": results}]}


def write_studio(path: Path, *tasks: dict[str, object]) -> Path:
    path.write_text(json.dumps(list(tasks), indent=1))
    return path


def boxes_by_frame(data, track: int | None = None) -> dict[int, list[float]]:
    """Frame number in its video -> the box of the (only) object there."""
    found: dict[int, list[float]] = {}
    for frame in range(data.frame_count):
        objects = data.objects(frame)
        kept = np.ones(len(objects.labels), bool) if track is None else objects.tracks == track
        for box in objects.boxes[kept]:
            found[int(Path(data.frame_names[frame]).stem)] = [round(float(x), 4) for x in box]
    return found
