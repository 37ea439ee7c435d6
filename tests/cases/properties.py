import hypothesis
import pytest


def property_test(fast: int = 10, slow: int = 200, **strategies):
    """Hypothesis' `given`: a few examples, and `slow` ones among slow tests."""

    def decorate(test):
        @pytest.mark.parametrize(
            "max_examples", [fast, pytest.param(slow, marks=pytest.mark.slow)]
        )
        def run(max_examples):
            given = hypothesis.given(**strategies)
            settings = hypothesis.settings(
                max_examples=max_examples, deadline=None
            )
            # A copy: a function takes one settings object only.
            settings(given(lambda **arguments: test(**arguments)))()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
