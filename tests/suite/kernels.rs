//! Kernels of the host from C and from Python: what `frozen/plugins.rs` has of a plugin in Rust.

use anyhow::{Result, ensure};
use spout_tests::Site;

use crate::authors::{with_c, with_python};

/// A handler that does each deed of `tests/guests/kernels`.
const IN_C: &str = r#"#include <spout.h>
#include <string.h>

void *spout_open(const void *state, size_t length) { (void)state, (void)length; return "open"; }

bool spout_process(void *self, spout_rows *rows, spout_out *out) {
  (void)self, (void)out;
  const char *deed = spout_setting("deed");
  spout_held *n = spout_hold(rows, "n"), *t = spout_hold(rows, "t"), *large = spout_compare_int(n, SPOUT_GREATER_OR_EQUAL, 500);
  if (strcmp(deed, "select") == 0) return spout_select(rows, large);
  if (strcmp(deed, "combine") == 0)
    return spout_select(rows, spout_both(spout_negate(large), spout_either(spout_matches(t, "[0-9]"), spout_nulls(t))));
  if (strcmp(deed, "columns") == 0)
    return spout_add_held(rows, "masked", spout_mask(t, 1, 1, '*')) && spout_add_held(rows, "hashed", spout_hashed(t, (spout_text){"salt", 4})) &&
           spout_add_held(rows, "replaced", spout_replace(t, "[0-9]+", "<$0>")) && spout_add_held(rows, "n", spout_cast(n, "utf8")) &&
           spout_add_held(rows, "same", spout_compare_columns(n, SPOUT_EQUAL, n));
  if (strcmp(deed, "wrong-type") == 0) return spout_select(rows, spout_both(large, spout_matches(n, "a")));
  if (strcmp(deed, "missing") == 0) return spout_select(rows, spout_nulls(spout_hold(rows, "nothing")));
  if (strcmp(deed, "text") == 0) return spout_select(rows, spout_compare_text(t, SPOUT_EQUAL, (spout_text){"bob", 3}));
  return spout_fail("there is no deed `%s`", deed);
}
"#;

const IN_PYTHON: &str = r#"from spout import Handler, add


class Kernels(Handler):
    """Has the host compute."""

    class Settings:
        deed: str

    def process(self, rows):
        n, t = rows.held("n"), rows.held("t")
        match self.settings.deed:
            case "select":
                return n >= 500
            case "combine":
                return ~(n >= 500) & (t.matches("[0-9]") | t.is_null())
            case "columns":
                return add(masked=t.mask(1, 1), hashed=t.hash(b"salt"), replaced=t.replace("[0-9]+", "<$0>"), n=n.cast("utf8"), same=n == n)
            case "wrong-type":
                return (n >= 500) & n.matches("a")
            case "missing":
                return rows.held("nothing").is_null()
            case "text":
                return (t == "bob").truths()
"#;

/// What each deed leaves of the rows, and what it says where it cannot; a column that is `missing` ends with that status.
fn does_the_deeds(site: &Site, plugin: &str, missing: i32) -> Result<()> {
    site.write("in/rows.ndjson", "{\"n\":1,\"t\":\"ann 12\"}\n{\"n\":null,\"t\":\"bob\"}\n{\"n\":700,\"t\":null}\n")?;
    let spec = |deed: &str| -> Result<String> {
        let (name, file) = (format!("{plugin}-{deed}"), format!("{plugin}-{deed}.yaml"));
        let text = format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false}}}}
  decoder: {{type: json, schema: {{n: int64, t: utf8}}}}
node: [{{type: plugin, plugin: {plugin}, stateless: true, settings: {{deed: {deed}}}}}]
grants: {{files: {{dirs: {{in: ./in}}}}}}
"
        );
        site.write(&file, text)?;
        Ok(file)
    };
    let rows = |deed: &str| -> Result<Vec<String>> {
        site.ok(&["run", &spec(deed)?, "--until", "ended"])?;
        site.rows(&format!("select * from \"{plugin}-{deed}\" order by t nulls last"), None)
    };
    let made = rows("columns")?;
    let expected = [
        r#"{"n":"1","t":"ann 12","masked":"a****2","hashed":"42a4d2045f2bfb06c9df8ff9ecbe781dfb0366befc0e93628ca14dd89baeeb55","replaced":"ann <12>","same":true}"#,
        r#"{"t":"bob","masked":"b*b","hashed":"07a2341cc0c47680c9c518fc4c5b003d2ab75b2d45d15f933224621584f69b6a","replaced":"bob"}"#,
        r#"{"n":"700","same":true}"#,
    ];
    ensure!(made == expected, "{made:?}");
    for (deed, expected) in
        [("select", r#"{"n":700}"#), ("combine", r#"{"n":1,"t":"ann 12"}"#), ("text", r#"{"t":"bob"}"#)]
    {
        let found = rows(deed)?;
        ensure!(found == [expected], "{deed}: {found:?}");
    }
    site.fails(&["run", &spec("wrong-type")?, "--until", "ended"], 1, &["kernel.type", "text"])?;
    site.fails(&["run", &spec("missing")?, "--until", "ended"], missing, &["there is no column `nothing`"]).map(drop)
}

#[test]
fn a_plugin_in_c_has_the_host_compute() -> Result<()> {
    let Some(site) = with_c()? else { return Ok(()) };
    let about = r#"{"name": "kernels-c", "kind": "handler", "summary": "has the host compute", "settings": {"deed": {"type": "string"}}}"#;
    site.write("kernels-c/spout.json", about)?;
    site.write("kernels-c/plugin.c", IN_C)?;
    site.ok(&["plugin", "build", "kernels-c"])?;
    does_the_deeds(&site, "kernels-c", 1)
}

#[test]
fn a_plugin_in_python_has_the_host_compute() -> Result<()> {
    let Some(site) = with_python()? else { return Ok(()) };
    site.ok(&["plugin", "new", "kernels-py", "--handler", "--lang", "python", "--dir", "kernels-py"])?;
    site.write("kernels-py/plugin.py", IN_PYTHON)?;
    site.ok(&["plugin", "build", "kernels-py"])?;
    does_the_deeds(&site, "kernels-py", 2)
}
