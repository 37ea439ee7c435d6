"""Pages of the site that stand elsewhere in the repository."""

import pathlib

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
FILES = {
    "benchmarks/EFFECT.md": "effect.md",
    "benchmarks/effect.png": "effect.png",
    "benchmarks/long_training.png": "long_training.png",
}


def on_files(files, config):
    """Adds them."""
    for source, target in FILES.items():
        files.append(File.generated(config, target, abs_src_path=ROOT / source))
    return files


def on_page_markdown(markdown, **page):
    """Links lead to them on the site, as they do in the repository."""
    for source, target in FILES.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    return markdown
