"""Make the notebooks of the tutorials from their pages: python tools/notebooks.py

Python and shell blocks become cells; a csv block that is to be saved as a file becomes a cell that
writes it. The notebooks lie beside the pages, without outputs.
"""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
_FILE = re.compile(r"`([\w.-]+)`[^\n`]*:\n\n```csv\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OWN_LINK = re.compile(r"^.*\]\([\w.]+\.ipynb\).*\n", re.MULTILINE)


def notebook(page: Path) -> str:
    """Return a page as a notebook."""
    text = _OWN_LINK.sub("", page.read_text("utf-8"))
    text = _FILE.sub(r"`\1`:\n\n```python\n%%writefile \1\n\2```", text)
    text = text.replace("\n```sh\n", "\n```python\n%%sh\n")
    made = jupytext.reads(text, fmt="md")
    made.metadata = {"kernelspec": KERNEL}
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    for page in TUTORIALS:
        page.with_suffix(".ipynb").write_text(notebook(page), "utf-8")
        print(page.with_suffix(".ipynb").relative_to(ROOT))
