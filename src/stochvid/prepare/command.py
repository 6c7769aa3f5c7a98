"""What `stochvid prepare` does, whatever it is asked to prepare."""

from stochvid.core.signals import advice
from stochvid.data.store import Store
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
from stochvid.prepare.options import MovingMNISTOptions, PrepareOptions, VerifyOptions
from stochvid.prepare.preparation import prepare


def run(options: PrepareOptions | MovingMNISTOptions | VerifyOptions) -> None:
    """Prepares a source on disk or Moving MNIST, or checks a store.

    Args:
        options: those of one of the three.

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
    else:
        with advice("Run the same command again to continue from here."):
            prepare(options)
