"""Every fault of a catalogue is reported with its file, line and column, all of them in one run."""

from pathlib import Path

import pytest

from rater.catalog.files import read_catalog
from rater.errors import CatalogError

from .support import CONFIG, FILES, problems, write

# file, what stands there, what is put instead (@@ marks where the problem must be found), part of the message
TOML_FAULTS = [
    ("plans.toml", 'currency = "EUR"', '@@curency = "EUR"', "unknown key 'curency'"),
    ("plans.toml", 'currency = "EUR"', 'currency = @@"EURO"', "unknown currency"),
    ("plans.toml", 'currency = "EUR"', "currency = @@978", "978 is no text"),
    ("plans.toml", 'zone = "Europe/Paris"', 'zone = @@"Europe/Lutetia"', "unknown time zone"),
    ("plans.toml", "decimals = 2", "decimals = @@7", "7 cannot stand here"),
    ("plans.toml", "decimals = 2", "decimals = @@2.0", "2.0 cannot stand here"),
    ("plans.toml", "decimals = 2", "decimals = @@true", "true cannot stand here"),
    ("plans.toml", "decimals = 2", 'rounding = @@"sideways"', "cannot stand here"),
    ("plans.toml", "decimals = 2", "max_call_s = @@100000", "100000 cannot stand here"),
    ("plans.toml", "decimals = 2", 'locale = @@"xx_YY"', "unknown locale"),
    ("plans.toml", 'deck = "decks/retail.csv"', 'deck = @@"../retail.csv"', "cannot stand here"),
    ("plans.toml", 'deck = "decks/retail.csv"', 'deck = @@"/etc/passwd"', "cannot stand here"),
    ("plans.toml", '["premium"]', '[@@"premum"]', '"premum" cannot stand here'),
    ("plans.toml", '["premium"]', '["premium", @@"premium"]', "stands here twice"),
    ("plans.toml", '["premium"]', '@@"premium"', "is no list"),
    ("plans.toml", '["premium"]', '[\n  "premium",\n  @@"emergency",\n]', '"emergency" cannot stand here'),
    ("plans.toml", '["5.00"]', "[@@5.00]", "floating-point"),
    ("plans.toml", '["5.00"]', '["1.00", @@"5,00"]', "is not an amount"),
    ("plans.toml", '["5.00"]', '[@@"-5.00"]', "negative"),
    ("plans.toml", '["5.00"]', '[@@"0.0000001"]', "more than six decimals"),
    ("plans.toml", "allowance_percent = [80]", "allowance_percent = [80, @@101]", "101 cannot stand here"),
    ("plans.toml", "allowance_percent = [80]", "@@alowance_percent = [80]", "unknown key"),
    ("plans.toml", 'when_exhausted = "credit"', 'when_exhausted = @@"beg"', "cannot stand here"),
    ("plans.toml", 'name = "peak"', 'name = @@"Peak"', "cannot stand here"),
    ("plans.toml", 'days = "mon-fri"', 'days = @@"mon-fry"', "no weekdays"),
    ("plans.toml", 'from = "08:00"', 'from = @@"8"', "cannot stand here"),
    ("plans.toml", 'from = "08:00"', 'from = @@"24:00"', "begins nothing"),
    ("plans.toml", 'calendars = ["fr"]', 'calendars = [@@"de"]', '"de" cannot stand here'),
    ("plans.toml", ', holidays = "except", calendars = ["fr"]', ', @@calendars = ["fr"]', None),
    ("plans.toml", 'country = "FR"', 'country = @@"XX"', "XX"),
    ("plans.toml", 'country = "FR"', 'dates = [@@"2026-02-30"]', "no day"),
    ("plans.toml", 'country = "FR"', 'dates = [@@"Christmas"]', "cannot stand here"),
    ("plans.toml", 'id = "minutes"', 'id = @@"a b"', "cannot stand here"),
    ("plans.toml", '["fixed", "mobile"]', "@@[]", "empty"),
    ("plans.toml", '["fixed", "mobile"]', '["fixed", @@"mobil"]', '"mobil" cannot stand here'),
    ("plans.toml", '["fixed", "mobile"]', '["fixed"]\nalso = [@@"fixed"]', "own classes"),
    ("plans.toml", "minutes = 60", "minutes = @@-1", "-1 cannot stand here"),
    ("plans.toml", "free = 3", "fre = 3", "unknown key 'fre'"),
    ("plans.toml", "first = 30", "first = @@0", "0 cannot stand here"),
    ("plans.toml", "day = 15", "day = @@32", "32 cannot stand here"),
    ("plans.toml", 'cycle = "monthly"\nday = 15', 'cycle = "weekly"\nday = @@"monday"', "unknown weekday"),
    ("plans.toml", 'cycle = "monthly"\nday = 15', 'cycle = "daily"\n@@day = 0', "has no day"),
    ("plans.toml", 'dial_plan = "own"', 'dial_plan = @@"owm"', "unknown dial plan"),
    ("plans.toml", 'preset = "brazil"', 'preset = @@"brasil"', "unknown preset"),
    ("plans.toml", 'area = "11"', 'area = @@"10"', '"10" cannot stand here'),
    ("plans.toml", 'area = "11"', 'area = "11"\nscm = @@"free"', "unknown treatment"),
    ("plans.toml", 'area = "11"', 'area = "11"\nnational_numbers = [@@"400"]', "cannot stand here"),
    ("plans.toml", 'area = "11"', 'area = "11"\nemergency = [@@"1-9-0"]', "cannot stand here"),
    ("plans.toml", 'match = "0X."', 'match = @@"0Y."', "no dialplan pattern"),
    ("plans.toml", "strip = 1", 'action = "service"\nclass = @@"helpdesk"', "unknown class"),
    ("plans.toml", "strip = 1", 'strip = 1\nclass = @@"premium"', "only a service number"),
    ("plans.toml", "strip = 1", "strip = @@'1'", '"1" cannot stand here'),
    ("plans.toml", '["campus"]', '[@@"Campus"]', "cannot stand here"),
    ("plans.toml", "[plan.sp]", '[plan.@@"s p"]', None),
    ("plans.toml", "[plan.basic]", "[@@plan.basic", None),
    ("plans.toml", '[calendar.fr]\ncountry = "FR"', "@@calendar = 1", None),
    ("accounts.toml", 'plan = "sp"', 'plan = @@"spp"', "unknown plan"),
    ("accounts.toml", 'modality = "prepaid"\nopening', 'modality = @@"paid"\nopening', "cannot stand here"),
    ("accounts.toml", 'opening = "12.50"', "opening = @@12.50", "floating-point"),
    ("accounts.toml", 'opening = "12.50"', "opening = @@12", "is no amount"),
    ("accounts.toml", 'opening = "12.50"', 'opening = @@"9999999999999"', "out of range"),
    ("accounts.toml", 'opening = "12.50"', 'credit_limit = @@"1.00"', "may not go under zero"),
    ("accounts.toml", "both = 2", "both = @@-2", "-2 cannot stand here"),
    ("accounts.toml", "both = 2", "@@bath = 2", "unknown key"),
    ("accounts.toml", "limits = { both = 2, out = 1 }", "limits = @@3", "is no table"),
    ("accounts.toml", '"sp"\nmodality = "prepaid"', '"sp"\nmodality = @@"allowance"', "no allowances"),
    ("accounts.toml", "both = 2", "calls_per_second = @@0", "0 cannot stand here"),
    ("accounts.toml", "both = 2", "classes = { @@premum = 1 }", "unknown class 'premum'"),
    ("accounts.toml", "both = 2", "classes = { premium = @@-1 }", "-1 cannot stand here"),
    ("accounts.toml", "both = 2", 'enforce = @@"maybe"', "cannot stand here"),
    ("accounts.toml", 'opening = "12.50"', "max_call_s = @@0", "0 cannot stand here"),
    ("accounts.toml", 'opening = "12.50"', 'blocked_classes = [@@"emergency"]', "cannot stand here"),
    ("accounts.toml", 'opening = "12.50"', 'blocked_prefixes = ["44", @@"+44"]', "cannot stand here"),
    ("accounts.toml", 'opening = "12.50"', "spend = { hour = @@20 }", "is no amount"),
    ("accounts.toml", 'opening = "12.50"', 'spend = { @@week = "20" }', "unknown key 'week'"),
    ("accounts.toml", 'opening = "12.50"', 'reseller = @@"nobody"', "unknown reseller"),
    ("accounts.toml", 'opening = "12.50"', 'enforce = @@"off"', "cannot stand here"),
    ("accounts.toml", "[account.ann]", "[reseller.r]\nlimits = { @@classes = 1 }\n[account.ann]", "unknown key"),
    ("plans.toml", "decimals = 2", "class_limits = { @@premum = 1 }", "unknown class"),
    ("plans.toml", "decimals = 2", "class_limits = { premium = @@'1' }", "cannot stand here"),
    ("plans.toml", "decimals = 2", "margin = { floor_percent = @@101 }", "101 cannot stand here"),
    ("plans.toml", "decimals = 2", "margin = @@10", "is no table"),
    ("trunks.toml", "max_calls = 30", 'enforce = @@"shade"', "cannot stand here"),
    ("switches.toml", '"WHO"', '@@"A B"', "cannot stand here"),
    ("switches.toml", '["endpoint", "accountcode"]', '["endpoint", @@"callerid"]', "cannot stand here"),
    ("switches.toml", '["endpoint", "accountcode"]', "@@[]", "empty"),
    ("trunks.toml", '"pbx1"', '@@"pbx2"', "unknown switch"),
    ("trunks.toml", '"PJSIP/trunk-*"', '@@"trunk"', "cannot stand here"),
    ("trunks.toml", "max_calls = 30", "max_calls = @@'many'", "cannot stand here"),
]  # fmt: skip

