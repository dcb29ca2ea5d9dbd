"""Progress and the time that is left, from measured seconds."""

from local_backend.pace import STAGES, USUAL, Course, Pace, Work

MEASURED = {"load": 0.0, "encode": 1.0, "denoise": 10.0, "decode": 4.0, "mux": 5.0}


def test_the_same_work_takes_as_long_as_before() -> None:
    pace, work = Pace(), Work("a", 1000, 10)
    assert pace.expected(work, loaded=True) is None
    pace.note(work, MEASURED)
    assert pace.expected(work, loaded=True) == MEASURED
    assert pace.expected(Work("b", 1000, 10), loaded=True) is None


def test_other_work_of_the_same_model_is_scaled() -> None:
    pace = Pace()
    pace.note(Work("a", 1000, 10), MEASURED)
    assert pace.expected(Work("a", 2000, 30), loaded=True) == {
        "load": 0.0,
        "encode": 1.0,
        "denoise": 60.0,
        "decode": 8.0,
        "mux": 10.0,
    }


def test_loading_counts_only_for_a_model_that_is_not_loaded() -> None:
    pace, work = Pace(), Work("a", 1000, 10)
    pace.note(work, {**MEASURED, "load": 30.0})
    pace.note(work, MEASURED)
    assert (pace.expected(work, loaded=False) or {})["load"] == 30.0
    assert (pace.expected(work, loaded=True) or {})["load"] == 0.0


def test_progress_is_the_share_of_the_time() -> None:
    course = Course(MEASURED)
    course.at("denoise", 0.5)
    assert (course.progress, course.seconds_left) == (30, 14.0)
    course.at("mux", 1.0)
    assert (course.progress, course.seconds_left) == (99, 0.0)


def test_without_measurements_progress_grows_through_the_stages_and_no_time_is_named() -> None:
    course, seen = Course(None), []
    for stage in STAGES:
        course.at(stage)
        seen.append(course.progress)
    assert seen == sorted(seen)
    assert seen[2] == int(USUAL["load"] + USUAL["encode"])
    assert course.seconds_left is None
