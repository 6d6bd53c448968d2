//! The language over nested values: what the rows of a list do not show, as `inspect --format` uses it.

use gotemplate::{Options, Shape, Template, align};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(field: &str) -> Shape {
    match field {
        "Labels" => Shape::TextMap,
        "Ports" => Shape::Map,
        "Cmd" | "Entrypoint" => Shape::List,
        "Author" => Shape::Text,
        "Healthcheck" => Shape::Pointer,
        _ => Shape::Any,
    }
}

fn data() -> Value {
    json!({
        "Id": "sha256:abc",
        "Size": 1234,
        "Tags": ["a:1", "b:2"],
        "Config": {
            "Cmd": ["/bin/sh", "-c", "true"],
            "Entrypoint": null,
            "Labels": {"z": "26", "com.example.x": "y"},
            "Odd": null
        },
        "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": null},
        "State": {"Running": true, "ExitCode": 0}
    })
}

fn render(template: &str) -> String {
    let options = Options {
        schema,
        aliases: &[("ID", "Id")],
        methods: &[("Label", |row, args| match args {
            [Value::String(name)] => Ok(row["Config"]["Labels"][name.as_str()].clone()),
            _ => Err("wrong number of args for Label: want 1".to_owned()),
        })],
        ..Options::default()
    };
    match Template::parse(template).and_then(|parsed| parsed.render(&data(), &options)) {
        Ok(text) => text,
        Err(error) => format!("ERROR {error}"),
    }
}

