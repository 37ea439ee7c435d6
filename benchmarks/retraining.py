"""What influence is an approximation of: training again without an example."""

import numpy as np
import scipy.optimize
import scipy.special


class SoftmaxRegression:
    """Softmax regression with weight decay, trained to its optimum.

    Args:
        train: tuple `(x, y)`, arrays `(n, features)` and `(n,)`.
        validation: tuple `(x, y)`.
        classes: integer.
        decay: float, the curvature that the penalty `decay/2·‖θ‖²` adds.
    """

    def __init__(self, train, validation, classes, decay):
        self.train = train
        self.validation = validation
        self.decay = decay
        self.shape = (train[0].shape[1], classes)
        self.everyone = np.ones(len(train[1]))
        rough = scipy.optimize.minimize(
            lambda flat: self._objective(self.everyone, flat),
            np.zeros(self.shape).ravel(),
            jac=True,
        ).x
        self.inverse = np.linalg.inv(self._hessian(rough))
        self.optimum = self._polished(self.everyone, rough)

    @property
    def parameters(self) -> np.ndarray:
        """The optimum, an array `(features, classes)`."""
        return self.optimum.reshape(self.shape)

    def leave_one_out(self) -> np.ndarray:
        """How the validation loss grows where one example is left out.

        Returns:
            Array of shape `(n,)`, one retraining an example.
        """
        optima = [
            self._polished(self.everyone - left_out, self.optimum)
            for left_out in np.eye(len(self.everyone))
        ]
        losses = np.array([self._validation_loss(flat) for flat in optima])
        return losses - self._validation_loss(self.optimum)

    def _polished(self, weights, flat):
        """Newton's method with one Hessian, which the optima are near to."""
        for _ in range(200):
            gradient = self._objective(weights, flat)[1]
            if np.linalg.norm(gradient) < 1e-10:
                return flat
            flat = flat - self.inverse @ gradient
        raise ArithmeticError("Retraining did not converge.")

    def _objective(self, weights, flat):
        x, y = self.train
        theta, n = flat.reshape(self.shape), len(y)
        log_p = scipy.special.log_softmax(x @ theta, axis=1)
        value = -(weights * log_p[np.arange(n), y]).sum() / n
        residuals = np.exp(log_p) - np.eye(self.shape[1])[y]
        gradient = x.T @ (weights[:, None] * residuals) / n
        gradient = gradient.ravel() + self.decay * flat
        return value + self.decay / 2 * flat @ flat, gradient

    def _hessian(self, flat):
        x = self.train[0]
        p = scipy.special.softmax(x @ flat.reshape(self.shape), axis=1)
        blocks = p[:, :, None] * (np.eye(self.shape[1]) - p[:, None])
        hessian = np.einsum("ncd,ni,nj->icjd", blocks, x, x, optimize=True)
        hessian = hessian.reshape(flat.size, flat.size) / len(x)
        return hessian + self.decay * np.eye(flat.size)

    def _validation_loss(self, flat):
        x, y = self.validation
        log_p = scipy.special.log_softmax(x @ flat.reshape(self.shape), axis=1)
        return -log_p[np.arange(len(y)), y].mean()
