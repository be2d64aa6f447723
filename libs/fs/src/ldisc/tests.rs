use super::*;
use alloc::string::String;

fn read(d: &mut Discipline) -> Option<Vec<u8>> {
    match d.read(1000) {
        Input::NotYet => None,
        Input::Bytes(bytes) => Some(bytes),
    }
}

fn raw() -> Discipline {
    let mut d = Discipline::new();
    let mut t = d.termios();
    t.lflag &= !(bits::ICANON | bits::ECHO | bits::ISIG | bits::IEXTEN);
    t.iflag &= !bits::ICRNL;
    t.oflag &= !bits::OPOST;
    t.cc[bits::VMIN] = 1;
    d.set_termios(t);
    d
}

#[test]
fn a_line_is_read_when_it_is_complete_and_echoed() {
    let mut d = Discipline::new();
    let r = d.receive(b"hel");
    assert_eq!((r.echo.as_slice(), r.is_readable), (&b"hel"[..], false));
    assert_eq!(read(&mut d), None);
    let r = d.receive(b"lo\rnext");
    assert_eq!(r.echo, b"lo\r\nnext");
    assert!(r.is_readable);
    assert_eq!(d.unread(), 6);
    assert_eq!(d.read(2), Input::Bytes(b"he".to_vec()));
    assert_eq!(read(&mut d).unwrap(), b"llo\n");
    assert_eq!(read(&mut d), None);
}

#[test]
fn editing_keys_change_the_line_and_the_screen() {
    let mut d = Discipline::new();
    let r = d.receive(b"ab\x7fc");
    assert_eq!(r.echo, b"ab\x08 \x08c");
    d.receive(b"\n");
    assert_eq!(read(&mut d).unwrap(), b"ac\n");
    d.receive(b"junk\x15one two\x17x\n");
    assert_eq!(read(&mut d).unwrap(), b"one x\n");
    let r = d.receive(b"\x01\x7f");
    assert_eq!(r.echo, b"^A\x08 \x08\x08 \x08");
    d.receive(b"\x16\x03\n");
    assert_eq!(read(&mut d).unwrap(), b"\x03\n");
    let r = d.receive(b"\x7f");
    assert!(r.echo.is_empty(), "nothing to erase");
}

#[test]
fn multi_byte_characters_are_erased_whole() {
    let mut d = Discipline::new();
    let mut t = d.termios();
    t.iflag |= bits::IUTF8;
    d.set_termios(t);
    d.receive("aé\u{7f}\n".as_bytes());
    assert_eq!(read(&mut d).unwrap(), b"a\n");
}

#[test]
fn end_of_file_returns_what_there_is_then_nothing() {
    let mut d = Discipline::new();
    d.receive(b"ab\x04");
    assert_eq!(read(&mut d).unwrap(), b"ab");
    assert_eq!(read(&mut d), None);
    d.receive(b"\x04");
    assert_eq!(read(&mut d).unwrap(), b"");
}

#[test]
fn keys_send_signals_and_flush() {
    let mut d = Discipline::new();
    d.receive(b"line\npart");
    let r = d.receive(b"\x03");
    assert_eq!(r.signals, [KeySignal::Interrupt]);
    assert_eq!(r.echo, b"^C");
    assert_eq!(read(&mut d), None);
    let r = d.receive(b"\x1c\x1a");
    assert_eq!(r.signals, [KeySignal::Quit, KeySignal::Suspend]);
    let numbers: Vec<u8> = r.signals.iter().map(|s| s.number()).collect();
    assert_eq!(numbers, [3, 20]);
}

#[test]
fn raw_mode_passes_everything() {
    let mut d = raw();
    let r = d.receive(b"\x03\r\x7f\x04");
    assert_eq!((r.echo.len(), r.signals.len()), (0, 0));
    assert_eq!(read(&mut d).unwrap(), b"\x03\r\x7f\x04");
    assert_eq!(read(&mut d), None);
    let mut out = Vec::new();
    d.process_output(b"a\nb", &mut out);
    assert_eq!(out, b"a\nb");
    let mut t = d.termios();
    t.cc[bits::VMIN] = 0;
    d.set_termios(t);
    assert_eq!(read(&mut d).unwrap(), b"");
    t.cc[bits::VMIN] = 3;
    d.set_termios(t);
    assert!(d.receive(b"ab").is_readable, "for those who wait already");
    assert!(!d.is_readable());
    assert_eq!(d.patience().least, 3);
    assert_eq!(d.read(10), Input::Bytes(b"ab".to_vec()));
    assert_eq!(d.read(10), Input::NotYet);
}

