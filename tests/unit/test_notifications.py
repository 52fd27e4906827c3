"""What people are told: once, counted, not at night, and never a secret."""

from datetime import UTC, datetime

import msgspec
import pytest

from config.settings import Settings
from core.errors import BadInput
from pipelines.notifications.channels import Channels, urls
from pipelines.notifications.delivery import Delivery
from pipelines.notifications.desk import MESSAGE, Desk, Memory, Notice, Policy, fitting, written
from pipelines.notifications.notebook import Notebook
from pipelines.notifications.states import Changes, disk_states

T0 = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
HOUR = 3600


def crash(at_s: float = T0, bot: str = "bot_001", level: str = "warning", number: int = 7) -> Notice:
    return Notice(at_s, level, "bots", "bot_crashed", f"bot {bot} crashed after {number} candles")


def desk(**policy) -> Desk:
    return Desk(Policy(**policy), Memory(), ["mail"])


def restarted(before: Desk, *addresses: str) -> Desk:
    """The desk of the next process, which goes on from what is stored."""
    after = Desk(Policy(), Memory(), addresses or ["mail"])
    after.go_on(msgspec.json.decode(msgspec.json.encode(before.memory), type=Memory))
    return after


def tell(at: Desk, now_s: float, address: str = "mail") -> list[str]:
    """What is due at an address, as if it were sent."""
    due = at.due(now_s).get(address, [])
    at.told(address, due)
    return [notice.message for notice in due]


def test_same_thing_is_told_once_and_then_counted():
    """Numbers that stand alone make no difference, names do; after the time one line says how many."""
    ours = desk(repeat_s=1_800)
    for second in range(5):
        ours.take(crash(T0 + second, number=second))
    ours.take(crash(T0, bot="bot_002"))
    assert tell(ours, T0 + 5) == [
        "bot bot_001 crashed after 0 candles",
        "bot bot_002 crashed after 7 candles",
    ]
    assert tell(ours, T0 + 1_799) == []
    assert tell(ours, T0 + 1_800) == ["bot bot_001 crashed after 4 candles (4 more in 30 min)"]
    assert tell(ours, T0 + 3_600) == []
    ours.take(crash(T0 + 4_000))
    assert tell(ours, T0 + 4_000) == ["bot bot_001 crashed after 7 candles"]


def test_quiet_hours_let_errors_through_and_keep_the_rest():
    """Over midnight too; what waited goes out together when they end."""
    ours = desk(quiet=(22 * 60, 7 * 60))
    night = T0 + 11 * HOUR
    ours.take(crash(night))
    ours.take(crash(night, bot="bot_002", level="error"))
    assert tell(ours, night) == ["bot bot_002 crashed after 7 candles"]
    assert tell(ours, night + 7 * HOUR) == []
    assert len(tell(ours, night + 8 * HOUR)) == 1


@pytest.mark.parametrize(
    ("quiet", "hour", "is_quiet"),
    [
        (None, 3, False),
        ((1320, 420), 23, True),
        ((1320, 420), 6, True),
        ((1320, 420), 7, False),
        ((60, 120), 1, True),
    ],
)
def test_quiet_stretch_has_its_begin_and_not_its_end(quiet, hour, is_quiet):
    """22:00-07:00 holds 22:00 and 06:59."""
    at = datetime(2026, 11, 21, hour, tzinfo=UTC).timestamp()
    assert Policy(quiet=quiet).is_quiet(at) is is_quiet


def test_level_decides_and_good_news_needs_bad_news():
    """Info is not told; that PostgreSQL is back is told where its outage was."""
    ours = desk()
    back = Notice(T0 + 90, "info", "live", "postgres_back", "PostgreSQL is back")
    ours.take(Notice(T0, "info", "live", "started", "collecting"))
    ours.take(back)
    assert tell(ours, T0) == []
    ours.take(Notice(T0, "error", "live", "postgres_outage", "PostgreSQL is away"))
    ours.take(back)
    assert tell(ours, T0 + 90) == ["PostgreSQL is away", "PostgreSQL is back"]


def test_good_news_comes_however_long_the_bad_lasted():
    """Once, after an outage far longer than the time in which the same is told once, and after a restart."""
    ours = desk()
    ours.take(Notice(T0, "warning", "live", "redis_away", "Redis is away"))
    assert tell(ours, T0) == ["Redis is away"]
    assert tell(ours, T0 + 7_200) == []
    ours = restarted(ours)
    for at_s in (T0 + 7_200, T0 + 14_400):
        ours.take(Notice(at_s, "info", "live", "redis_back", "Redis is back"))
    assert tell(ours, T0 + 14_400) == ["Redis is back"]


