"""A closed store leaves no connection open: Python 3.13 and later warn about each."""

from sqlalchemy import Pool, QueuePool

from talweg.store import Store


def idle(pool: Pool) -> int:
    """The number of idle connections in the pool."""
    assert isinstance(pool, QueuePool)
    return pool.checkedin()


def test_a_connection_in_use_while_the_store_closes_is_closed_at_its_return(store: Store) -> None:
    pool = store.engine.pool
    with store._read():
        store.close()
    assert idle(pool) == 0


def test_a_store_that_is_asked_after_it_was_closed_keeps_no_connection(store: Store) -> None:
    store.ping()
    assert idle(store.engine.pool) == 1
    store.close()
    store.ping()
    assert idle(store.engine.pool) == 0
