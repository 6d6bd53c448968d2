//! The actions, one after the other: where each file goes, then all of them written at once.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use graph::{Copy, FileAction, MakeDir, MakeFile, Unpack};
use rustix::fs::FileType;
use snapshot::copy::{Placing, Plan, Source, Writing, Written, path};
use snapshot::{DiffOptions, Limits, Mtime, Owner, Tap, UnpackOptions, View};

use super::chmod::Chmod;
use super::select::{Selected, Tree};
use super::{Done, Error, Options, Prepared, is_directory, owner};
use crate::user;

/// Permission bits of directories that have to be made.
const MADE: u32 = 0o755;

impl Prepared<'_> {
    /// Carries the actions out: `options.out` becomes a layer directory.
    ///
    /// # Errors
    /// What does not go together (a file where a directory is to go, …), a user that the image does not have, what
    /// cannot be read or written. `options.out` is then in no good state.
    pub fn run(mut self, options: &Options<'_>) -> Result<Done, Error> {
        let view = match options.base {
            [] => None,
            lowers => Some(View::open(lowers)?),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Mtime { sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nsec: now.subsec_nanos() };
        let base = view.as_ref().map(|view| Source::image(view, "the image"));
        let trees: Vec<Option<Source<'_>>> =
            self.trees.iter().map(|t| t.as_ref().map(Tree::source)).collect();
        let mut layer = Layer {
            prepared: &self,
            options,
            base: view.as_ref(),
            plan: Plan::new(base, now, options.epoch)?,
            numbers: Vec::new(),
            written: None,
            notes: Vec::new(),
            unpacked: false,
            now,
        };
        for source in trees {
            // Numbers of the plan's sources are those of the inputs; one that is not used is never asked.
            layer.numbers.push(source.map(|source| layer.plan.add_source(source)));
        }
        for (action, selected) in self.op.actions.iter().zip(&self.selected) {
            match action {
                FileAction::Copy(copy) => layer.copy(copy, selected)?,
                FileAction::MakeDir(make) => layer.make_dir(make)?,
                FileAction::MakeFile(make) => layer.make_file(make)?,
            }
        }
        let (stat, numbers, notes) = layer.finish()?;
        self.done(stat, &numbers, notes)
    }

    /// Takes in what was read while it was copied, and says what was made.
    fn done(
        &mut self,
        (stat, written): (snapshot::LayerStat, Written),
        numbers: &[Option<u16>],
        notes: Vec<String>,
    ) -> Result<Done, Error> {
        let Written { read, linked, uncertain, found, .. } = written;
        let mut by_source: Vec<Vec<_>> = self.trees.iter().map(|_| Vec::new()).collect();
        for one in read {
            let input = numbers.iter().position(|number| *number == Some(one.source));
            by_source[input.expect("because the plan's sources are the inputs")].push(one);
        }
        for (number, read) in by_source.into_iter().enumerate() {
            if let Some(Tree::Context(context)) = &self.trees[number] {
                context.learn(read.iter(), self.started);
                context.save();
            }
            self.contents[number].learn(read.into_iter());
        }
        let content = match uncertain {
            true => None,
            false => self.content()?,
        };
        Ok(Done { stat, content, found, notes, linked })
    }
}

/// The layer while it is put together.
struct Layer<'l, 'a> {
    prepared: &'l Prepared<'a>,
    options: &'l Options<'l>,
    base: Option<&'l View>,
    plan: Plan<'l>,
    /// The plan's number of each input.
    numbers: Vec<Option<u16>>,
    /// What was written already, before an archive was unpacked.
    written: Option<Written>,
    notes: Vec<String>,
    /// Whether there was an archive, so that not all of the layer went through our hands.
    unpacked: bool,
    now: Mtime,
}

