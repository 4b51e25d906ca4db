//! A log whose writer and worker do as they are told, one step after the other.

use super::*;

pub(super) struct Led {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) worker: Worker,
}

impl Led {
    pub(super) fn open(files: &Arc<Ram>, options: Options) -> Result<Self, LogError> {
        let files: Arc<dyn Files> = files.clone();
        let Recovered { index, tail, .. } = recovery::recover(&*files, Log::Market, &options)?;
        let shared = Arc::new(Shared::new(Log::Market, Arc::clone(&files), index));
        shared.chores.want_filing();
        let worker = Worker { files: Arc::clone(&files), shared: Arc::clone(&shared), options };
        let writer =
            Writer { files, shared: Arc::clone(&shared), tail, options, wants_next: false };
        Ok(Self { shared, writer, worker })
    }

    /// Writes one group of drafts for different streams; returns whether it was acknowledged.
    pub(super) fn write(&mut self, group: &[Draft]) -> bool {
        let mut answers = Vec::new();
        let mut request = |draft: &Draft| {
            let (version, prev_hash) = self.shared.reader.index().tip(&draft.stream);
            let sealed = body::seal(draft, version.next(), prev_hash).unwrap();
            let content = sealed.content;
            let header = body::header(content, &sealed.body).unwrap();
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            Put { entries: vec![(header, sealed)], answer }
        };
        let group = group.iter().map(&mut request).collect();
        let going_on = self.writer.commit(group).is_continue();
        let written = |answer: &mut oneshot::Receiver<Answer>| {
            matches!(answer.try_recv(), Ok(Answer::Written(_)))
        };
        going_on && answers.iter_mut().all(written)
    }
}

/// Writes one group after the other, each of drafts for different streams, and no index.
pub(super) fn write(files: &Arc<Ram>, options: Options, groups: &[Vec<Draft>]) {
    let mut log = Led::open(files, options).unwrap();
    for group in groups {
        assert!(log.write(group));
    }
}

/// Does the same, and all chores as soon as they come up.
pub(super) fn write_tidily(files: &Arc<Ram>, options: Options, groups: &[Vec<Draft>]) {
    let mut log = Led::open(files, options).unwrap();
    for group in groups {
        assert!(log.write(group));
        log.worker.work_off().unwrap();
    }
}

/// Returns the segments alone.
pub(super) fn segments(bytes: &Bytes) -> Bytes {
    let is_segment = |name: &String| segment::first_of(name).is_some();
    bytes.iter().filter(|(name, _)| is_segment(name)).map(|(n, b)| (n.clone(), b.clone())).collect()
}