# file, what stands there, what is put instead, line, cell, part of the message
CSV_FAULTS = [
    ("lines.csv", "1001,ann,1001", "1001,anne,1001", 2, 2, "unknown account 'anne'"),
    ("lines.csv", "1001,ann,1001", ",ann,1001", 2, 1, "the cell is empty"),
    ("lines.csv", "1002,bob,1002", "1001,bob,1002", 3, 1, "also in line 2"),
    ("lines.csv", "1002,bob,1002", "1002,bob,1001", 3, 3, "also in line 2"),
    ("lines.csv", "1002,bob,1002,,", "1002,bob,1002,A1,", 3, 4, "also in line 2"),
    ("lines.csv", "1002,bob,1002", "1002,bob,PJSIP/1002", 3, 3, "cannot stand here"),
    ("lines.csv", "1002,bob,1002,,,,", "1002,bob,1002,,,,,", 3, 8, "8 cells"),
    ("lines.csv", "1002,bob,1002,,,,", "1002,bob", 3, 3, "2 cells"),
    ("lines.csv", "yes,2", "true,2", 2, 6, "cannot stand here"),
    ("lines.csv", "yes,2", "yes,-2", 2, 7, "is no limit"),
    ("lines.csv", ",21,", ",20,", 5, 5, "unknown area '20'"),
    ("lines.csv", "1002,bob", '1002,"bob', 3, 2, "quotation mark"),
    ("lines.csv", "line,account", "line,acount", 1, 2, "unknown column 'acount'"),
    ("lines.csv", "limit\n", "line\n", 1, 7, "stands here twice"),
    (
        "lines.csv",
        "active,limit\n1001,ann,1001,A1,,yes,2",
        "active,calls_per_second\n1001,ann,1001,A1,,yes,0",
        2,
        7,
        "'0'",
    ),
    ("lines.csv", "area,active", "blocked_classes,active", 5, 5, "'21' cannot stand here"),
    (
        "lines.csv",
        "area,active,limit\n1001,ann,1001,A1,,",
        "blocked_prefixes,active,limit\n1001,ann,1001,A1,44 +33,",
        2,
        5,
        "'+33'",
    ),
    (
        "lines.csv",
        "area,active,limit\n1001,ann,1001,A1,,",
        "max_call_s,active,limit\n1001,ann,1001,A1,90000,",
        2,
        5,
        "'90000'",
    ),
    ("decks/retail.csv", "0.02", "0.02x", 2, 4, "0.02x"),
    ("decks/retail.csv", "fixed,", "fixd,", 2, 3, "unknown class"),
    ("decks/class.csv", "#2;VC1;mobile_local", "#2;VC1;fixed_local", 3, 1, "both stand for fixed_local"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), TOML_FAULTS)
