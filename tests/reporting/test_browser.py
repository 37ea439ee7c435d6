"""The page in headless Chromium, Debian's package."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

import keras_influence as ki
from keras_influence.reporting.predictions import probabilities_of
from tests.cases import reports

WIDTHS = (360, 1280)

# A window may have a least width; a frame of the same page has none.
FRAMES = """<!DOCTYPE html><title>frames</title>{frames}<pre id="found"></pre>
<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    return {{
      width: frame.contentWindow.innerWidth,
      needed: page.documentElement.scrollWidth,
      images: page.images.length,
      broken: [...page.images].filter((i) => !i.naturalWidth).length,
      nameless: [...page.querySelectorAll("img:not([alt])")].length,
      outside: [...page.querySelectorAll("main *")].filter(
        (e) => !e.closest(".wide, pre, svg") &&
          e.getBoundingClientRect().right > frame.contentWindow.innerWidth + 1
      ).map((e) => e.outerHTML.slice(0, 80)),
    }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("Install Debian's package `chromium`.")
        pytest.skip("Chromium is not installed.")
    return found


def opened(chromium, path, folder):
    """What Chromium makes of the page at `path`, and what it says of it."""
    source = html.escape(path.read_text(encoding="utf-8"))
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:900px" '
        f'srcdoc="{source}"></iframe>'
        for width in WIDTHS
    )
    wrapper = folder / "frames.html"
    wrapper.write_text(FRAMES.format(frames=frames), encoding="utf-8")
    arguments = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-dev-shm-usage"),
        f"--user-data-dir={folder / 'profile'}",
        *("--enable-logging=stderr", "--dump-dom", wrapper.as_uri()),
    ]
    result = subprocess.run(
        [chromium, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)
    console = [
        line for line in result.stderr.splitlines() if ":CONSOLE" in line
    ]
    return json.loads(html.unescape(found[1])), console


@pytest.mark.parametrize("shown", ["texts", "images", "rows"])
def test_the_page_fits_and_says_nothing(chromium, training, tmp_path, shown):
    model, (x, y), history, weight_history = training
    test = (None, y[:9])
    path = ki.report(
        model,
        tmp_path / "report.html",
        x,
        y,
        ids=[
            f"a/long/path/without/a/space/{k}_{'x' * 60}.png" for k in range(30)
        ],
        class_names=reports.CLASSES,
        shown=None if shown == "rows" else getattr(reports, shown)(),
        test=test,
        test_probabilities=probabilities_of(model, x[:9]),
        baselines={"a name that is rather long " * 3: 0.5},
        history=history,
        weight_history=weight_history,
        settings={"a_name_that_is_long" * 4: "v" * 300},
        command=f"python -m applications run {'x' * 300}",
    )
    pages, console = opened(chromium, path, tmp_path)
    assert console == []
    for found, width in zip(pages, WIDTHS, strict=True):
        assert found["outside"] == []
        assert found["needed"] <= found["width"] <= width
        assert found["images"] == (24 if shown == "images" else 0)
        assert not found["broken"]
        assert not found["nameless"]


def test_what_is_wrong_is_found(chromium, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        '<main><img src="data:image/png;base64,AAAA">'
        '<div style="width:700px">wide</div>'
        "<script>console.error('bad')</script></main>"
    )
    (narrow, wide), console = opened(chromium, path, tmp_path)
    assert narrow["needed"] > narrow["width"]
    assert wide["needed"] <= wide["width"]
    assert narrow["broken"] == narrow["nameless"] == 1
    assert any("bad" in line for line in console)
