"""`selsa synthesize-film`: one held-out synthetic clip as a video, for demonstrations.

The path goes to stdout, talk to stderr. What is heavy is imported inside the command.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from selsa_training.cli.command_line import expected_errors, progress_bars, say
from selsa_training.cli.data import chosen_sprites


def synthesize_film(
    output: Annotated[Path, typer.Argument(help="The film to make, FILE.mp4.", show_default=False)],
    *,
    seed: Annotated[int, typer.Option(help="Of the data set that the clip is one of.")] = 0,
    number: Annotated[int, typer.Option(help="Of the clip among the held-out ones.")] = 0,
    length: Annotated[int, typer.Option(help="Frames.")] = 150,
    size: Annotated[str, typer.Option(help="Of a frame in pixels, both even.", metavar="WxH")] = "320x192",
    objects: Annotated[int, typer.Option(min=1, max=30, help="Objects, all of different classes.")] = 3,
    rate: Annotated[int, typer.Option(help="Frames per second.")] = 25,
    crf: Annotated[int, typer.Option(help="Of x264; larger is smaller and worse.")] = 23,
    truth: Annotated[
        Path | None, typer.Option(help="Also write what is to be seen, as JSON.", show_default=False)
    ] = None,
    sprites: Annotated[
        Path | None, typer.Option(help="Folder of RGBA images, CLASS.png.", show_default=False)
    ] = None,
    font: Annotated[
        Path | None,
        typer.Option(help="Colour-emoji font; Noto Color Emoji if installed.", show_default=False),
    ] = None,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Draw simple shapes; also where there is no emoji font.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older files.")] = False,
) -> None:
    """Make a video of moving sprites, at times too degraded to be named from one frame."""
    from selsa_training.data.errors import DataError
    from selsa_training.data.synthetic.film import FilmOptions, write_film
    from selsa_training.data.synthetic.settings import SyntheticSettings

    with expected_errors():
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size)
        if found is None:
            raise DataError(f"size is {size!r}, allowed is WIDTHxHEIGHT, such as 320x192")
        width, height = int(found[1]), int(found[2])
        try:
            settings = SyntheticSettings(
                seed=seed, length=length, height=height, width=width, objects=(objects, objects)
            )
            options = FilmOptions(rate=rate, crf=crf, truth=truth, overwrite=overwrite)
        except ValueError as error:
            raise DataError(str(error)) from error
        chosen = chosen_sprites(sprites, font, shapes=shapes)
        with progress_bars("frames") as (progress,):
            film = write_film(output, settings, chosen, number, options, progress)
        say(f"{film.frames} frames, {film.degraded} degraded, {film.size} bytes: {', '.join(film.classes)}")
        typer.echo(output)