def test_toml_fault_is_found_in_place(tmp_path: Path, file: str, old: str, new: str, message: str | None) -> None:
    text = FILES[file]
    assert text.count(old) >= 1, "the table names what does not stand in the file"
    marked = text.replace(old, new, 1)
    before = marked.partition("@@")[0] if "@@" in new else None
    found = problems(tmp_path, FILES | {file: marked.replace("@@", "")})
    assert found
    assert any(problem.file == file for problem in found), found
    if message is not None:
        assert {problem.file for problem in found} == {file}, "one fault is not reported elsewhere again"
        assert any(message in problem.message for problem in found), found
    if before is not None and message is not None:
        place = (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        assert place in {(problem.line, problem.column) for problem in found}, found


@pytest.mark.parametrize(("file", "old", "new", "line", "cell", "message"), CSV_FAULTS)
def test_csv_fault_is_found_at_its_cell(
    tmp_path: Path, file: str, old: str, new: str, line: int, cell: int, message: str
) -> None:
    assert FILES[file].count(old) >= 1
    found = problems(tmp_path, FILES | {file: FILES[file].replace(old, new, 1)})
    assert [(p.file, p.line, p.column) for p in found] == [(file, line, cell)]
    assert message in found[0].message


@pytest.mark.parametrize("missing", ["currency", "zone", "deck", "id", "classes", "minutes", "preset", "match"])
def test_missing_key_is_found_at_its_table(tmp_path: Path, missing: str) -> None:
    lines = FILES["plans.toml"].splitlines()
    at = next(i for i, line in enumerate(lines) if i and line.startswith(f"{missing} ="))
    header = next(i for i in range(at, -1, -1) if lines[i].startswith("["))
    del lines[at]
    found = problems(tmp_path, FILES | {"plans.toml": "\n".join(lines)})
    if missing == "preset":  # it has a default, under which the area makes no sense
        assert any("cannot stand here" in p.message for p in found)
    else:
        assert (header + 1, 1) in {(p.line, p.column) for p in found}, found


def test_all_faults_are_found_in_one_run(tmp_path: Path) -> None:
    files = FILES | {
        "plans.toml": FILES["plans.toml"].replace("decimals = 2", "decimals = 9").replace("FR", "XX"),
        "accounts.toml": FILES["accounts.toml"].replace('"12.50"', "12.5"),
        "lines.csv": FILES["lines.csv"].replace("bob", "rob"),
        "decks/retail.csv": FILES["decks/retail.csv"].replace("0.10", "x"),
    }
    found = problems(tmp_path, files)
    assert {(problem.file, problem.line) for problem in found} == {
        ("accounts.toml", 4),
        ("decks/retail.csv", 3),
        ("lines.csv", 3),
        ("plans.toml", 4),
        ("plans.toml", 19),
    }


def test_good_catalogues_have_no_faults(tmp_path: Path) -> None:
    assert problems(tmp_path, FILES) == ()
    for name in ("catalog", "catalog-brazil"):
        assert read_catalog(CONFIG / name).plans


@pytest.mark.parametrize("stranger", ["account.toml", "plans.tml", "lines.xls", "notes.txt"])
def test_file_with_a_misspelt_name_is_a_fault(tmp_path: Path, stranger: str) -> None:
    found = problems(tmp_path, FILES | {stranger: ""})
    assert [(p.file, p.line) for p in found] == [(stranger, 0)]


def test_notes_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    assert problems(tmp_path, FILES | {"README.md": "notes", ".gitignore": "", "plans.toml~": "old"}) == ()


def test_only_plans_are_required(tmp_path: Path) -> None:
    only = {name: text for name, text in FILES.items() if name == "plans.toml" or name.startswith("decks")}
    assert problems(tmp_path, only) == ()
    assert [p.message for p in problems(tmp_path / "empty", {"accounts.toml": ""})] == ["the file is missing"]


def test_a_decks_name_that_is_too_long_for_the_system_is_a_missing_deck(tmp_path: Path) -> None:
    """Found by fuzzing: it was no refusal with a place, but a fault of the loader."""
    plans = FILES["plans.toml"].replace("decks/class.csv", f"decks/{'x' * 300}.csv")
    assert "is missing" in problems(tmp_path, FILES | {"plans.toml": plans})[0].message


def test_missing_deck_and_missing_folder(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name != "decks/class.csv"}
    assert [(p.file, p.line) for p in problems(tmp_path, files)] == [("decks/class.csv", 0)]
    with pytest.raises(CatalogError, match="no such folder"):
        read_catalog(tmp_path / "nowhere")


def test_plans_without_any_plan(tmp_path: Path) -> None:
    assert [p.message for p in problems(tmp_path, {"plans.toml": ""})] == ["there is no plan"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'[plan.x]\nname = "caf\xe9"\n', (2, 12)),
        (b"\xff", (1, 1)),
        (b"[plan.x]\nname = \n", (2, 8)),
        (b"[plan.x]\nname = 'a'\nname = 'b'\n", (3, 11)),
        (b"a = [1,\n", (2, 1)),
        (b"[plan.x\n", (1, 8)),
    ],
)
def test_text_that_is_no_toml_is_found_in_place(tmp_path: Path, content: bytes, place: tuple[int, int]) -> None:
    found = problems(tmp_path, {"plans.toml": content})
    assert [(p.file, p.line, p.column) for p in found] == [("plans.toml", *place)]


