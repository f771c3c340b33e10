"""stillgate.toml: what is accepted, and what is said when it is not."""

from pathlib import Path

import pytest

from ledger.configuration import ConfigurationError, load

MINIMAL = """
[deployment]
name = "desk"

[[task]]
name = "desk"
classes = ["a", "b"]
dialect = "huggingface"
paths = ["/predict"]
teacher = { url = "http://127.0.0.1:9000", version = "1" }
capture = { inputs = "text" }
governance = { owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "p" }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "stillgate.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(write(folder, text))
    return raised.value.problems


def test_a_minimal_file_gets_every_default(tmp_path: Path) -> None:
    """What a file leaves out has a default, and the data directory lies beside the file."""
    configuration = load(write(tmp_path, MINIMAL))

    assert configuration.gateway.max_body_bytes == 10 * 2**20
    assert configuration.task[0].trigger.false_alarms == 1.0
    assert configuration.deployment.data_directory == tmp_path / ".stillgate"


def test_a_subject_is_no_slice(tmp_path: Path) -> None:
    """Its values would be stored and measured as they come. In another header it may stand."""
    slices = '[[task.slice]]\nname = "area"\nheader = "X-User"\n'
    text = MINIMAL.replace('"text"', '"text", subject_header = "x-USER"') + slices
    (said,) = problems(tmp_path, text)
    assert "capture.subject_header = 'x-USER' is the header of a slice rule too" in said
    assert load(write(tmp_path, text.replace("X-User", "x-area"))).task[0].capture.subject_header == "x-USER"
    assert "subject_header" in problems(tmp_path, text.replace("x-USER", "x user"))[0]


@pytest.mark.parametrize(
    ("dialect", "section", "said"),
    [
        ("openai-chat", "", 'dialect = "openai-chat" needs a [task.openai] section'),
        ("json", "", 'dialect = "json" needs a [task.json] section'),
        ("huggingface", '[task.json]\ntext = ""\nlabel = "/l"', 'belongs to dialect = "json"'),
        (
            "json",
            '[task.json]\ntext = "inputs"\nlabel = "/l"',
            "task[0].json.text: 'inputs' is not a JSON Pointer",
        ),
        ("json", '[task.json]\ntext = "/~2"\nlabel = "/l"', "is not a JSON Pointer"),
        ("json", '[task.json]\ntext = ""', "exactly one of probabilities, label"),
        ("json", '[task.json]\ntext = ""\nprobabilities = "/p"\nlabel = "/l"', "exactly one of"),
        ("json", '[task.json]\ntext = ""\nprobabilities = "/p"\nconfidence = "/c"', "beside a label"),
        ("openai-chat", "[task.openai]\nmodels = []", "task[0].openai.models = []"),
        ("openai-chat", '[task.openai]\nmodels = ["m"]\nlabels = { x = "c" }', "labels name ['c']"),
        (
            "openai-chat",
            '[task.openai]\nmodels = ["m"]\nlabels = { x = "a" }',
            "no text for the classes ['b']",
        ),
        (
            "openai-chat",
            '[task.openai]\nmodels = ["m"]\nlabels = { "Yes." = "a", "yes" = "b" }',
            "the labels of 'b' and 'a' are both read as 'yes'",
        ),
        (
            "openai-chat",
            '[task.openai]\nmodels = ["m"]\nlabels = { "!" = "a", y = "b" }',
            "no letter or digit",
        ),
    ],
)
def test_dialects_say_what_they_need(tmp_path: Path, dialect: str, section: str, said: str) -> None:
    """A dialect without its section, a section without its dialect, pointers and labels that cannot work."""
    text = MINIMAL.replace("huggingface", dialect) + section
    assert any(said in problem for problem in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "desk"\n\n', 'name = "desk"\ncolour = 1\n\n', "deployment.colour: this key is unknown"),
        ('"http://127.0.0.1:9000"', '"http://a/b"', "task[0].teacher.url: 'http://a/b' is not http://host"),
        ('"http://127.0.0.1:9000"', '"http://u:p@a"', "is not http://host:port"),
        ('["a", "b"]', '["a"]', "task[0].classes = ['a']: tuple should have at least 2 items"),
        ('["a", "b"]', '["a", "a"]', "classes must differ from one another; ['a'] stand there twice"),
        ('"huggingface"', '"grpc"', "task[0].dialect = 'grpc': input should be 'huggingface'"),
        ('["/predict"]', '["predict"]', "'predict' is not a URL path"),
        ('inputs = "text"', "", "task[0].capture.inputs: this key is missing and has no default"),
        ('operator = "p"', 'operator = ""', "task[0].governance.operator = ''"),
        ('version = "1"', "version = 1", "task[0].teacher.version = 1: input should be a valid string"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The message says where, what stands there and what is wanted."""
    assert old in MINIMAL

    found = problems(tmp_path, MINIMAL.replace(old, new, 1))

    assert len(found) == 1
    assert said in found[0]


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder's folder is found wherever the process was started; another name is a hub's."""
    (tmp_path / "encoder").mkdir()
    candidates = "".join(
        f'[[task.candidate]]\nkind = "static"\nencoder = "{encoder}"\n' for encoder in ("encoder", "org/name")
    )
    path = write(tmp_path, MINIMAL + candidates)
    monkeypatch.chdir("/")

    configuration = load(path)

    assert [one.encoder for one in configuration.task[0].candidate] == [str(tmp_path / "encoder"), "org/name"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Nobody has to correct a file one error at a time."""
    text = MINIMAL.replace('"huggingface"', '"grpc"').replace('"1"', '""') + "[gateway]\nlisten = 'x'\n"

    assert len(problems(tmp_path, text)) == 3