#[test]
fn nested_values() {
    for (template, expected) in [
        ("{{.ID}}", "sha256:abc"),
        ("{{.Id}} {{.Config.Cmd}}", "sha256:abc [/bin/sh -c true]"),
        ("{{json .Config.Labels}}", r#"{"z":"26","com.example.x":"y"}"#),
        ("{{json .Config.Entrypoint}} {{.Config.Entrypoint}}", "null []"),
        ("{{len .Config.Entrypoint}}{{range .Config.Entrypoint}}x{{else}}none{{end}}", "0none"),
        ("{{index .Config.Labels \"com.example.x\"}}", "y"),
        ("<{{index .Config.Labels \"no\"}}>", "<>"),
        ("{{.Config.Labels.z}} {{.Config.Labels.no}}", "26 <no value>"),
        ("{{.Config.Odd}} {{json .Config.Odd}}", "<no value> null"),
        ("{{.Config.Healthcheck}}{{if .Config.Healthcheck}}yes{{end}}|{{.Author}}|", "<nil>||"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "com.example.x=y z=26 "),
        ("{{range .Tags}}{{.}} {{$.Id}};{{end}}", "a:1 sha256:abc;b:2 sha256:abc;"),
        ("{{range $i, $t := .Tags}}{{if $i}},{{end}}{{$t}}{{end}}", "a:1,b:2"),
        ("{{join .Tags \", \"}}|{{.Tags | json}}", "a:1, b:2|[\"a:1\",\"b:2\"]"),
        ("{{with .State}}{{.Running}} {{.ExitCode}}{{end}}", "true 0"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        (
            "{{range $p, $c := .Ports}}{{$p}}{{with $c}}->{{(index . 0).HostPort}}{{end}} {{end}}",
            "443/tcp 80/tcp->8080 ",
        ),
        (
            "{{range $i, $x := .Tags}}{{range $.Tags}}{{if eq . $x}}{{continue}}{{end}}{{.}}{{break}}{{end}}{{end}}",
            "b:2a:1",
        ),
        ("{{$n := 0}}{{range .Tags}}{{$n = len .}}{{end}}{{$n}}", "3"),
        (
            "{{if and .State.Running (gt .Size 1000)}}big{{else if .State.Running}}small{{else}}off{{end}}",
            "big",
        ),
        ("{{.Label \"z\"}} {{\"z\" | .Label}}", "26 26"),
        ("{{eq .Size 1234}} {{lt .Size 99}} {{ge .Size 1234}}", "true false true"),
        ("{{.State}}", "map[ExitCode:0 Running:true]"),
        ("a {{- /* gone */ -}} b{{/* also */}}", "ab"),
        ("{{slice .Id 7}} {{index .Tags 1}} {{len .Tags}}", "abc b:2 2"),
    ] {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn errors_say_where() {
    for (template, expected) in [
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        (
            "x\n {{.Config.Foo}}",
            "template: :2:10: executing \"\" at <.Config.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Config.Odd.X}}",
            "template: :1:9: executing \"\" at <.Config.Odd.X>: nil pointer evaluating interface {}.X",
        ),
        ("{{.Id 1}}", "template: :1:2: executing \"\" at <.Id>: Id is not a method but has arguments"),
        ("{{.Label}}", "template: :1:2: executing \"\" at <.Label>: wrong number of args for Label: want 1"),
        (
            "{{index .Tags 7}}",
            "template: :1:2: executing \"\" at <index .Tags 7>: error calling index: index out of range: 7",
        ),
        (
            "{{index .Ports 7}}",
            "template: :1:2: executing \"\" at <index .Ports 7>: error calling index: value has type int; should be string",
        ),
        ("{{define \"x\"}}{{end}}", "template: :1:0: {{define}} is not supported: write the text in place"),
        ("one\n{{if}}{{end}}", "template: :2:4: missing value for if"),
    ] {
        assert_eq!(render(template), format!("ERROR {expected}"), "{template}");
    }
}

#[test]
fn a_template_is_bounded() {
    let deep = format!("{{{{{}1{}}}}}", "(".repeat(500), ")".repeat(500));
    assert!(render(&deep).contains("nested deeper than"), "{}", render(&deep));
    let blocks = format!("{}{}", "{{if 1}}".repeat(500), "{{end}}".repeat(500));
    assert!(render(&blocks).contains("nested deeper than"));
    assert!(render("{{range 99999999999}}{{end}}").contains("passes of loops"));
    assert!(render("{{range 999999}}{{printf \"%1000d\" 1}}{{end}}").contains("output above"));
    let doubling = "{{$x := \"xxxxxxxx\"}}{{range 100}}{{$x = print $x $x}}{{end}}";
    assert!(render(doubling).contains("is too long"));
    assert_eq!(render("{{printf \"%9999999d\" 1}}"), "%!(BADWIDTH)1");
}

#[test]
fn a_table_header_keeps_names() {
    let options = Options { header: true, ..Options::default() };
    let header = json!({"ID": "IMAGE ID", "Tag": "TAG"});
    let template =
        Template::parse("{{lower .ID}}\t{{json .Tag}}\t{{truncate .ID 2}}{{pad .Tag 1 1}}|{{.No}}x")
            .expect("a template");
    assert_eq!(template.render_partial(&header, &options), "IMAGE ID\tTAG\tIMAGE ID TAG |");
    assert!(template.names_field("No") && !template.names_field("Nope"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in "(\\{\\{-? ?|-?\\}\\}|\\.[A-Z]|[a-z]{1,3}|if|range|end|with|else|printf|index|slice|\\$x|:=|=|[0-9()|,\"'`%.*\\[\\]-]| |\n|\\PC){0,40}") {
        let _ = render(&text);
    }

    #[test]
    fn no_action_panics(words in prop::collection::vec(prop::sample::select(vec![
        ".", ".Id", ".Tags", ".Ports", ".Config.Labels", "nil", "true", "0", "-1", "3.5", "\"a\"", "\"%5.3q%*d%[2]x\"",
        "index", "slice", "printf", "print", "len", "join", "split", "eq", "lt", "and", "or", "not", "json",
        "pad", "truncate", "title", "upper", "(", ")", "|", "$", "$x :=",
    ]), 0..12)) {
        let _ = render(&format!("{{{{{}}}}}", words.join(" ")));
    }

    #[test]
    fn no_printf_panics(format in "(%[-+# 0]{0,2}([0-9]{0,3}|\\*)(\\.([0-9]{0,4}|\\*))?(\\[[0-9]?\\])?[a-zA-Z%]?|.){0,6}", number: f64, text in "\\PC{0,8}") {
        let template = Template::parse("{{printf .F .N .S .I .L nil}}").expect("a template");
        let data = json!({"F": format, "N": number, "S": text, "I": -7, "L": ["a", 2]});
        let _ = template.render(&data, &Options::default());
    }

    #[test]
    fn aligned_text_keeps_its_lines(text in "[a-z\t\n]{0,60}") {
        prop_assert_eq!(align(&text).matches('\n').count(), text.matches('\n').count());
    }
}
