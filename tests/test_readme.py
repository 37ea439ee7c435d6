import pathlib
import re

import numpy as np

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_the_first_example_runs():
    code = re.search(
        r"## Use it.*?```python\n(.*?)```", README.read_text(), re.DOTALL
    )[1]
    assert "epochs=5, steps_per_epoch=200" in code
    quick = code.replace("epochs=5, steps_per_epoch=200", "steps_per_epoch=60")
    names = {}
    exec(quick, names)
    weights = names["model"].example_weights
    assert weights.shape == (1200,)
    assert np.ptp(weights) > 0.1


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / link).exists(), link
