//! Routes that put files out of bodies: one file, several, those of an archive, or those that one is cut into.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Changes, PutMode, Putting, Reference, Split, Table, Untar, at_path, join};
use spout_format::Format;

use crate::{
    Error,
    answer::{Answer, Failure, Json},
    endpoint::Endpoint,
    form::Form,
    guard::Caller,
    incoming::Incoming,
    request::{Asked, Names},
};

/// Files that one form may have.
const MOST: u64 = 10_000;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::put(
            "/v1/repos/{repo}/files/{at}/{*path}",
            "Puts a file, in a commit of its own or a started one.",
            one,
        )
        .asks::<How>()
        .asks::<As>()
        .takes_bytes("application/octet-stream")
        .gives::<Changes>(),
        Endpoint::post(
            "/v1/repos/{repo}/files/{at}",
            "Puts several files in one commit: the parts of a form, each named by its path.",
            several,
        )
        .asks::<How>()
        .takes_form()
        .gives::<Changes>(),
        Endpoint::put("/v1/repos/{repo}/tar/{at}", "Puts the files of a tar archive in one commit.", archive)
            .asks::<How>()
            .asks::<Called>()
            .takes_bytes("application/octet-stream")
            .gives::<Changes>(),
        Endpoint::put(
            "/v1/repos/{repo}/tar/{at}/{*path}",
            "Puts the files of a tar archive below a directory, in one commit.",
            archive_below,
        )
        .asks::<How>()
        .asks::<Called>()
        .takes_bytes("application/octet-stream")
        .gives::<Changes>(),
        Endpoint::put(
            "/v1/repos/{repo}/split/{at}/{*path}",
            "Puts an input as many files below a directory, each with some of its records, in one commit.",
            split,
        )
        .asks::<How>()
        .asks::<Split>()
        .takes_bytes("application/octet-stream")
        .gives::<Changes>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct How {
    /// Whether what is put is added behind what is there, instead of taking its place.
    #[serde(default)]
    append: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct As {
    /// The format of what is sent, whose rows are put as a table; without it, the bytes are put as they are.
    #[serde(default)]
    table: Option<Format>,
    /// How errors call it.
    #[serde(default = "body")]
    name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Called {
    /// How errors call it.
    #[serde(default = "body")]
    origin: String,
}

fn body() -> String {
    "the body".to_owned()
}

fn how(append: bool) -> PutMode {
    if append { PutMode::Append } else { PutMode::Overwrite }
}

/// The path of a reference that was made of one.
fn path(to: &Reference) -> &str {
    to.path.as_deref().unwrap_or("/")
}

/// Makes visible what was put, if all of it was.
async fn finished(putting: Box<dyn Putting + '_>, put: Result<(), Failure>) -> Answer<Json<Changes>> {
    put?;
    Ok(Json(putting.finish().await?))
}

async fn one(
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    (Asked(asked), Asked(r#as)): (Asked<How>, Asked<As>),
    mut body: Incoming,
) -> Answer<Json<Changes>> {
    let put = async {
        let to = at_path(&repo, &at, Some(&path))?;
        let mut putting = caller.local.put(&to).await?;
        let (path, how) = (self::path(&to), how(asked.append));
        let put = match r#as.table {
            None => putting.file(path, how, body.bytes()).await.map(drop),
            // Its footer can ask for more memory than there is, which ends the process.
            Some(Format::Arrow) => {
                let why = "a server reads no Arrow files; send Parquet, CSV or NDJSON".to_owned();
                return Err(Error::Request { why }.into());
            }
            Some(format) => {
                let file = body.spooled().await.map_err(|source| spout_api::unreadable(path, source))?;
                putting.table(path, how, Table { file, name: &r#as.name, format }).await
            }
        };
        finished(putting, put.map_err(Into::into)).await
    };
    let put = put.await;
    body.ended(put).await
}

async fn several(
    caller: Caller,
    Names((repo, at)): Names<(String, String)>,
    Asked(asked): Asked<How>,
    headers: HeaderMap,
    mut body: Incoming,
) -> Answer<Json<Changes>> {
    let put = async {
        let mut putting = caller.local.put(&at_path(&repo, &at, None)?).await?;
        let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
        let form = Form::new(media.unwrap_or_default(), body.bytes());
        let put = parts(&mut *putting, how(asked.append), form).await;
        finished(putting, put).await
    };
    let put = put.await;
    body.ended(put).await
}

async fn parts(putting: &mut dyn Putting, how: PutMode, form: Result<Form<spout_api::Body<'_>>, String>) -> Answer<()> {
    let wrong = |why: String| Failure::from(Error::Request { why });
    let mut form = form.map_err(wrong)?;
    let mut files = 0_u64;
    while let Some(part) = form.next().await.map_err(wrong)? {
        if files == MOST {
            return Err(wrong(format!("the form has more than {MOST} parts; send several, or an archive")));
        }
        let name = match part.file.filter(|_| part.name.ends_with('/')) {
            Some(file) => join(&part.name, &file),
            None => part.name,
        };
        let path = spout_repo::path::file_path(&name).map_err(spout_api::Error::from)?;
        let put = putting.file(&path, how, Box::new(form.content())).await;
        if let Some(why) = form.broken() {
            return Err(wrong(why));
        }
        put?;
        files += 1;
    }
    if files == 0 { Err(spout_api::Error::NoFiles { origin: "the form".into(), what: "files" }.into()) } else { Ok(()) }
}

async fn archive(
    caller: Caller,
    Names((repo, at)): Names<(String, String)>,
    asked: (Asked<How>, Asked<Called>),
    body: Incoming,
) -> Answer<Json<Changes>> {
    unpack(&caller, at_path(&repo, &at, None), asked, body).await
}

async fn archive_below(
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    asked: (Asked<How>, Asked<Called>),
    body: Incoming,
) -> Answer<Json<Changes>> {
    unpack(&caller, at_path(&repo, &at, Some(&path)), asked, body).await
}

async fn unpack(
    caller: &Caller,
    to: spout_api::Result<Reference>,
    (Asked(asked), Asked(called)): (Asked<How>, Asked<Called>),
    mut body: Incoming,
) -> Answer<Json<Changes>> {
    let most = body.limit;
    let put = async {
        let to = to?;
        let mut putting = caller.local.put(&to).await?;
        let untar = Untar { origin: &called.origin, below: path(&to), how: how(asked.append), most };
        let put = putting.archive(untar, body.bytes()).await;
        finished(putting, put.map_err(Into::into)).await
    };
    let put = put.await;
    body.ended(put).await
}

async fn split(
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    (Asked(asked), Asked(split)): (Asked<How>, Asked<Split>),
    mut body: Incoming,
) -> Answer<Json<Changes>> {
    let put = async {
        let to = at_path(&repo, &at, Some(&path))?;
        let mut putting = caller.local.put(&to).await?;
        let put = putting.split(self::path(&to), how(asked.append), split, body.bytes()).await;
        finished(putting, put.map_err(Into::into)).await
    };
    let put = put.await;
    body.ended(put).await
}