def test_memory_survives_a_restart():
    """What waits and what was told is the same after a round trip through JSON."""
    ours = desk()
    ours.take(crash())
    again = restarted(ours)
    assert tell(again, T0) == ["bot bot_001 crashed after 7 candles"]
    again.take(crash(T0 + 1))
    assert tell(again, T0 + 1) == []


def test_each_address_gets_what_it_has_not_taken_yet():
    """Also after a restart; an address in place of another gets what that one never took, and no more; what
    was found before the memory could be read comes last."""
    ours = Desk(Policy(), Memory(), ["mail", "chat"])
    ours.take(crash())
    assert tell(ours, T0, "chat") == ["bot bot_001 crashed after 7 candles"]
    ours.take(crash(T0 + 1, bot="bot_002"))
    assert len(tell(ours, T0 + 1, "chat")) == 1
    again = restarted(ours, "post", "chat", "news")
    for address in ("post", "news"):
        assert len(tell(again, T0 + 2, address)) == 2
    assert again.due(T0 + 2) == {}
    early = Desk(Policy(), Memory(down={"database"}), ["mail"])
    early.take(crash(T0 + 3, bot="bot_003"))
    assert len(early.due(T0 + 3)["mail"]) == 1
    early.go_on(ours.memory)
    assert [message[:11] for message in tell(early, T0 + 3)] == ["bot bot_001", "bot bot_002", "bot bot_003"]
    assert early.memory.down == {"database"}


def test_memory_of_an_earlier_version_is_read():
    """What waited without an address then waits for all now."""
    ours = desk()
    ours.go_on(msgspec.json.decode(msgspec.json.encode({"cursor": 7, "waiting": [crash()]}), type=Memory))
    assert tell(ours, T0) == ["bot bot_001 crashed after 7 candles"]


def test_one_message_names_the_worst_first_and_all_times():
    """A title, and a line for each."""
    title, text, level = written([crash(), crash(bot="bot_002", level="error")])
    assert (title, level) == ("TCP error: bot_crashed and 1 more", "error")
    assert text.splitlines()[0] == "2026-11-21 12:00:00 UTC warning bots: bot bot_001 crashed after 7 candles"


@pytest.mark.parametrize("room", [MESSAGE, 160])
def test_messages_are_no_longer_than_their_channel_takes(room):
    """Whole notices, none left out; one that alone is too long is cut."""
    owed = [crash(bot=f"bot_{number:03}") for number in range(60)]
    left, lines = owed, []
    while left:
        portion = fitting(left, room)
        title, text, _ = written(portion, room)
        assert len(title) + len(text) < room
        lines += text.splitlines()
        left = left[len(portion) :]
    assert lines == written(owed, 10**6)[1].splitlines()
    title, text, _ = written(fitting([crash(bot="x" * 3_000)], room), room)
    assert (len(title) + 2 + len(text), text[-1]) == (room, "…")


class Address:
    """Takes what is told to it, but no message with a notice of `refused`, and nothing while it is away."""

    def __init__(self, *refused: Notice) -> None:
        self.refused, self.is_away = set(refused), False
        self.took: list[Notice] = []
        self.owed: list[Notice] = []
        self.given_up: list[Notice] = []
        self._delivery = Delivery(self._send, MESSAGE)

    def _send(self, notices) -> bool:
        takes = not self.is_away and self.refused.isdisjoint(notices)
        self.took += notices if takes else []
        return takes

    def look(self, seconds) -> None:
        """As the watcher does it, every two seconds."""
        for now_s in seconds:
            outcome = self._delivery.tell(self.owed, now_s) if self.owed else None
            if outcome is not None:
                self.given_up += outcome.given_up
                gone = {*outcome.told, *outcome.given_up}
                self.owed = [notice for notice in self.owed if notice not in gone]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_notice_that_an_address_refuses_keeps_back_no_other(place):
    """Older ones go out within seconds and newer ones at once; what is refused is given up when newer ones
    were taken between its tries, not while there are none, and taken where that changes before."""
    notices = [crash(bot=name) for name in ("a", "b", "c")]
    bad, good = notices[place], [each for each in notices if each is not notices[place]]
    address = Address(bad)
    address.owed = list(notices)
    address.look(range(0, 30, 2))
    assert (address.took, address.owed) == (good, [bad])
    address.look(range(30, HOUR, 2))
    assert (address.owed, address.given_up) == ([bad], [])
    for place, name in enumerate(("d", "e")):
        newer, at = crash(bot=name), HOUR + place * 120
        address.owed.append(newer)
        address.look([at])
        assert address.took[-1] == newer
        address.look(range(at + 2, at + 120, 2))
    assert (address.owed, address.given_up) == ([], [bad])

    changing = Address(bad)
    changing.owed = list(notices)
    changing.look(range(0, 30, 2))
    changing.refused.clear()
    changing.look(range(30, 120, 2))
    assert (changing.owed, changing.given_up) == ([], [])


