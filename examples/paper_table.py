"""Write a paper's table, its picture and a page to look through, of the trained networks of syops.

    python examples/paper_table.py FOLDER

writes ``table.tex``, ``accuracy-energy.pdf``, ``comparison.html`` and a report of each network;
``syops compare FOLDER/*.json`` puts them side by side again.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from syops import Report, compare, create_model, get_model_syops
from syops.models.demo import NETWORKS, digits, weights


def count(name: str, images: Tensor, labels: Tensor) -> Report:
    """What a network does with the images, and how many of them it gets right."""
    model = create_model(name, weights=weights(name)).eval()
    with torch.no_grad():
        logits = model(images)
    if not isinstance(logits, Tensor):  # both streams of a DSNN
        logits = logits.accumulated
    accuracy = int((logits.argmax(1) == labels).sum()) / len(labels)
    return replace(get_model_syops(model, images), model=name, accuracy=accuracy)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits()
    comparison = compare([count(name, images, labels) for name in NETWORKS])
    for report in comparison.reports:
        report.save(folder / f"{report.model}.json")
    (folder / "table.tex").write_text(comparison.to_latex(), "utf-8")
    comparison.plot().savefig(folder / "accuracy-energy.pdf")
    comparison.save_html(folder / "comparison.html", command=" ".join(sys.argv))
    print(comparison)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
