# SPDX-License-Identifier: Apache-2.0
"""Claims: one worker at most has a cell, and a finished cell is never run again."""

import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from e2train.campaign import store as store_module
from e2train.campaign.lease import Heartbeat, Stopped
from e2train.campaign.plan import load_campaign
from e2train.campaign.schema import RESULT_COLUMNS
from e2train.campaign.store import FAILED, INTERRUPTED, WAITING, CellProgress, Claim, Store
from e2train.errors import UserError
from e2train.files import locked

TEXT = """
on = [["resnet-8", "digits"]]
[[methods]]
name = "p"
[[methods]]
name = "f"
after = "p"
"""
CELL, LATER = "p.resnet-8.digits.seed0", "f.resnet-8.digits.seed0"


def plan(folder: Path, text: str = TEXT):
    file = folder / "c.toml"
    file.write_text(text)
    return load_campaign(file)


def new_store(folder: Path, text: str = TEXT) -> Store:
    store = Store.create(folder)
    store.enter(plan(folder, text), "simulated")
    return store


def claim_of(
    cell: str = CELL, token: str = "a", host: str = "here", lease_s: float = 10.0
) -> Claim:
    return Claim(cell, token, f"{host}:1", host, lease_s)


def result_of(cell: str = CELL) -> dict[str, object]:
    row: dict[str, object] = {
        name: 1 if "NOT NULL" in kind else None for name, kind in RESULT_COLUMNS.items()
    }
    return row | {"cell": cell, "dataset_label": "digits", "worker": "w", "bit_operations": "1"}