def test_address_that_is_away_is_owed_everything():
    """However long it takes; then in order."""
    address = Address()
    address.is_away = True
    address.owed = notices = [crash(bot=name) for name in ("a", "b", "c")]
    address.look(range(0, 10 * HOUR, 2))
    assert (address.owed, address.given_up) == (notices, [])
    address.is_away = False
    address.look(range(10 * HOUR, 10 * HOUR + 600, 2))
    assert (address.took, address.owed) == (notices, [])


def test_notebook_holds_the_newest_memory_until_it_is_cleared(tmp_path):
    """For its owner only; a damaged one is an empty memory, and gone when it is cleared."""
    path = tmp_path / "notify.json"
    for count in (1, 2):
        noted = Memory(waiting=[crash(number=n) for n in range(count)], down={"database"})
        Notebook(path).write(msgspec.json.encode(noted))
        assert Notebook(path).read() == noted
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{half")
    notebook = Notebook(path)
    assert notebook.read() == Memory()
    notebook.clear()
    assert list(tmp_path.iterdir()) == []


def test_channels_say_what_they_take():
    """Pushover takes less than Discord; what takes more gets no more."""
    channels = Channels(["discord://4711/hunter2", f"pover://{'u' * 30}@{'a' * 30}", "json://h"])
    assert [channels.room(name) for name in channels.names()] == [MESSAGE, 1_024, MESSAGE]


def test_disk_that_swings_round_its_limit_is_told_once():
    """It is full, or has room again, when it was so for a minute; between the limits nothing changes."""
    changes, is_full, told = Changes(), False, []
    full, swings, room = [4.9e9] * 31, [4.9e9, 5.1e9] * 31, [6.1e9] * 31
    for look, free in enumerate([*swings, *full, *swings, *room[1:], 5.9e9, *room, *swings]):
        state = disk_states({"disk_free_bytes": {"home": free}})["disk of home"]
        words = changes.words("disk of home", state, is_full, T0 + look * 2)
        if words is not None:
            is_full = not is_full
            told.append((look, words))
    assert told == [
        (62 + 30, "4.9 GB are free: make room, or everything stops"),
        (62 + 31 + 62 + 31 + 30, "there is room again"),
    ]


def test_addresses_come_from_the_environment_and_a_private_file(tmp_path):
    """Comments are passed over; a file that others can read is refused."""
    file = tmp_path / "secrets" / "notify"
    file.parent.mkdir()
    file.write_text("# mine\njson://127.0.0.1:9\n\n")
    file.chmod(0o600)
    settings = Settings(home=tmp_path, notify_urls="json://127.0.0.1:1 json://127.0.0.1:2", notify_file=None)
    assert urls(settings) == ["json://127.0.0.1:1", "json://127.0.0.1:2", "json://127.0.0.1:9"]
    file.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        urls(settings)
    with pytest.raises(BadInput, match=r"TCP_NOTIFY_FILE: .*absent does not exist"):
        urls(Settings(home=tmp_path, notify_file=tmp_path / "absent"))


def test_names_and_mistakes_hold_no_secret():
    """Token and password are not in what is logged, nor in the error for an address that is none."""
    names = Channels(
        ["tgram://123456789:hunter2hunter2hunter2/4711/", "jsons://me:hunter2@example.com/x"]
    ).names()
    assert len(names) == 2 and not any("hunter2" in name for name in names)
    alike = ["json://127.0.0.1/a?+token=hunter2", "json://127.0.0.1/a?+token=hunter3"]
    assert Channels(alike).names()[1] == f"{Channels(alike).names()[0]} (2)"
    with pytest.raises(BadInput, match=r"address 1 \(foo\)") as told:
        Channels(["foo://hunter2"])
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("text", ["22-7", "24:00-07:00", "22:00 - 07:00", "22:00-07:60"])
def test_quiet_hours_that_are_none_are_refused(text):
    """The setting says what it wants."""
    with pytest.raises(ValueError, match="22:00-07:00"):
        Settings(notify_quiet=text)
