from collections.abc import Callable

from keras_influence.models.batch import Batch
from keras_influence.weighting.mean_budget import rescaled, rescaled_gradient
from keras_influence.weighting.weight_network import Examples


class BatchWeights:
    """The weights of one batch, and the way back to what is learned.

    Args:
        weighting: `ExampleWeights` or `PredictedWeights`.
        batch: the `Batch`.
        mean_weight: float, the mean that the weights are rescaled to, or
            `None`.
        features: function without arguments to what enters the last layer,
            a tensor with a row for every row of the batch.
    """

    def __init__(
        self,
        weighting,
        batch: Batch,
        mean_weight: float | None,
        features: Callable,
    ):
        self.weighting = weighting
        self.batch = batch
        self.mean_weight = mean_weight
        self.features = features

    def __call__(self, logits: dict, losses, mask, view: str):
        """The weights, of shape `(n,)`.

        Args:
            logits: dictionary from the names of views to `(n, classes)`.
            losses: tensor of shape `(n,)`.
            mask: tensor of shape `(n,)`.
            view: string, the view that gives pseudo-labels.
        """
        self.mask = mask
        self.signals = None
        if self.weighting.signals:
            self.signals = self._observe(logits, losses, view)
        weights = self.weighting(self.batch.index, self.signals)
        if self.mean_weight is not None:
            weights = rescaled(weights, mask, self.mean_weight)
        return weights

    def gradients(self, index, hypergradient) -> list:
        """From `d L(V) / d λ` to the derivatives in what is learned.

        Args:
            index: integer tensor of shape `(n,)`, ids.
            hypergradient: tensor of shape `(n,)`.
        """
        if self.mean_weight is not None:
            hypergradient = rescaled_gradient(
                self.weighting(index, self.signals),
                *(self.mask, self.mean_weight, hypergradient),
            )
        return self.weighting.gradients(index, self.signals, hypergradient)

    def _observe(self, logits, losses, view):
        features = None
        if "features" in self.weighting.signals:
            _, views = self.batch.split(self.features())
            features = views[view]
        evidence = self.weighting.evidence(self.batch.index)
        examples = Examples(
            *(self.batch.index, losses, logits, logits[view]),
            *(features, evidence),
        )
        return self.weighting.observe(examples)
