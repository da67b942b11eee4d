//! Screens of a made-up machine, and keys.

use std::{env, fs, path::Path, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use inotify_trace_model::{
    clock::Clock,
    event::{CgroupId, Comm, EMFILE, Event, EventKind, Loss, Quota, Task},
    story::Audience as _,
    testing::{self, at, shim, task},
    verdict::Grace,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui_core::{backend::TestBackend, buffer::Buffer, layout::Rect, terminal::Terminal};
use rustix::time::{ClockId, clock_gettime};

use super::{
    keys::{HELP, Then, press},
    scene::Source,
    state::{Front, State},
    teller::{Machine, Teller},
    view::{self, Look},
    wish::{Ask, View},
};
use crate::output::UserNames;

/// A name that would clear the screen, end its line, write from right to left, and take no column.
const HOSTILE: &str = "\u{1b}[2J\n\u{202e}\u{200b}日本";

/// A machine with a leaking shim, holders with strange names, and a refusal.
fn machine(source: Source) -> (testing::Machine, Teller) {
    let mut made = testing::Machine::pod(Some("1.4.13"));
    for restart in 1..=6 {
        made.restart(10 * restart, 20 + restart);
    }
    made.cgroup(0, 3, "/system.slice/logs.service");
    for pid in 1..=4_u32 {
        let tail = Task { cgroup: CgroupId(3), ..task(pid, "tail") };
        let id = u64::from(pid) + 100;
        made.create(u64::from(pid), tail, id).watch(u64::from(pid), tail, id, Err("/var/log/app"));
    }
    let strange = Task { comm: Comm::from(HOSTILE), ..task(77, "") };
    made.create(5, strange, 200).watch(5, strange, 200, Err(HOSTILE));
    made.watches(6, strange, 200, 2..40);
    let mut teller = Teller::new(
        Machine {
            source,
            host: "node-1".to_owned(),
            backend: "fentry".to_owned(),
            names: UserNames::from_map([(0, "root".to_owned())].into()),
            clock: Clock::of_machine_booted(1_790_000_000_000_000_000, TimeZone::UTC),
            grace: Grace::default(),
            every: Duration::from_secs(1),
        },
        None,
    );
    let quota = Some(Quota::own(128, 128, 0, 1));
    let refused = EventKind::CreateFailed { flags: 0, errno: EMFILE, quota, files: None };
    for (kind, task) in [
        (refused.clone(), Some(task(4711, "kubelet"))),
        (refused, Some(strange)),
        (EventKind::Lost { count: 3, what: Loss::Records }, None),
    ] {
        let event = Event { time: at(90), task, kind };
        made.0.apply(&event);
        teller.event(&event, &made.0).unwrap();
    }
    teller.moment(&made.0, at(100)).unwrap();
    (made, teller)
}

/// A person at a screen of that machine.
struct Person {
    made: testing::Machine,
    teller: Teller,
    state: State,
}

impl Person {
    fn new(source: Source) -> Self {
        let (made, teller) = machine(source);
        let state = State::new(View::Containers, source);
        let mut person = Self { made, teller, state };
        person.look();
        person
    }

    fn look(&mut self) {
        self.teller.ask(self.state.wish(), &self.made.0, at(100));
        self.state.take(self.teller.scene(&self.made.0, at(100)));
    }

    fn press(&mut self, code: KeyCode) -> Then {
        let then = press(&mut self.state, KeyEvent::new(code, KeyModifiers::NONE));
        if let Then::Ask(Ask::Show(_)) = then {
            self.look();
        }
        // As drawing does.
        self.state.arrange();
        then
    }

    fn type_in(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    fn screen(&mut self, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let look = Look::new(true);
        terminal.draw(|frame| view::draw(frame, &mut self.state, look)).unwrap();
        text(terminal.backend().buffer())
    }

    fn rows(&mut self) -> usize {
        self.state.arrange().len()
    }
}

/// The cells as lines, without spaces at their ends.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let (mut line, mut x) = (String::new(), 0);
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            x += u16::try_from(unicode_width::UnicodeWidthStr::width(symbol).max(1)).unwrap();
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Compares a screen with the one in a file; with `BLESS` in the environment, writes it.
fn check(name: &str, screen: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/tests/screens");
    let path = folder.join(format!("{name}.txt"));
    if env::var_os("BLESS").is_some() {
        fs::write(&path, screen).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{name} is another (BLESS=1 accepts it):\n{screen}");
}

#[test]
fn every_view_is_as_it_was() {
    for (width, height) in [(80, 24), (200, 50)] {
        let mut person = Person::new(Source::Live);
        for view in View::ALL {
            check(&format!("{}-{width}", view.name()), &person.screen(width, height));
            person.press(KeyCode::Enter);
            check(&format!("{}-page-{width}", view.name()), &person.screen(width, height));
            person.press(KeyCode::Esc);
            person.press(KeyCode::Tab);
        }
        person.press(KeyCode::Char('2'));
        person.press(KeyCode::Char('w'));
        check(&format!("watches-{width}"), &person.screen(width, height));
        person.press(KeyCode::Char('?'));
        check(&format!("help-{width}"), &person.screen(width, height));
    }
    let mut person = Person::new(Source::Recording);
    person.press(KeyCode::Char('j'));
    person.type_in("03:05");
    check("recording-80", &person.screen(80, 24));
}

#[test]
fn no_name_moves_the_cursor_or_the_columns() {
    let mut person = Person::new(Source::Live);
    for view in View::ALL {
        for front in [Front::Rows, Front::Page, Front::Watches] {
            let screen = person.screen(80, 24);
            let is_bad = |c: char| c != '\n' && inotify_trace_model::text::moves_text(c);
            assert!(!screen.contains(is_bad), "{view:?} {front:?}:\n{screen}");
            person.press(if front == Front::Rows { KeyCode::Enter } else { KeyCode::Char('w') });
        }
        person.press(KeyCode::Tab);
    }
    // The columns after a name are where they are on other lines.
    person.press(KeyCode::Char('2'));
    let screen = person.screen(120, 24);
    let ends = |line: &str| {
        let end = line.find(" root").map(|at| &line[..at]);
        end.map(unicode_width::UnicodeWidthStr::width)
    };
    let lines: Vec<_> = screen.lines().filter(|it| it.contains("service")).collect();
    let places: std::collections::BTreeSet<_> = lines.iter().map(|it| ends(it)).collect();
    assert!(lines.len() > 3 && places.len() == 1, "{screen}");
}

#[test]
fn the_cursor_stays_on_its_row() {
    let mut person = Person::new(Source::Live);
    person.press(KeyCode::Tab);
    let first = person.state.shown().selected.clone();
    person.press(KeyCode::Down);
    let second = person.state.shown().selected.clone();
    assert!(first != second && second.is_some());
    person.press(KeyCode::Char('r'));
    assert_eq!(person.state.shown().selected, second);
    let last = person.rows() - 1;
    assert_eq!(person.state.shown().place, last - 1);
    person.press(KeyCode::End);
    assert_eq!(person.state.shown().selected, first);
    person.press(KeyCode::Home);
    assert_eq!(person.state.shown().place, 0);
}

#[test]
fn rows_are_sorted_and_filtered() {
    let mut person = Person::new(Source::Live);
    person.press(KeyCode::Char('2'));
    let all = person.rows();
    let pids = |person: &mut Person| {
        let order = person.state.arrange();
        order.iter().map(|&at| person.state.rows().rows[at].cells[0].text()).collect::<Vec<_>>()
    };
    person.press(KeyCode::Char('s'));
    assert_eq!(pids(&mut person), ["100", "77", "4", "3", "2", "1"]);
    person.press(KeyCode::Char('r'));
    assert_eq!(pids(&mut person)[0], "1");
    person.press(KeyCode::Char('/'));
    person.type_in("TAILX");
    assert_eq!(person.rows(), 0);
    person.press(KeyCode::Backspace);
    person.press(KeyCode::Enter);
    assert_eq!(person.rows(), 4);
    // `q` is text while one is typed, and the end afterwards.
    person.press(KeyCode::Char('/'));
    assert_eq!(person.press(KeyCode::Char('q')), Then::Stay);
    person.press(KeyCode::Esc);
    assert_eq!(person.rows(), all);
    assert_eq!(person.press(KeyCode::Char('q')), Then::Quit);
}

#[test]
fn one_goes_in_and_out() {
    let mut person = Person::new(Source::Live);
    person.press(KeyCode::Char('2'));
    person.press(KeyCode::Enter);
    let page = person.state.scene.page.clone().unwrap();
    assert!(person.state.front == Front::Page && page.watches.rows.len() == 7, "{page:?}");
    person.press(KeyCode::Char('w'));
    assert_eq!(person.state.front, Front::Watches);
    assert_eq!(person.rows(), 7);
    person.press(KeyCode::Esc);
    assert_eq!((person.state.front, person.state.open.as_ref()), (Front::Rows, None));
    person.press(KeyCode::BackTab);
    assert_eq!(person.state.view, View::Containers);
    person.press(KeyCode::BackTab);
    assert_eq!(person.state.view, View::Leaks);
}

#[test]
fn only_recordings_have_other_times() {
    let mut live = Person::new(Source::Live);
    assert_eq!(live.press(KeyCode::Char('t')), Then::Stay);
    assert!(live.state.message.is_some());
    let mut past = Person::new(Source::Recording);
    assert_eq!(past.press(KeyCode::Char('T')), Then::Ask(Ask::Step { is_forward: false }));
    past.press(KeyCode::Char('j'));
    past.type_in("+90s");
    assert_eq!(past.press(KeyCode::Enter), Then::Ask(Ask::Jump("+90s".to_owned())));
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut past.state, control), Then::Quit);
}

#[test]
fn a_pause_holds_the_moment_and_losses_are_told_all_the_same() {
    let mut person = Person::new(Source::Live);
    person.press(KeyCode::Char(' '));
    person.made.create(101, shim(), 300);
    let lost = EventKind::Lost { count: 5, what: Loss::Records };
    person.made.tell(101, None, lost);
    let before = person.state.scene.header.clone();
    person.look();
    let header = person.state.scene.header.clone();
    assert_eq!((header.instances, header.is_paused), (before.instances, true));
    assert_eq!(header.losses[0].1, 8);
    person.press(KeyCode::Char(' '));
    assert_eq!(person.state.scene.header.instances, before.instances + 1);
}

#[test]
fn a_view_that_was_left_is_drawn_before_its_rows_are_there_again() {
    let mut person = Person::new(Source::Live);
    person.type_in("12345");
    for key in "1234512w1w3".chars() {
        let event = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
        assert_ne!(press(&mut person.state, event), Then::Quit);
        person.screen(80, 24);
        let down = KeyEvent::new(KeyCode::Down, KeyModifiers::NONE);
        assert_eq!(press(&mut person.state, down), Then::Stay);
    }
}

#[test]
fn every_key_of_the_help_fits_the_smallest_usual_screen() {
    let fits = |(key, what): &(&str, &str)| key.len() <= 21 && what.len() <= 58;
    assert!(HELP.len() <= 18 && HELP.iter().all(fits));
}

/// How long a key takes on a machine as large as any. Run with `--ignored --nocapture`, optimised.
#[test]
#[ignore = "a measurement"]
fn a_key_on_a_large_machine() {
    let mut person = Person::new(Source::Live);
    for pid in 0..10_000_u32 {
        let holder = task(1000 + pid, "holder");
        for number in 0..5 {
            let id = 1000 + u64::from(pid) * 5 + number;
            person.made.create(50, holder, id).watch(50, holder, id, Err("/srv/data"));
        }
    }
    let watcher = Task { cgroup: CgroupId(3), ..task(5, "watcher") };
    person.made.create(50, watcher, 500).watches(50, watcher, 500, 1..50_001);
    // Of this thread: other programs may be busy.
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    for is_new in [true, false] {
        println!("{}", if is_new { "each of a new state" } else { "of the same state" });
        for keys in [
            "1", "\u{1b}[B", "s", "s", "r", "/holder", "\u{1b}", "\n", "w", "s", "G", "\u{1b}",
            "2", "s", "/5", "\n", "\u{1b}", "G", "\n", "w", "\u{1b}", "3", "\n", "w", "5", "\n",
            "4", " ", " ",
        ] {
            if is_new {
                person.teller.turn();
            }
            let began = cpu();
            match keys {
                "\n" => drop(person.press(KeyCode::Enter)),
                "\u{1b}" => drop(person.press(KeyCode::Esc)),
                "\u{1b}[B" => drop(person.press(KeyCode::Down)),
                keys => person.type_in(keys),
            }
            let made = cpu();
            person.screen(200, 50);
            let drawn = cpu();
            let (make, draw) = ((made - began).as_micros(), (drawn - made).as_micros());
            println!("{keys:?}: {make} us to make, {draw} us to draw");
        }
    }
    let began = cpu();
    person.teller.moment(&person.made.0, at(1000)).unwrap();
    println!("sample: {} ms", (cpu() - began).as_millis());
}

fn any_key() -> impl Strategy<Value = KeyCode> {
    let code = |at: usize| {
        let others = [
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::Backspace,
        ];
        let letters = "12345srw,./?jtT q日".chars().map(KeyCode::Char);
        others.into_iter().chain(letters).nth(at).unwrap_or(KeyCode::Null)
    };
    (0_usize..30).prop_map(code)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_drawn_outside_at_any_size(
        keys in prop::collection::vec(any_key(), 0..12),
        sizes in prop::collection::vec((1_u16..130, 1_u16..60), 1..6),
    ) {
        let mut person = Person::new(Source::Recording);
        for key in keys {
            person.press(key);
            for &(width, height) in &sizes {
                let whole = Rect::new(0, 0, width + 4, height + 4);
                let area = Rect::new(2, 2, width, height);
                let mut buffer = Buffer::empty(whole);
                view::draw_on(&mut buffer, area, &mut person.state, Look::new(true));
                for y in 0..whole.height {
                    for x in 0..whole.width {
                        let is_inside = area.contains((x, y).into());
                        prop_assert!(is_inside || buffer[(x, y)].symbol() == " ", "{x} {y}");
                    }
                }
            }
        }
    }
}
