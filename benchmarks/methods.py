"""Methods to compare, in this process and in the peers'."""

import json
import subprocess
from collections.abc import Iterable

from benchmarks import harness


class Peers:
    """The server of `benchmarks.torch_peers`, asked line by line.

    A context manager, which ends it.

    Args:
        python: path of the interpreter of the peers' environment.
        arguments: iterable of strings, the server's.
    """

    def __init__(self, python: str, arguments: Iterable):
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.torch_peers", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.communicate()

    def ask(self, **request):
        """The answer to one request."""
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            answer = ""
        else:
            answer = self.process.stdout.readline()
        if not answer:
            raise ChildProcessError(
                f"The peers' process ended at the request {request}. See what "
                "it printed above, and benchmarks/peers-requirements.txt for "
                "the packages it needs."
            )
        return json.loads(answer)


class Method:
    """A method of this library, measured in this process.

    Args:
        function: function without arguments that returns the scores, or
            `None` where nothing is scored.
        clock: function that returns seconds.
    """

    def __init__(self, function, clock):
        self.scores = function
        self.clock = clock

    def seconds(self):
        """The time of one call."""
        return harness.seconds(self.scores, self.clock)

    def peak(self):
        """The peak memory of one call in megabytes."""
        return harness.peak_memory(self.scores)


class PeerMethod:
    """A method of a peer, measured in the peers' process.

    Args:
        peers: `Peers`.
        workload: string, what the peers know it by.
        name: string, what they call the method.
    """

    def __init__(self, peers, workload, name):
        self.peers = peers
        self.request = {"workload": workload, "method": name}

    def scores(self):
        """The scores of one call."""
        return self.peers.ask(**self.request, memory=False)[1]

    def seconds(self):
        """The time of one call."""
        return self.peers.ask(**self.request, memory=False)[0]

    def peak(self):
        """The peak memory of one call in megabytes."""
        return self.peers.ask(**self.request, memory=True)
