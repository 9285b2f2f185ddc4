"""How a worker takes up a message: told to the broker at once, and what the broker does not confirm raises."""

from celery.worker.request import Request


class HonestRequest(Request):
    """Celery's own leaves the acknowledgement to the event loop, and only logs one that failed.

    In a process that trains by itself the loop goes on when the training is over. Where the broker was away by then,
    the message counted as one in hand for as long as the connection lived, and a worker that has one in hand takes no
    other: it waited for ever, healthy to look at. Raised, the error makes the consumer connect anew, with nothing in
    hand; the cohort comes back through the reconciler.
    """

    def acknowledge(self) -> None:
        """Tell the broker that the message was taken up; raises what went wrong with it."""
        if not self.acknowledged:
            self.message.ack()
            self.acknowledged = True