def test_byte_order_marks_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    files = {name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for name, text in FILES.items()}
    assert problems(tmp_path, files) == ()
    files["accounts.toml"] = files["accounts.toml"].replace(b'"12.50"', b"12.50")
    assert [(p.line, p.column) for p in problems(tmp_path, files)] == [(4, 11)]


def test_line_without_area_in_brazil_is_a_fault(tmp_path: Path) -> None:
    files = FILES | {
        "plans.toml": FILES["plans.toml"].replace('area = "11"\n', ""),
        "lines.csv": FILES["lines.csv"].replace(",21,", ",,"),
    }
    found = problems(tmp_path, files)
    assert [(p.file, p.line, p.column) for p in found] == [("lines.csv", 5, 5)]


def test_deck_that_does_not_fit_the_bands_is_a_fault(tmp_path: Path) -> None:
    deck = "prefix,destination,class,price,band\n33,France,fixed,0.02,peak\n"
    found = problems(tmp_path, FILES | {"decks/retail.csv": deck})
    assert [(p.file, p.line) for p in found] == [("decks/retail.csv", 2)]


def test_class_row_for_two_classes_is_a_fault(tmp_path: Path) -> None:
    header = "prefix,destination,class,price,valid_from,valid_until\n"
    deck = header + "#1,A,fixed,1,,2026-01-01\n#1,B,mobile,1,2026-01-01,\n"
    found = problems(tmp_path, FILES | {"decks/retail.csv": deck})
    assert [(p.file, p.line, p.column) for p in found] == [("decks/retail.csv", 2, 1)]
    assert "stands for fixed and mobile" in found[0].message


def test_two_trunks_with_one_pattern_are_a_fault(tmp_path: Path) -> None:
    twice = FILES["trunks.toml"] + '\n[trunk.other]\npattern = "PJSIP/trunk-*"\n'
    found = problems(tmp_path, FILES | {"trunks.toml": twice})
    assert [(p.file, p.line, p.column) for p in found] == [("trunks.toml", 7, 11)]
    apart = twice.replace("other]", 'other]\nswitch = "pbx2"')
    both = FILES["switches.toml"] + "[switch.pbx2]\n"
    assert problems(tmp_path, FILES | {"trunks.toml": apart, "switches.toml": both}) == ()


def test_writing_nothing_when_there_are_faults(tmp_path: Path) -> None:
    folder = write(tmp_path, FILES | {"accounts.toml": "["})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CatalogError):
        read_catalog(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