#[test]
fn readers_wait_as_long_as_they_are_told() {
    let mut d = raw();
    let mut t = d.termios();
    let mut patience = |min, time| {
        (t.cc[bits::VMIN], t.cc[bits::VTIME]) = (min, time);
        d.set_termios(t);
        let Patience { least, first, next } = d.patience();
        (
            least,
            first.map(|t| t.0 / 1_000_000),
            next.map(|t| t.0 / 1_000_000),
        )
    };
    assert_eq!(patience(0, 0), (1, Some(0), None));
    assert_eq!(patience(0, 3), (1, Some(300), None));
    assert_eq!(patience(5, 0), (5, None, None));
    assert_eq!(patience(5, 255), (5, None, Some(25_500)));
    d.receive(b"a");
    assert!(d.is_readable(), "with a time one byte is enough");
    let canonical = Discipline::new().patience();
    assert_eq!(
        (canonical.least, canonical.first, canonical.next),
        (1, None, None)
    );
}

/// What the device gets for output after `before`, with these flags.
fn output(flags: u32, before: &[u8], bytes: &[u8]) -> String {
    let mut d = Discipline::new();
    let mut t = d.termios();
    t.oflag = bits::OPOST | flags;
    d.set_termios(t);
    let mut out = Vec::new();
    d.process_output(before, &mut out);
    out.clear();
    d.process_output(bytes, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn tabs_become_spaces_up_to_the_next_stop() {
    use bits::{OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, XTABS};
    assert_eq!(output(XTABS, b"", b"\ta\tbc\t"), "        a       bc      ");
    assert_eq!(output(XTABS, b"abcdefg", b"\t\t"), "         ");
    assert_eq!(output(XTABS, b"abc\x08\r", b"\t"), "        ");
    // A new line alone does not go back, unless it does.
    assert_eq!(output(XTABS, b"abc\n", b"\t"), "     ");
    assert_eq!(output(XTABS | ONLRET, b"abc\n", b"\t"), "        ");
    assert_eq!(output(XTABS | ONLCR, b"abc\n", b"\t"), "        ");
    assert_eq!(output(XTABS, b"ab\x01", b"\t"), "      ");
    assert_eq!(output(0, b"", b"\t"), "\t");
    assert_eq!(output(ONOCR, b"", b"\ra\r\rb"), "a\rb");
    assert_eq!(output(OCRNL | ONLRET, b"", b"a\rb"), "a\nb");
    assert_eq!(output(OLCUC, b"", b"aBc\xc3\xa4"), "ABC\u{e4}");
}

#[test]
fn erasing_a_tab_goes_back_over_it() {
    let mut d = Discipline::new();
    let mut out = Vec::new();
    d.process_output(b"name: ", &mut out);
    d.receive(b"a\t");
    assert_eq!(d.receive(b"\x7f").echo, b"\x08");
    d.receive(b"\tbcd\t");
    assert_eq!(d.receive(b"\x7f").echo, b"\x08\x08\x08\x08\x08");
    assert_eq!(d.receive(b"\x15").echo.len(), 3 * 3 + 1 + 3);
    assert_eq!(d.column, 6);
}

#[test]
fn changing_mode_keeps_what_was_typed() {
    let mut d = Discipline::new();
    d.receive(b"half");
    let canonical = d.termios();
    d.set_termios(raw().termios());
    assert_eq!(d.read(2), Input::Bytes(b"ha".to_vec()));
    d.set_termios(canonical);
    assert_eq!(read(&mut d).unwrap(), b"lf");
}

#[test]
fn new_lines_are_put_out_with_carriage_returns() {
    let mut d = Discipline::new();
    let mut out = Vec::new();
    d.process_output(b"one\ntwo\r\n", &mut out);
    assert_eq!(out, b"one\r\ntwo\r\r\n");
}

#[test]
fn input_beyond_the_limit_is_dropped_with_a_bell_but_the_line_can_end() {
    let mut d = Discipline::new();
    let r = d.receive(&[b'x'; 5000]);
    assert_eq!(r.echo.last(), Some(&7));
    d.receive(b"\n");
    let Input::Bytes(line) = d.read(10_000) else {
        panic!("a line");
    };
    assert_eq!((line.len(), line.last()), (4096, Some(&b'\n')));
}