impl Layer<'_, '_> {
    fn copy(&mut self, copy: &Copy, selected: &[Selected]) -> Result<(), Error> {
        let owner = self.owner(copy.owner.as_deref())?;
        let chmod = chmod(copy.mode.as_deref())?;
        let tree = self.prepared.tree(copy.from);
        for one in selected {
            if copy.unpack == Unpack::IfArchive && is_archive(tree, one) {
                self.unpack(tree, one, &copy.dest, owner)?;
                continue;
            }
            self.place(copy, one, owner, chmod.as_ref())?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        copy: &Copy,
        one: &Selected,
        owner: Option<Owner>,
        chmod: Option<&Chmod>,
    ) -> Result<(), Error> {
        let tree = self.prepared.tree(copy.from);
        let contents = &self.prepared.contents[copy.from as usize];
        let known = |path: &[u8], stat: &snapshot::copy::FileStat| contents.digest(tree, path, stat);
        let mode = chmod.map(|chmod| move |mode: u32, is_dir: bool| chmod.apply(mode, is_dir));
        // A context's files are root's anyway; an image's are too, unless their owners are to be kept.
        let root = (!copy.keep_owner).then_some(Owner::ROOT);
        let how = Placing {
            source: self.numbers[copy.from as usize].expect("because this input is copied from"),
            owner: owner.or(root),
            mode: mode.as_ref().map(|mode| mode as &dyn Fn(u32, bool) -> u32),
            digest: &known,
        };
        let made = Made { owner: owner.unwrap_or_default(), mode: made_mode(chmod) };
        let to = self.destination(&copy.dest, &made)?;
        match &one.listings {
            Some(listings) => {
                if self.plan.is_dir(&to)?.is_none() {
                    self.plan.make_dir(&to, made.mode, made.owner)?;
                }
                self.plan.place_content(listings, &one.stat, &to, &how)?;
            }
            None => {
                let to = self.file_destination(to, &one.name, &made)?;
                self.plan.place_file(&one.path, &one.stat, &to, &how)?;
            }
        }
        Ok(())
    }

    fn make_dir(&mut self, make: &MakeDir) -> Result<(), Error> {
        let owner = match self.owner(make.owner.as_deref()) {
            // BuildKit makes a WORKDIR root's where the image does not know the USER; a RUN will tell.
            Err(
                Error::Owner(user::Error::NoUser(_) | user::Error::NoGroup(_))
                | Error::OwnerUnseen(user::Error::NoUser(_) | user::Error::NoGroup(_)),
            ) => None,
            owner => owner?,
        };
        let at = self.plan.resolve(make.path.as_bytes())?;
        Ok(self.plan.make_dir(&at, make.mode & 0o777, owner.unwrap_or_default())?)
    }

    fn make_file(&mut self, make: &MakeFile) -> Result<(), Error> {
        let owner = self.owner(make.owner.as_deref())?.unwrap_or_default();
        let chmod = chmod(make.mode.as_deref())?;
        let made = Made { owner, mode: made_mode(chmod.as_ref()) };
        let to = self.destination(&make.dest, &made)?;
        let to = self.file_destination(to, make.name.as_bytes(), &made)?;
        let mode = chmod.map_or(0o644, |chmod| chmod.apply(0o644, false));
        Ok(self.plan.make_file(&to, Arc::from(make.data.as_bytes()), mode, owner)?)
    }

    /// Where a destination leads, the directories above it made; itself too, if it says that it is one.
    fn destination(&mut self, dest: &str, made: &Made) -> Result<Vec<u8>, Error> {
        let cleaned = path::clean(dest.as_bytes());
        let dir = if is_directory(dest) { &cleaned } else { path::split(&cleaned).0 };
        let dir = self.plan.resolve(dir)?;
        self.plan.make_dir(&dir, made.mode, made.owner)?;
        Ok(self.plan.resolve(&cleaned)?)
    }

    /// Where a file goes: into a directory, under its name, or in the place of what is there.
    fn file_destination(&mut self, to: Vec<u8>, name: &[u8], made: &Made) -> Result<Vec<u8>, Error> {
        let to = match self.plan.is_dir(&to)? {
            Some(true) => path::join(&to, name),
            _ => to,
        };
        // A link may have led to where there is not even a directory.
        self.plan.make_dir(path::split(&to).0, made.mode, made.owner)?;
        Ok(to)
    }

    fn unpack(
        &mut self,
        tree: &Tree<'_>,
        one: &Selected,
        dest: &str,
        owner: Option<Owner>,
    ) -> Result<(), Error> {
        let to = self.plan.resolve(&path::clean(dest.as_bytes()))?;
        self.plan.make_dir(&to, MADE, owner.unwrap_or_default())?;
        self.write()?;
        self.unpacked = true;
        let archive = tree.source().open_file(&one.path)?;
        let options = UnpackOptions {
            lowers: self.options.base.to_vec(),
            limits: Limits::default(),
            ids: self.options.mode,
            chown: owner,
            made: (owner.unwrap_or_default(), MADE, self.now),
        };
        let notes = snapshot::unpack_into(std::fs::File::from(archive), self.options.out, &to, &options)?;
        self.notes.extend(notes.lines());
        Ok(self.plan.load(self.options.out)?)
    }

    /// Writes what is planned so far.
    fn write(&mut self) -> Result<(), Error> {
        let Options { out, mode, previous, search, keep_digests, stop, .. } = *self.options;
        let mut written = self.plan.write(&Writing { out, mode, previous, search, keep_digests, stop })?;
        if let Some(before) = self.written.take() {
            written.read.extend(before.read);
            written.linked += before.linked;
            written.uncertain |= before.uncertain;
        }
        self.written = Some(written);
        Ok(())
    }

    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    fn finish(mut self) -> Result<((snapshot::LayerStat, Written), Vec<Option<u16>>, Vec<String>), Error> {
        self.write()?;
        let mut written = self.written.take().expect("because it was just written");
        let stat = match (&written.stat, self.unpacked) {
            (Some(stat), false) => stat.clone(),
            _ => {
                snapshot::normalize(self.options.out, self.options.epoch)?;
                let mut tap = Tap::new(self.options.search);
                let stat = snapshot::diff(self.options.out, &mut tap, &DiffOptions::default())?;
                written.found = tap.found();
                stat
            }
        };
        Ok(((stat, written), self.numbers, self.notes))
    }

    fn owner(&self, spec: Option<&str>) -> Result<Option<Owner>, Error> {
        spec.map(|spec| owner::lookup(spec, self.base)).transpose()
    }
}

/// Directories that have to be made.
struct Made {
    owner: Owner,
    mode: u32,
}

/// Permission bits of directories that have to be made: those asked for, as BuildKit has it since 0.21.
fn made_mode(chmod: Option<&Chmod>) -> u32 {
    chmod.map_or(MADE, |chmod| chmod.apply(MADE, true) & 0o777)
}

fn chmod(mode: Option<&str>) -> Result<Option<Chmod>, Error> {
    mode.map(|text| Chmod::parse(text).ok_or_else(|| Error::Mode(text.to_owned()))).transpose()
}

/// Whether a source is an archive to be unpacked: a tar with at least one entry, compressed or not, whatever its name.
fn is_archive(tree: &Tree<'_>, one: &Selected) -> bool {
    one.listings.is_none()
        && one.stat.kind() == FileType::RegularFile
        && tree
            .source()
            .open_file(&one.path)
            .is_ok_and(|file| snapshot::is_archive(std::fs::File::from(file)))
}