def test_a_combination_names_two_other_rules(tmp_path: Path) -> None:
    """Declared before or after it, but no combinations; what is open or needs texts goes for both."""
    parts = (
        '[[task.slice]]\nname = "area"\nheader = "X-A"\n[[task.slice]]\nname = "refund"\npattern = "refund"\n'
    )
    both = '[[task.slice]]\nname = "both"\nof = ["area", "refund"]\n'
    rule = load(write(tmp_path, MINIMAL + both + parts)).task[0].rules[0]
    assert rule.definition == '{"of":[{"header":"x-a"},{"pattern":"refund"}]}'
    assert (rule.is_open, rule.reads_text, rule.decides_who_serves) == (True, True, True)

    for text in (
        both.replace("refund", "area"),
        both.replace("refund", "both"),
        both.replace("refund", "no"),
    ):
        assert "must name two different slices" in problems(tmp_path, MINIMAL + text + parts)[0]


@pytest.mark.parametrize("key", ["characters = [9]", 'pattern = "a"', 'language = ["de"]'])
def test_rules_over_texts_need_stored_texts(tmp_path: Path, key: str) -> None:
    """Otherwise there would be nothing to measure them on."""
    text = MINIMAL.replace('"text"', '"nothing"') + f'[[task.slice]]\nname = "size"\n{key}\n'
    assert "reads texts, and capture.inputs" in problems(tmp_path, text)[0]


def test_recorded_headers_and_places(tmp_path: Path) -> None:
    """What rules read of a request is all that is stored of it beside its texts, each once."""
    rules = ('header = "X-A"', 'header = "x-a"', 'pointer = "/a"', 'pointer = "/b"', 'pointer = "/a"')
    text = "".join(f'[[task.slice]]\nname = "r{n}"\n{rule}\n' for n, rule in enumerate(rules))
    task = load(write(tmp_path, MINIMAL + text)).task[0]
    assert (task.recorded_headers, task.recorded_places) == (("x-a",), ("/a", "/b"))


@pytest.mark.parametrize(
    ("slice_text", "said"),
    [
        (
            'name = "area"',
            "needs exactly one of header, pointer, words, characters, language, hours, pattern",
        ),
        ('name = "tier"\npointer = "customer"', "is not a JSON Pointer"),
        ('name = "shift"\nhours = [6, 18]', "hours and time_zone belong together"),
        ('name = "shift"\nhours = [6, 18]\ntime_zone = "Mars/Base"', "is no time zone"),
        ('name = "shift"\nhours = [6]\ntime_zone = "UTC"', "two or more ascending hours"),
        ('name = "words"\npattern = "(a"', "is no regular expression of RE2: missing )"),
        ('name = "words"\npattern = "(?=a)"', "no look-around"),
        ('name = "language"\nlanguage = ["de", "klingon"]', "['klingon']: no ISO 639 code"),
        ('name = "size"\ncharacters = [9, 3]', "ascending edges above 0"),
        ('name = "both"\nof = ["area", "size"]', "must name two different slices of this task"),
        ('name = "area"\nheader = "x-a"\nwords = [3]', "needs exactly one of"),
        ('name = "long"\nwords = [5, 3]', "must be ascending edges above 0"),
        ('name = "all"\nheader = "x-a"', "is taken by the slice of everything"),
        ('name = "area"\nheader = "x-a"\ncritical = true', "is critical and has no bar"),
        ('name = "area"\nheader = "x-a"\nbar = 1.0', "input should be less than 1"),
        ('name = "area"\nheader = "x-a"\nbar = 0.9\nalarm_below = 0.8', "unacceptable before it alarms"),
    ],
)
def test_a_slice_is_one_rule_with_a_reachable_bar(tmp_path: Path, slice_text: str, said: str) -> None:
    """Slices that could not work are refused when the file is read."""
    found = problems(tmp_path, MINIMAL + f"[[task.slice]]\n{slice_text}\n")

    assert len(found) == 1
    assert said in found[0]


def test_two_processes_cannot_share_an_address(tmp_path: Path) -> None:
    """Equal listen addresses are found before a process fails to start."""
    found = problems(tmp_path, MINIMAL + '[control]\nlisten = "127.0.0.1:8080"\n')

    assert "listen addresses must differ" in found[0]


@pytest.mark.parametrize("content", [b"a = [", b"\xff\xfe", b""])
def test_what_is_no_toml_or_empty_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A broken file never becomes a traceback."""
    path = tmp_path / "stillgate.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError):
        load(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The way out is in the message."""
    with pytest.raises(ConfigurationError, match="stillgate init"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('tls_certificate = "a.pem"', "tls_certificate and tls_key belong together"),
        ('tls_key = "a.key"', "tls_certificate and tls_key belong together"),
        ('trusted_proxies = ["10.0.0.1/8"]', "gateway.trusted_proxies[0]"),
        ('trusted_proxies = ["proxy.example"]', "gateway.trusted_proxies[0]"),
        ("max_connections = 0", "gateway.max_connections = 0"),
        ("max_request_line_bytes = 63", "gateway.max_request_line_bytes = 63"),
        ("max_head_bytes = 255", "gateway.max_head_bytes = 255"),
        ("max_head_fields = 7", "gateway.max_head_fields = 7"),
        ("max_chunk_extension_bytes = -1", "gateway.max_chunk_extension_bytes = -1"),
        ("head_seconds = 0.1", "gateway.head_seconds = 0.1"),
        ("min_body_bytes_per_second = 0", "gateway.min_body_bytes_per_second = 0"),
    ],
)
def test_limits_of_callers_have_limits(tmp_path: Path, setting: str, said: str) -> None:
    """A limit that no request could keep, half a certificate, and proxies that are no networks are problems."""
    assert any(said in problem for problem in problems(tmp_path, MINIMAL + f"[gateway]\n{setting}\n"))