@pytest.fixture
def clock(monkeypatch):
    """The store's wall clock, to be set by hand."""

    class Clock:
        now = 1000.0

        def time(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(store_module, "time", clock)
    return clock


def test_of_many_threads_one_gets_the_cell(tmp_path):
    store = new_store(tmp_path)
    got: list[str] = []
    start = threading.Barrier(8)

    def compete(number: int) -> None:
        start.wait()
        if store.claim(claim_of(token=str(number), host=f"host{number}")):
            got.append(str(number))

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert store.rows("SELECT token FROM cells WHERE id = ?", (CELL,)) == [{"token": got[0]}]


def test_lease_protects_a_worker_on_another_host_until_it_runs_out(tmp_path, clock):
    store = new_store(tmp_path)
    assert store.claim(claim_of(token="a", host="there"))
    clock.now += 9.9
    assert not store.claim(claim_of(token="b", host="here"))
    assert store.renew(claim_of(token="a", host="there"), CellProgress())
    clock.now += 9.9
    assert not store.claim(claim_of(token="b", host="here"))
    clock.now += 0.2
    assert store.claim(claim_of(token="b", host="here"))
    assert not store.renew(claim_of(token="a", host="there"), CellProgress())
    assert not store.finish(claim_of(token="a", host="there"), result_of(), [])
    assert store.rows("SELECT * FROM results") == []
    assert store.finish(claim_of(token="b", host="here"), result_of(), [])
    outcomes = store.rows("SELECT token, outcome FROM attempts ORDER BY number")
    assert [(row["token"], row["outcome"]) for row in outcomes] == [
        ("a", "lost"), ("b", "finished"),
    ]  # fmt: skip


def test_same_host_takes_over_at_once_as_the_lock_is_free(tmp_path, clock):
    store = new_store(tmp_path)
    assert store.claim(claim_of(token="a"))
    assert store.claim(claim_of(token="b"))
    assert not store.renew(claim_of(token="a"), CellProgress())


def test_lock_keeps_a_second_holder_out_and_falls_with_the_first(tmp_path):
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert first and not second
    with locked(tmp_path / "lock") as again:
        assert again


def test_a_dependent_cell_waits(tmp_path):
    store = new_store(tmp_path)
    assert not store.claim(claim_of(LATER, "x"))
    assert store.claim(claim_of(CELL, "a")) and not store.claim(claim_of(LATER, "x"))
    assert store.finish(claim_of(CELL, "a"), result_of(), [])
    assert store.claim(claim_of(LATER, "x"))


def test_failed_cells_wait_again_after_the_next_run(tmp_path):
    store = new_store(tmp_path)
    assert store.claim(claim_of())
    assert store.release(claim_of(), FAILED, FAILED, "no meter")
    assert not store.claim(claim_of(token="b"))
    store.enter(plan(tmp_path), "simulated")
    assert store.claim(claim_of(token="b"))


def test_finish_is_whole_or_not_at_all(tmp_path):
    store = new_store(tmp_path)
    assert store.claim(claim_of())
    broken = result_of() | {"top1": None}
    with pytest.raises(Exception, match="NOT NULL"):
        store.finish(claim_of(), broken, [])
    assert store.rows("SELECT state FROM cells WHERE id = ?", (CELL,)) == [{"state": "running"}]
    assert store.finish(claim_of(), result_of(), [])


def test_more_seeds_may_be_added_but_nothing_may_change(tmp_path):
    store = new_store(tmp_path)
    store.enter(plan(tmp_path, "seeds = [0, 1]\n" + TEXT), "simulated")
    assert len(store.rows("SELECT * FROM cells")) == 4
    with pytest.raises(UserError, match="no longer lists"):
        store.enter(plan(tmp_path), "simulated")
    with pytest.raises(UserError, match="other settings"):
        changed = "seeds = [0, 1]\nbase = { train = { lr = 0.7 } }\n" + TEXT
        store.enter(plan(tmp_path, changed), "simulated")
    with pytest.raises(UserError, match="--meter simulated, not none"):
        store.enter(plan(tmp_path, "seeds = [0, 1]\n" + TEXT), "none")


def test_folders_that_hold_no_campaign(tmp_path):
    with pytest.raises(UserError, match="holds no campaign"):
        Store(tmp_path)
    (tmp_path / "campaign.sqlite").write_bytes(b"something else, and long enough" * 100)
    with pytest.raises(UserError, match="not a database"):
        Store.create(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot hold a campaign"):
        Store.create(tmp_path / "file" / "x")


def test_heartbeat_keeps_the_lease_and_notices_a_pause(tmp_path):
    store = new_store(tmp_path)
    mine = claim_of(lease_s=1.0)
    assert store.claim(mine)
    with Heartbeat(store, mine) as heart:
        heart.note(iteration=3, loss=0.5)
        heart.wait(1.6)  # longer than the lease
        assert not store.claim(claim_of(token="b", host="there"))
        (row,) = store.rows("SELECT iteration, loss FROM cells WHERE id = ?", (CELL,))
        assert row == {"iteration": 3, "loss": 0.5}
        store.set("paused", 1)
        with pytest.raises(Stopped, match="paused"):
            heart.wait(10)


def test_heartbeat_notices_that_the_cell_is_lost(tmp_path):
    store = new_store(tmp_path)
    mine = claim_of(lease_s=1.0)
    assert store.claim(mine)
    with Heartbeat(store, mine) as heart:
        assert store.claim(claim_of(token="b"))  # same host: at once
        with pytest.raises(Stopped, match="another worker"):
            heart.wait(10)


class Claims(RuleBasedStateMachine):
    """Workers on two hosts claim, renew, finish, release and vanish in any order."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.store = new_store(Path(self.folder.name))
        self.clock = type("Clock", (), {"now": 1000.0, "time": lambda self: self.now})()
        self.real, store_module.time = store_module.time, self.clock
        self.number = 0
        self.holder: Claim | None = None
        self.until = 0.0
        self.done = False

    def teardown(self) -> None:
        store_module.time = self.real
        self.folder.cleanup()

    @rule(target=claims, host=st.sampled_from(["north", "south"]))
    def take(self, host):
        self.number += 1
        mine = claim_of(token=str(self.number), host=host)
        free = self.holder is None or self.until < self.clock.now or self.holder.host == host
        assert self.store.claim(mine) == (free and not self.done)
        if free and not self.done:
            self.holder, self.until = mine, self.clock.now + mine.lease_s
        return mine

    @rule(claim=claims)
    def renew(self, claim):
        held = self.holder is not None and claim.token == self.holder.token
        assert self.store.renew(claim, CellProgress()) == held
        if held:
            self.until = self.clock.now + claim.lease_s

    @rule(claim=consumes(claims))
    def finish(self, claim):
        held = self.holder is not None and claim.token == self.holder.token
        assert self.store.finish(claim, result_of(), []) == held
        if held:
            self.holder, self.done = None, True

    @rule(claim=consumes(claims))
    def release(self, claim):
        held = self.holder is not None and claim.token == self.holder.token
        assert self.store.release(claim, WAITING, INTERRUPTED) == held
        if held:
            self.holder = None

    @rule(seconds=st.sampled_from([1.0, 9.0, 11.0]))
    def pass_time(self, seconds):
        self.clock.now += seconds

    @invariant()
    def books_are_right(self):
        ended = self.store.rows("SELECT outcome FROM attempts WHERE outcome = 'finished'")
        results = self.store.rows("SELECT cell FROM results")
        assert len(ended) == len(results) == int(self.done)
        running = self.store.rows("SELECT token FROM attempts WHERE outcome = 'running'")
        assert running == ([] if self.holder is None else [{"token": self.holder.token}])


Claims.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestClaims = Claims.TestCase
