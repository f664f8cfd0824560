import pytest
from bench import comparison, report
from bench.floors import KAFKA, WITHOUT_KAFKA
from bench.plain import STEPS

PLAIN = {"plain_us": 20.0, **{f"{step}_us": 4.0 for step in STEPS}}
FLOORS = {**dict.fromkeys(WITHOUT_KAFKA, 2.0), **dict.fromkeys(KAFKA, 1.0)}


def peer(us: float) -> dict[str, float]:
    return {"us": us, "events_per_s": 1e6 / us, "broker_us": 1.0, "others_cores": 0.0, "rss_mib": 100.0}


def rounds(*peers: str) -> report.Spreads:
    times = {"at_least_once": 1.5, "faust": 12.0, "quix": 5.0, "kstreams": 2.0}
    return report.spreads(
        [
            {
                "plain": PLAIN,
                "floors": FLOORS,
                "exactly_once": peer(us),
                **{name: peer(us * times[name]) for name in peers},
            }
            for us in (24.0, 22.0, 40.0)
        ]
    )


def test_the_headline_holds_medians_and_what_they_are_to_each_other() -> None:
    found = comparison.headline(rounds("at_least_once", "faust", "quix", "kstreams"))
    assert (found["plain_us"], found["worker_us"], found["faust_us"]) == (20.0, 24.0, 288.0)
    assert (found["worker_over_plain"], found["worker_at_least_once_over_plain"]) == (1.2, 1.8)
    assert [found[f"{name}_over_worker"] for name in ("faust", "quix", "kstreams")] == [12.0, 5.0, 2.0]


def test_the_plain_loop_is_held_against_floors_without_kafka_and_the_worker_against_all() -> None:
    found = comparison.headline(rounds())
    assert (found["floors_us"], found["floors_with_kafka_us"]) == (18.0, 20.0)
    assert found["plain_over_floors"] == pytest.approx(20 / 18, abs=1e-3)
    assert found["plain_over_floors_with_kafka"] == pytest.approx(20 / 20, abs=1e-3)
    assert found["worker_over_floors"] == pytest.approx(24 / 20, abs=1e-3)


def test_a_peer_that_did_not_run_has_no_figure() -> None:
    assert not {"faust_over_worker", "quix_us", "worker_at_least_once_us"} & comparison.headline(rounds()).keys()


def test_every_peer_and_every_floor_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    comparison.show(rounds("at_least_once", "faust", "quix", "kstreams"))
    shown = capsys.readouterr().out
    assert all(words.split(",")[0] in shown for words in comparison.PEERS.values())
    assert comparison.FLOORS.keys() == {*WITHOUT_KAFKA, *KAFKA}
