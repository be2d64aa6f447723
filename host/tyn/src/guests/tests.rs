use super::*;

fn record(name: &str) -> Record {
    Record {
        name: name.into(),
        image: "/x/app.img".into(),
        pid: 1,
        qemu_pid: 2,
        started: 3,
        cpus: 1,
        memory_bytes: 4096,
        ports: vec![Port { host: 1, guest: 2 }],
        interactive: false,
        ended: None,
    }
}

fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn folders_tell_running_ended_and_lost_apart() {
    let dir = tempfile::tempdir().unwrap();
    let guests = Guests {
        root: dir.path().join("state/tyn"),
    };
    assert!(guests.list().unwrap().is_empty());
    let image = Path::new("/x/app.img");
    let first = guests.reserve(None, image).unwrap();
    // Nothing is known of it yet.
    assert!(guests.list().unwrap().is_empty());
    first.write(&record(&first.name)).unwrap();
    // No name is ours.
    guests.reserve(Some("lock"), image).unwrap().remove();
    assert!(check_name(ROOT_LOCK).is_err());
    let second = guests.reserve(None, image).unwrap();
    second.write(&record(&second.name)).unwrap();
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("app", "app-2")
    );
    assert!(text(guests.reserve(Some("app"), image)).contains("a guest app runs already"));
    assert!(text(guests.remove(Some("app"))).contains("the guest app runs; stop it"));
    assert!(
        text(guests.find_by_name_or_image("/x/app.img"))
            .contains("such as app and app-2; name one")
    );
    let mut ended = record("app-2");
    ended.ended = Some(Ended {
        at: 4,
        code: 0,
        how: "exited".into(),
    });
    second.write(&ended).unwrap();
    drop(second);
    assert_eq!(
        guests
            .find_by_name_or_image("/x/app.img")
            .unwrap()
            .record
            .name,
        "app"
    );
    // As if its supervisor had been killed.
    drop(first);
    let status: Vec<_> = guests.list().unwrap().iter().map(|g| g.status).collect();
    assert_eq!(status, [Status::Lost, Status::Ended]);
    // It makes way for another one.
    let again = guests.reserve(Some("app"), image).unwrap();
    assert_eq!(guests.list().unwrap().len(), 1);
    assert_eq!(guests.remove(None).unwrap(), ["app-2"]);
    again.remove();
    assert!(text(guests.remove(Some("app"))).starts_with("there is no guest app;"));
}

#[test]
fn names_are_plain() {
    for (image, want) in [
        ("/a/my_app.img", "my_app"),
        ("ä b.img", "b"),
        ("-.img", "guest"),
        ("", "guest"),
        ("1.2.img", "1.2"),
    ] {
        assert_eq!(name_of(Path::new(image)), want);
    }
    for name in ["", "-a", "a/b", "..", "a b", &"x".repeat(64)] {
        assert!(text(check_name(name)).contains("is no name for a guest"));
    }
}
