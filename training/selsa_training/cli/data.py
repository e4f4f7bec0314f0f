"""`selsa synthesize`, `import-data` and `check-data`: make a data set, and check one before training.

Results go to stdout, messages to stderr. NumPy, OpenCV and the readers are imported inside the commands to
keep `selsa --help` fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selsa_training.cli.command_line import EXPECTED_ERROR, expected_errors, progress_bars, say

if TYPE_CHECKING:
    from selsa_training.data.report import DataReport
    from selsa_training.data.synthetic.sprites import SpriteSet


def synthesize(
    output: Annotated[Path, typer.Argument(help="Folder of the new data set.", show_default=False)],
    *,
    train: Annotated[int, typer.Option(help="Clips to train on.")] = 1200,
    val: Annotated[int, typer.Option(help="Held-out clips.")] = 120,
    length: Annotated[int, typer.Option(help="Frames per clip.")] = 32,
    height: Annotated[int, typer.Option(help="Height of a frame in pixels.")] = 192,
    width: Annotated[int, typer.Option(help="Width of a frame in pixels.")] = 320,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Draw simple shapes; also where there is no emoji font.")
    ] = False,
    png: Annotated[bool, typer.Option("--png", help="Lossless frames instead of JPEG.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older synthetic set.")] = False,
) -> None:
    """Make a data set of moving sprites, at times too degraded to be named from one frame.

    Thirty classes as in ImageNet VID, written as CocoVID JSON and images; motion speed is annotated and
    degraded frames are marked.
    """
    import time

    from selsa_training.data.errors import DataError
    from selsa_training.data.synthetic.settings import SyntheticSettings
    from selsa_training.data.synthetic.write import write_synthetic

    with expected_errors():
        try:
            settings = SyntheticSettings(
                seed=seed,
                train_clips=train,
                val_clips=val,
                length=length,
                height=height,
                width=width,
                image_format="png" if png else "jpg",
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        chosen = chosen_sprites(shapes=shapes)
        say(f"sprites: {chosen.origin}, sha256 {chosen.sha256[:16]}")
        start = time.perf_counter()
        with progress_bars("clips") as (progress,):
            written = write_synthetic(
                output, settings, chosen, workers=workers, overwrite=overwrite, progress=progress
            )
        seconds = time.perf_counter() - start
        say(f"{written.clips} clips, {written.frames} frames, {written.objects} objects")
        say(f"{seconds:.1f} s, {written.frames / seconds:.0f} frames a second")
        say(f"wrote the data set {output}; next: selsa train tiny --data {output} -o RUN")
        typer.echo(output)


def import_data(
    labels: Annotated[
        Path,
        typer.Argument(
            help="CVAT's .xml for videos, Label Studio's .json, a MOT or YOLO folder, COCO's .json or "
            "folder; or a folder of several .xml or .json.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Folder of the new data set.", show_default=False)],
    *,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the videos or images, if not beside the labels.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class of the data set; repeatable; all if not given."),
    ] = None,
    val: Annotated[
        list[str] | None, typer.Option(help="A video to hold out, by name; repeatable.", show_default=False)
    ] = None,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the videos to hold out, where nothing names them.")
    ] = 0.2,
    png: Annotated[bool, typer.Option("--png", help="Lossless frames instead of JPEG.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older import.")] = False,
) -> None:
    """Make a data set for training from the files of a labelling tool and the videos.

    Writes CocoVID JSON and an image per frame. Whole videos are held out; which ones follows from their names
    alone and is printed. Ends with status 3 if a label file is broken, naming its line.
    """
    from importlib.metadata import version

    from selsa_training.data.formats.coco_write import write_coco_vid
    from selsa_training.data.formats.open_data import DataSource, open_data
    from selsa_training.data.issues import IssueLog

    source = DataSource(
        path=labels,
        images=videos,
        classes=tuple(classes) if classes else None,
        held_out=val_share,
        val=tuple(val or ()),
        split_file=True,
    )
    with expected_errors():
        splits = {}
        for split in ("train", "val"):
            log = IssueLog()
            with progress_bars(f"{split}: labels") as (reading,):
                splits[split] = open_data(source, split, log, progress=reading)
            log.raise_if_fatal()
            for issue in log:
                say(str(issue))
        about = {
            "made_by": f"selsa import-data {version('selsa')}",
            "labels": str(labels),
            "videos": {split: list(data.video_names) for split, data in splits.items()},
        }
        with progress_bars("frames") as (writing,):
            write_coco_vid(
                output,
                splits,
                about,
                image_format="png" if png else "jpg",
                overwrite=overwrite,
                progress=writing,
            )
        for split, data in splits.items():
            say(
                f"{split}: {data.video_count} videos, {data.frame_count} frames, {data.object_count} objects "
                f"of {len(data.classes)} classes"
            )
        say(f"held out: {', '.join(splits['val'].video_names[:20])}")
        typer.echo(output)


def check_data(
    path: Annotated[
        Path,
        typer.Argument(
            help="Labels of CVAT, Label Studio, MOT, YOLO or COCO; ImageNet VID's or EPIC-KITCHENS-55's "
            "folder; a CocoVID .json or a folder with train.json and val.json.",
            show_default=False,
        ),
    ],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="train or val; repeatable; both if not given.")
    ] = None,
    images_folder: Annotated[
        Path | None,
        typer.Option(help="Folder of the images or videos, if not beside the labels."),
    ] = None,
    det: Annotated[bool, typer.Option(help="ImageNet: DET images too.")] = True,
    images: Annotated[
        bool, typer.Option("--images", help="Decode every image to its end, not only its header.")
    ] = False,
    show: Annotated[int, typer.Option(min=0, help="Issues of each kind to print.")] = 10,
    json: Annotated[Path | None, typer.Option(help="Also write a report to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on skipped annotations too.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that look at images.")] = 4,
) -> None:
    """Check a data set before training: every image, annotation and list, each issue with file and line.

    Ends with status 3 if anything is fatal. An annotation that would be left out or clipped is counted and
    does not fail.
    """
    from selsa_training.data.errors import DataError
    from selsa_training.data.formats.open_data import DataSource, check_classes
    from selsa_training.data.issues import IssueLog
    from selsa_training.data.report import check, splits_of, write_report

    source = DataSource(path=path, images=images_folder, with_det=det)
    reports = []
    with expected_errors():
        splits = splits_of(path, split)
        if len(splits) > 1:
            check_classes(source)
        for name in splits:
            with progress_bars(f"{name}: annotations", f"{name}: images") as (reading, looking):
                log = IssueLog(keep=max(show, 1000 if json else 0))
                report = check(
                    source, name, log, decode=images, workers=workers, reading=reading, looking=looking
                )
            _print(report, show)
            reports.append(report)
        if json is not None:
            try:
                write_report(json, path, reports)
            except OSError as error:
                raise DataError(f"{json} cannot be written: {error.strerror}") from error
    failing = sum(report.log.fatal + strict * report.log.skipped for report in reports)
    if failing:
        say(f"error: {failing} issues in {path} prevent training")
        raise typer.Exit(EXPECTED_ERROR)
    written = "" if json is None else f"wrote {json}; "
    say(f"{written}training can start; next: selsa train RECIPE --data {path} -o RUN")


def _print(report: "DataReport", show: int) -> None:
    data, log = report.data, report.log
    typer.echo(
        f"{report.split}: {data.video_count} videos, {data.frame_count} frames, {data.object_count} objects "
        f"of {len(data.classes)} classes, {len(data.training_keys())} key frames"
    )
    for kind in log.kinds:
        issues = log.kept[kind]
        for issue in issues[:show]:
            typer.echo(f"  {issue}")
        if (more := log.counts[kind] - min(show, len(issues))) > 0:
            typer.echo(f"  ... {more} more {kind.replace('_', ' ')}")
    typer.echo(f"  {log.fatal} fatal, {log.skipped} skipped" + (f": {log.summary()}" if log.counts else ""))


def chosen_sprites(*, shapes: bool) -> "SpriteSet":
    """Emoji, or simple shapes if `shapes` is set or no emoji font is installed.

    Raises:
        DataError: the font cannot be used.
    """
    from selsa_bundle.classes import IMAGENET_VID
    from selsa_training.data.synthetic.drawn import draw_shapes
    from selsa_training.data.synthetic.emoji import find_emoji_font, load_emoji

    font = None if shapes else find_emoji_font()
    if font is not None:
        return load_emoji(font)
    if not shapes:
        say("no colour-emoji font found (Debian: fonts-noto-color-emoji): drawing simple shapes")
    return draw_shapes(IMAGENET_VID)
