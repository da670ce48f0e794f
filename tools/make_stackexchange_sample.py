"""Write tests/data/stackexchange-sample: a small Stack Exchange dump of our own making.

    python tools/make_stackexchange_sample.py [FOLDER]

Same files and attributes as a real data dump, invented content (a site about knots), and all that
bites a careless miner: votes that carry only their day, ties in the other times, edits months
later, ids that run against time, rows without a known user, text that is HTML and not ASCII.
The same bytes come out on every machine and every Python: a test compares them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from xml.sax.saxutils import escape

T = TypeVar("T")
Row = dict[str, object]

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "stackexchange-sample"
OPENED = datetime(2018, 3, 9, 18, 48, 9, 477000, tzinfo=UTC)
DAYS = 170  # from the opening to the day of the dump
USERS, POSTS, COMMENTS, VOTES, BADGES, LINKS = 36, 56, 80, 200, 64, 12

NAMES = (
    *(
        "Ada Bowline",
        "Bo Hitch",
        "Zoë Åkerblom",
        "李雷",
        "محمد",
        "Søren Reef",
        "Ωmega",
        "🪢 Marlin",
    ),
    *("O'Brien", "Robert'); DROP TABLE posts;--", "<b>bold</b>", 'Quo "te"', "a&b", "Ñandú"),
    *("back\\slash", "%s", "{name}", "x" * 30, "Ira Sheet", "Кирилл"),
)
TAGS = ("bowline", "hitches", "splicing", "rope", "belaying-pin", "safety", "history", "c++")
BADGE_NAMES = ("Student", "Teacher", "Editor", "Informed", "Precognitive", "Scholar", "rope")
TITLES = (
    "Which {0} holds when the {1} is wet?",
    "Why does a {0} slip on a {1}, and how do I stop it?",
    "What is a {0} called in Québec, and who first tied it to a {1}?",
    "Is a {0} ≥ 60 % as strong as the {1}?",
)
SENTENCES = (
    "I tied a {0} to the {1} and it slipped under load.",
    "Use a <em>{0}</em> and leave a tail of at least 12 &times; the diameter of the {1}.",
    'See <a href="https://knots.example/{0}?a=1&amp;b=2">this page</a>: it isn\'t the same {1}.',
    "<blockquote>Une {0} bien faite tient — même mouillée, même à 5 °C.</blockquote>",
    "The friction grows like <code>e ** (mu * phi)</code>, so each turn on the {1} helps.",
    "My uncle, a rigger from Malmö, swears by the {0} (结) and never trusts a {1}.",
    "<script>alert('{0}')</script> is not a knot, but the {1} should survive it.",
)
THINGS = ("bowline", "clove hitch", "reef knot", "sheet bend", "belaying pin", "halyard", "cleat")


class Chance(random.Random):
    """Seeded chance; only `random()` is used, which is the same in every version of Python."""

    def below(self, bound: int) -> int:
        return int(self.random() * bound)

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def moment(self, first: datetime, last: datetime) -> datetime:
        """A time between the two, in milliseconds."""
        return first + timedelta(
            milliseconds=self.below((last - first) // timedelta(milliseconds=1))
        )


def text(moment: datetime) -> str:
    """As a dump writes it: UTC, without saying so."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def prose(chance: Chance, sentences: int) -> str:
    return " ".join(
        chance.of(SENTENCES).format(chance.of(THINGS), chance.of(THINGS)) for _ in range(sentences)
    )


def times(chance: Chance, count: int) -> list[datetime]:
    """Times of `count` rows in id order: mostly rising, some tied, some a step back."""
    found = sorted(chance.moment(OPENED, OPENED + timedelta(days=DAYS)) for _ in range(count))
    for at in range(5, count - 1, 9):
        found[at] = found[at - 1]
    for at in range(7, count - 1, 17):
        found[at], found[at + 1] = found[at + 1], found[at]
    return found


def users(chance: Chance) -> Iterable[Row]:
    robot = {"DisplayName": "Community", "Location": "on the quay", "AboutMe": "<p>A robot.</p>"}
    seen = text(OPENED)
    yield {
        "Id": -1,
        "Reputation": 1,
        "CreationDate": seen,
        **robot,
        "LastAccessDate": seen,
        "Views": 0,
        "UpVotes": 1,
        "DownVotes": 37,
        "AccountId": -1,
    }
    joined = sorted(chance.moment(OPENED, OPENED + timedelta(days=90)) for _ in range(USERS))
    for number, moment in enumerate(joined):
        last_seen = chance.moment(moment, OPENED + timedelta(days=DAYS))
        row: Row = {
            "Id": number * 2 + 1,
            "Reputation": 1 + chance.below(900),
            "CreationDate": text(moment),
            "DisplayName": NAMES[number % len(NAMES)],
            "LastAccessDate": text(last_seen),
        }
        if chance.below(2):
            row |= {"Location": chance.of(("Göteborg", "", "Marseille, France", "東京"))}
        if chance.below(2):
            row |= {"AboutMe": f"<p>{prose(chance, 1)}</p>\r\n"}
        yield row | {
            "Views": chance.below(50),
            "UpVotes": chance.below(90),
            "DownVotes": chance.below(9),
            "AccountId": 1000 + number,
        }


