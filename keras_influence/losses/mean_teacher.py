import keras
import tensorflow as tf
from keras import ops

from keras_influence.losses.checks import check_momentum, check_steps
from keras_influence.losses.loss_state import LossState
from keras_influence.losses.unlabeled_loss import UnlabeledLoss
from keras_influence.stateless import stateless_call


@keras.saving.register_keras_serializable(package="keras_influence")
class MeanTeacher(UnlabeledLoss):
    """Squared distance from the prediction of a teacher.

    The teacher is the same network with the average of its weights over the
    steps so far. It sees another view and other dropout; no gradient flows
    through it:

        θ' ← m θ' + (1 - m) θ,  m = min(1 - 1 / steps, momentum)
        l_u = r(step) · ‖p(y | view, θ) - p(y | teacher_view, θ')‖²
        r(step) = exp(-5 (1 - min(step / ramp_up_steps, 1))²)

    with `steps` those of the teacher, this one included: an optimizer that
    starts anew does not make it start anew.

    The cost of the consistency is the examples' weight, where weights start:
    `InfluenceModel(initial_weight=...)`. The teacher normalises with the
    statistics of its own batch. To evaluate averaged weights, give the
    optimizer `use_ema=True` and `fit` the callback
    `keras.callbacks.SwapEMAWeights`.

    Args:
        momentum: float in [0, 1), the highest `m`. Defaults to `0.999`.
        ramp_up_steps: positive integer, the training steps over which the loss
            grows to its full size. Defaults to `None`: it starts with it.
        view: string, the name of the view that the network sees. Defaults to
            `"strong"`.
        teacher_view: string, the name of the view that the teacher sees.
            Defaults to `"weak"`.

    Raises:
        ValueError: if an argument is outside its range, or a view is missing.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> loss = MeanTeacher()
    >>> loss.start(network, classes=2, num_examples=None)
    >>> x = np.ones((3, 4), "float32")
    >>> views, labels = loss.prepare(
    ...     network, {"weak": x, "strong": x}, None, step=0)
    >>> losses, mask = loss({"strong": network(x)}, labels)
    >>> np.round(losses, 6)
    array([0., 0., 0.], dtype=float32)

    Reference: Tarvainen and Valpola (2017), "Mean teachers are better role
    models: Weight-averaged consistency targets improve semi-supervised deep
    learning results", section 2.
    """

    def __init__(
        self,
        momentum=0.999,
        ramp_up_steps=None,
        view="strong",
        teacher_view="weak",
    ):
        check_momentum(momentum)
        if ramp_up_steps is not None:
            check_steps("ramp_up_steps", ramp_up_steps)
        self.momentum = momentum
        self.ramp_up_steps = ramp_up_steps
        self.view = view
        self.teacher_view = teacher_view
        self.state = LossState()

    @property
    def views(self) -> tuple:
        """The view that the network sees."""
        return (self.view,)

    def initial_state(self, network, classes, num_examples):
        """The teacher is the network itself."""
        assert network is not None  # only by hand can it be
        variables = enumerate(network.trainable_variables)
        teacher = {f"teacher_{i}": variable for i, variable in variables}
        return {"steps": ops.zeros((), "float32"), **teacher}

    def prepare(self, network, views, labels, step):
        """Moves the teacher; its predictions are the labels of the step."""
        if self.teacher_view not in views:
            raise ValueError(
                "`MeanTeacher` needs the view that its teacher sees, "
                f"{self.teacher_view!r}. Received: views {sorted(views)}"
            )
        steps = self.state["steps"] + 1
        decay = ops.minimum(1 - 1 / steps, self.momentum)
        names = self.state.names[1:]
        weights = [
            _between(decay, self.state[name], variable.value)
            for name, variable in zip(
                names, network.trainable_variables, strict=True
            )
        ]
        teacher = dict(zip(names, weights, strict=True))
        self.state.assign(steps=steps, **teacher)
        logits = stateless_call(
            network,
            weights,
            network.non_trainable_variables,
            views[self.teacher_view],
            training=True,
        )
        if self.teacher_view != self.view:
            views = {k: x for k, x in views.items() if k != self.teacher_view}
        return views, ops.softmax(ops.cast(logits, weights[0].dtype))

    def call(self, logits, labels=None, step=None):
        """Squared distance from the teacher's probabilities, the labels."""
        if labels is None:
            raise ValueError(
                "`MeanTeacher` compares with its teacher's probabilities, "
                "which `prepare` gives as labels. Received: labels=None"
            )
        student = ops.softmax(logits[self.view])
        teacher = ops.stop_gradient(ops.cast(labels, student.dtype))
        losses = ops.sum((student - teacher) ** 2, -1)
        if self.ramp_up_steps is not None:
            progress = ops.cast(step, losses.dtype) / self.ramp_up_steps
            losses *= ops.exp(-5 * (1 - ops.minimum(progress, 1.0)) ** 2)
        return losses, ops.ones_like(losses)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "momentum": self.momentum,
            "ramp_up_steps": self.ramp_up_steps,
            "view": self.view,
            "teacher_view": self.teacher_view,
        }


def _between(decay, before, now):
    now = tf.convert_to_tensor(now)
    return now + ops.cast(decay, now.dtype) * (before - now)
