"""What is loaded and unloaded, decided from the stages."""

from hypothesis import given
from hypothesis import strategies as st

from student.loading import Problem, Wanted, next_steps

NOW = 50.0
names = st.sampled_from(["a", "b", "c"])
digests = st.sampled_from(["1", "2"])
wanted_artifacts = st.dictionaries(names, digests).map(
    lambda chosen: [Wanted(name, digest) for name, digest in chosen.items()]
)
problem_times = st.dictionaries(names, st.tuples(digests, st.sampled_from([NOW - 1, NOW + 1])))


@given(wanted_artifacts, st.dictionaries(names, digests), problem_times)
def test_the_steps_lead_to_the_wanted_students(
    wanted: list[Wanted], loaded: dict[str, str], times: dict[str, tuple[str, float]]
) -> None:
    """After unloading and loading, exactly the wanted ones answer, less those that wait for a retry."""
    problems = {name: Problem(Wanted(name, digest), "bad", at) for name, (digest, at) in times.items()}
    steps = next_steps(wanted, loaded, problems, NOW)
    after = {name: digest for name, digest in loaded.items() if name not in steps.unload}
    after |= {entry.artifact: entry.manifest_digest for entry in steps.load}
    waiting = {
        entry.artifact
        for entry in wanted
        if entry.artifact in problems
        and problems[entry.artifact].wanted == entry
        and problems[entry.artifact].retry_at > NOW
    }
    expected = {entry.artifact: entry.manifest_digest for entry in wanted}
    kept = {name for name in waiting if loaded.get(name) == expected[name]}
    assert after == {name: d for name, d in expected.items() if name not in waiting - kept}


def test_what_is_loaded_as_wanted_stays() -> None:
    """A poll without changes does nothing."""
    assert next_steps([Wanted("a", "1")], {"a": "1"}, {}, NOW) == next_steps([], {}, {}, NOW)


def test_a_problem_is_forgotten_with_its_stage() -> None:
    """An artifact that shall no longer answer is not reported for ever."""
    problems = {"a": Problem(Wanted("a", "1"), "bad", NOW + 1)}
    assert next_steps([], {}, problems, NOW).forget == ("a",)