def edit_time(chance: Chance, created: datetime) -> datetime:
    """Minutes to five months later, most of them soon, none after the day of the dump."""
    share = chance.random()
    share *= share * share * share  # not `**`: its last bit differs from one C library to the next
    later = created + timedelta(milliseconds=1 + int(share * 150 * 86_400_000))
    return min(later, OPENED + timedelta(days=DAYS))


def posts(chance: Chance, owners: Sequence[object]) -> Iterable[Row]:
    questions: list[int] = []
    for number, created in enumerate(times(chance, POSTS)):
        post = number + 1 + number // 10
        answer = bool(questions) and chance.below(2) == 1
        row: Row = {"Id": post, "PostTypeId": 2 if answer else 1, "CreationDate": text(created)}
        row |= {"ParentId": chance.of(questions)} if answer else {}
        row |= {"Score": chance.below(30) - 2} | (
            {} if answer else {"ViewCount": chance.below(900)}
        )
        paragraphs = (prose(chance, 1 + chance.below(3)) for _ in range(1 + chance.below(2)))
        row |= {"Body": "".join(f"<p>{paragraph}</p>\n\n" for paragraph in paragraphs)}
        if number not in (20, 41):  # their authors deleted their accounts
            row |= {"OwnerUserId": owners[chance.below(1 + chance.below(len(owners)))]}
        if chance.below(3):
            edited = edit_time(chance, created)
            row |= {"LastEditorUserId": chance.of(owners), "LastEditDate": text(edited)}
            created = edited
        row |= {"LastActivityDate": text(created)}
        if not answer:
            questions.append(post)
            title = chance.of(TITLES).format(chance.of(THINGS), chance.of(THINGS))
            row |= {"Title": title, "Tags": f"<{chance.of(TAGS)}><{chance.of(TAGS)}>"}
            row |= {"AnswerCount": chance.below(4)}
        yield row | {"CommentCount": chance.below(5)}


def comments(chance: Chance, owners: Sequence[object], post_ids: Sequence[object]) -> Iterable[Row]:
    for number, moment in enumerate(times(chance, COMMENTS)):
        who: Row = {"UserId": chance.of(owners)} if number != 33 else {"UserDisplayName": "user99"}
        yield {
            "Id": number + 7,
            "PostId": chance.of(post_ids),
            "Score": chance.below(5),
            "Text": prose(chance, 1),
            "CreationDate": text(moment),
            **who,
        }


def votes(chance: Chance, owners: Sequence[object], post_ids: Sequence[object]) -> Iterable[Row]:
    days = [
        OPENED.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day)
        for day in (3, 3, 3, 4, 9, 30, 31, 32, 60, 90, 114, 114, 120, 150, DAYS)
    ]
    moments = sorted(chance.of(days) for _ in range(VOTES))
    for number, moment in enumerate(moments):
        # Most votes go to the early posts, and so to few owners; some posts are deleted by now.
        post = post_ids[chance.below(6)] if chance.below(3) else chance.of((*post_ids, 997, 998))
        row: Row = {
            "Id": number + 1 + number // 7,
            "PostId": post,
            "VoteTypeId": chance.of((2, 2, 2, 2, 3, 1, 5)),
            "CreationDate": text(moment),
        }
        yield row | ({"UserId": chance.of(owners)} if row["VoteTypeId"] == 5 else {})


def badges(chance: Chance, owners: Sequence[object]) -> Iterable[Row]:
    for number, moment in enumerate(times(chance, BADGES)):
        name = chance.of(BADGE_NAMES)
        yield {
            "Id": number + 1,
            "UserId": chance.of(owners),
            "Name": name,
            "Date": text(moment),
            "Class": 1 + chance.below(3),
            "TagBased": name in TAGS,
        }


def links(chance: Chance, post_ids: Sequence[object]) -> Iterable[Row]:
    for number, moment in enumerate(times(chance, LINKS)):
        yield {
            "Id": number * 9 + 1,
            "CreationDate": text(moment),
            "PostId": chance.of(post_ids),
            "RelatedPostId": chance.of(post_ids),
            "LinkTypeId": chance.of((1, 3)),
        }


def write(file: Path, rows: Iterable[Row]) -> None:
    """One `<row .../>` a line after a byte order mark, as a dump has it."""
    quoting = {'"': "&quot;", "\n": "&#xA;", "\r": "&#xD;"}
    lines = [
        "  <row " + "".join(f'{k}="{escape(str(v), quoting)}" ' for k, v in row.items()) + "/>"
        for row in rows
    ]
    tag = file.stem.lower()
    head = f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<{tag}>\n'
    file.write_bytes((head + "\n".join(lines) + f"\n</{tag}>").encode())


def make(folder: Path) -> None:
    """Write all files into `folder`."""
    chance = Chance(2018)
    folder.mkdir(parents=True, exist_ok=True)
    people = list(users(chance))
    owners = [person["Id"] for person in people]
    questions = list(posts(chance, owners))
    post_ids = [post["Id"] for post in questions]
    write(folder / "Users.xml", people)
    write(folder / "Posts.xml", questions)
    write(folder / "Comments.xml", comments(chance, owners, post_ids))
    write(folder / "Votes.xml", votes(chance, owners, post_ids))
    write(folder / "Badges.xml", badges(chance, owners))
    write(folder / "PostLinks.xml", links(chance, post_ids))
    tags = [{"Id": at + 1, "TagName": tag, "Count": 3 * at} for at, tag in enumerate(TAGS)]
    write(folder / "Tags.xml", tags)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
