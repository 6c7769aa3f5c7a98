"""What `stochvid prepare` does, whatever it is asked to prepare."""

from stochvid.core.signals import advice
from stochvid.data.store import Store
from stochvid.prepare.environments import prepare_environment
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
from stochvid.prepare.options import EnvironmentOptions, MovingMNISTOptions, PrepareOptions, VerifyOptions
from stochvid.prepare.preparation import prepare


def run(options: PrepareOptions | MovingMNISTOptions | EnvironmentOptions | VerifyOptions) -> None:
    """Prepares a source on disk, Moving MNIST or episodes of an environment, or checks a store.

    Args:
        options: those of one of the four.

    Raises:
        InputError: something does not work out.
        Interrupted: a signal stopped it.
    """
    if isinstance(options, VerifyOptions):
        store = Store(options.verify)
        store.verify()
        print(f"{options.verify}: the index and every checksum are right")
        print(store.tracks_text, end="")
    elif isinstance(options, MovingMNISTOptions):
        prepare_moving_mnist(options)
    elif isinstance(options, EnvironmentOptions):
        with advice("Run the same command again to continue from here."):
            prepare_environment(options)
    else:
        with advice("Run the same command again to continue from here."):
            prepare(options)
