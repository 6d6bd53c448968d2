//! A secret's bytes in a layer fail the build.

use crate::project::Project;

const SECRET: &str = "correct-horse-battery";

fn project(step: &str) -> Project {
    Project::new(&[
        ("Dockerfile", &format!("FROM busybox\nRUN echo before\n{step}\n")),
        ("secret", &format!("{SECRET}\n")),
        ("copied/config", &format!("user = me\npassword = {SECRET}\n")),
    ])
}

#[test]
fn wherever_it_is_it_is_found() {
    let mount = "RUN --mount=type=secret,id=key,env=KEY";
    for (step, place) in [
        (format!("{mount} mkdir /d; echo \"x$KEY\" > /d/f"), "/d/f"),
        // Far into a file, over the ends of what is read at once.
        (format!("{mount} (head -c 262140 /dev/zero; echo $KEY) > /far"), "/far"),
        (format!("{mount} ln -s $KEY /link"), "/link (as where the link leads)"),
        (format!("{mount} touch /name-$KEY"), "/name-**** (in its name)"),
        (format!("{mount} printf 'a%s' \"$KEY\" | base64 > /coded"), "/coded"),
        ("COPY copied /etc/copied".to_owned(), "/etc/copied/config"),
    ] {
        let project = project(&step);
        let said = project.refused(&["--secret", "id=key,src=secret"]);
        let expected = format!("secret \"key\" was found in the layer that this step made: {place}");
        assert!(said.contains(&expected), "{step}: {said}");
        assert!(said.contains("Dockerfile:3") && said.contains("--allow secret-in-layer"), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn no_layer_of_it_is_left() {
    let project = project("RUN --mount=type=secret,id=key cp /run/secrets/key /leaked");
    project.refused(&["--secret", "id=key,src=secret"]);
    project.refused(&["--secret", "id=key,src=secret"]);
    let found =
        std::process::Command::new("grep").args(["-rl", SECRET]).arg(project.store.root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn what_is_meant_is_allowed_and_what_is_short_is_told_of() {
    let project = project("RUN --mount=type=secret,id=key cp /run/secrets/key /meant");
    project.built(&["--secret", "id=key,src=secret", "--allow", "secret-in-layer"]);
    assert_eq!(project.sh("cat /meant"), format!("{SECRET}\n"));
    project.write("secret", "short\n");
    let said = project.built(&["--no-cache", "--secret", "id=key,src=secret"]);
    assert!(said.contains("secret \"key\" is shorter than 8 bytes"), "{said}");
}

#[test]
fn using_it_is_fine() {
    let project = project(
        "RUN --mount=type=secret,id=key --mount=type=cache,target=/c sha256sum /run/secrets/key > /sum; cp /run/secrets/key /c/; cp /run/secrets/key /dev/shm/",
    );
    project.built(&["--secret", "id=key,src=secret"]);
    assert_eq!(project.sh("wc -l < /sum"), "1\n");
}
