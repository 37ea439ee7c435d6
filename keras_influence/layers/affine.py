from keras_influence.layers.recording_layer import RecordingLayer


class Affine(RecordingLayer):
    """Layers that compute `activation(apply_kernel(features, kernel) + bias)`.

    A subclass writes `apply_kernel`, which is linear in the kernel.
    """

    @property
    def parameters(self):
        """Kernel and, where there is one, bias; frozen or not."""
        return [p for p in (self.kernel, self.bias) if p is not None]

    def apply_kernel(self, features, kernel):
        """The layer without bias and activation."""
        raise NotImplementedError

    def linear(self, features, kernel, bias=None):
        """`apply_kernel(features, kernel) + bias`."""
        outputs = self.apply_kernel(features, kernel)
        return outputs if bias is None else outputs + bias

    def readout(self, outputs):
        """The activation."""
        return outputs if self.activation is None else self.activation(outputs)
