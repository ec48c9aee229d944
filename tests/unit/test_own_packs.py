"""A team's own packs: found in their folder, refused with words that say what to mend."""

from pathlib import Path

import pytest

from hookmill.core.delivery import Delivery
from hookmill.core.errors import ConfigurationError
from hookmill.local.conformance import examine
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.loading import declared
from hookmill.providers.registry import PACKS, all_packs, own_pack, pack_named
from hookmill.providers.scaffold import SCHEME_NAMES, scaffold, text_of_pack

GOOD = text_of_pack("acme", "hmac")


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        declared(text, "acme.toml")
    return str(refused.value)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
def test_a_scaffold_works_as_it_stands(scheme: str, tmp_path: Path) -> None:
    """Every scheme's passes the kit before anything is changed in it."""
    path, folder = scaffold("acme", scheme, tmp_path)
    found = examine(own_pack(path))

    assert folder.is_dir()
    assert found.problems == []
    assert found.cases > 500


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('word = "/type"', 'wrod = "/type"', "wrod is no key, did you mean 'word'?"),
        ('scheme = "hmac"', 'scheme = "hamc"', "no scheme is called 'hamc', did you mean 'hmac'?"),
        ('algorithm = "sha256"', 'algorihtm = "sha256"',
         "verification.algorihtm is no key, did you mean 'algorithm'?"),
        ('encoding = "hex" }', 'encodign = "hex" }',
         "verification.signature.encodign is no key, did you mean 'encoding'?"),
        ('becomes = "payment.failed"', 'becomes = "payment.fialed"',
         "'payment.fialed' is no type, did you mean 'payment.failed'?"),
        ('subject = ["/data/payment_id"', 'subjcet = ["/data/payment_id"',
         "shapes.refund.subjcet is no key, did you mean 'subject'?"),
        ('status = "/data/status"', 'status = "header:x-status"',
         "default.status: put 'x-status' into keep_headers"),
        ('event_id = "/id"', 'event_id = "{/id"', "default.event_id: '{/id': a brace"),
        ('signed = "{body}"', 'signed = "{bdoy}"', "verification.signed: 'bdoy' is no expression"),
        ('resource = "/data/id"', 'resource = "option:nothing"', "default.resource: no option"),
        ('resource = "/data/id"', 'resource = "query:id"', "known while verifying only"),
        ("answer_deadline_secs = 10.0", 'answer_deadline_secs = "10"',
         "answer_deadline_secs: Expected"),
        ('name = "acme"', 'name = "Acme Pay"', "name: 'Acme Pay': lower-case"),
    ],
    ids=lambda each: each[:28],
)  # fmt: skip
def test_a_mistake_is_told_by_line_key_and_nearest_word(old: str, new: str, problem: str) -> None:
    """In the file that it is in."""
    text = GOOD.replace(old, new, 1)
    said = refusal(text)

    assert text != GOOD
    assert problem in said
    assert said.startswith("acme.toml:")
    if " is no key" not in problem or "signature." not in problem:
        where = int(said.split(":")[1]) if said.split(":")[1].isdigit() else 0
        assert abs(where - line_of(text, new)) <= 1, said


@pytest.mark.parametrize("missing", ["title", "word", "verifies", "sources"])
def test_what_is_missing_is_named(missing: str) -> None:
    """A pack without it says nothing."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{missing} =")]

    assert missing in refusal("\n".join(lines))


def test_a_pack_without_verification_is_none() -> None:
    """Nothing would prove the sender."""
    start, end = GOOD.index("[verification]"), GOOD.index("# Where the facts")

    assert "verification is missing" in refusal(GOOD[:start] + GOOD[end:])


def test_what_is_no_toml_is_told(tmp_path: Path) -> None:
    """With the file; one that is not there too."""
    assert "acme.toml is not TOML" in refusal("name = ")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        own_pack(tmp_path / "gone.toml")


def test_packs_of_a_folder_stand_beside_the_built_in_ones(tmp_path: Path) -> None:
    """Under their own names."""
    (tmp_path / "acme.toml").write_text(GOOD)
    packs = all_packs(tmp_path)

    assert set(packs) == {*PACKS, "acme"}
    assert pack_named("acme", packs).title == "Acme"
    assert len(packs) == len(PACKS) + 1
    with pytest.raises(ConfigurationError, match="did you mean 'acme'"):
        pack_named("amce", packs)


@pytest.mark.parametrize("name", ["stripe", "yoco", "rehive"])
def test_a_built_in_name_is_taken(name: str, tmp_path: Path) -> None:
    """Whoever writes `provider = "stripe"` must get hookmill's own."""
    (tmp_path / "mine.toml").write_text(text_of_pack(name, "token"))
    with pytest.raises(ConfigurationError, match=f"'{name}' is hookmill's own pack"):
        all_packs(tmp_path)


def test_two_files_cannot_have_one_name(tmp_path: Path) -> None:
    """The second is told."""
    for file in ("a.toml", "b.toml"):
        (tmp_path / file).write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"b\.toml: name: 'acme' is another file's pack"):
        all_packs(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Rather than no packs at all."""
    with pytest.raises(ConfigurationError, match="there is no folder"):
        all_packs(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "scheme", "problem"),
    [
        ("stripe", "hmac", "hookmill's own"),
        ("Acme", "hmac", "lower-case"),
        ("acme", "hmca", "did you mean 'hmac'"),
        ("there", "hmac", "is there already"),
    ],
)
def test_nothing_is_overwritten(name: str, scheme: str, problem: str, tmp_path: Path) -> None:
    """Neither a file nor a name."""
    (tmp_path / "there.toml").write_text("x")
    with pytest.raises(ConfigurationError, match=problem):
        list(scaffold(name, scheme, tmp_path))


VARIED = GOOD.replace(
    "# Where the facts",
    """[variants.v3]
scheme = "token"
header = "verif-hash"

[options.region]
about = "where the account is"
choices = ["eu", "us"]
required = true

# Where the facts""",
    1,
)


def test_an_endpoint_chooses_a_variant_of_the_scheme() -> None:
    """Each verifies by its own; the evidence of a credential is only its name."""
    pack = DeclaredPack(declared(VARIED, "acme.toml"))
    plain = pack.options(region="eu")
    v3 = pack.options(region="us", variant="v3")
    signed = pack.sign(b"{}", secret="s", message_id="m", at_us=0, options=v3)
    delivery = Delivery(tuple(signed.headers.items()), signed.body, 0)

    assert signed.headers["verif-hash"] == "s"
    assert pack.evidence(delivery, v3) == {"scheme": "static"}
    assert (
        "x-signature"
        in pack.sign(b"{}", secret="s", message_id="m", at_us=0, options=plain).headers
    )
    assert dict(pack.example_options) == {"region": "eu"}
