"""The command and the options that several of its parts take."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="python -m fagan: what the Makefile, the Snakefile and a cluster's shell call.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ablation = Annotated[str, typer.Argument(help="a table of notebooks/ablations, such as laptop")]
Results = Annotated[Path, typer.Option(help="folder of all results")]
Seeds = Annotated[str, typer.Option(help="a count (3) or a list (0,1,5)")]
Steps = Annotated[int | None, typer.Option(help="generator steps of every run")]
Data = Annotated[str, typer.Option(help="folder or zip of images, or the root of a data set")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value for every run; may be repeated")
]
Download = Annotated[bool, typer.Option(help="fetch CIFAR-10 or CelebA through torchvision")]
