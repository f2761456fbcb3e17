//! Request bodies in memory: each bounded, and all together as well.

use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::Crowd;

/// The largest body that is read. A stored pod is at most about 1.5 MiB, `<`, `>` and `&` arrive as six bytes, and an
/// UPDATE carries the pod twice (trap 34).
pub const MAX_BODY: usize = 24 * 1024 * 1024;

/// All bodies in flight together: three of the largest.
pub(super) const ALL_BODIES: usize = 3 * MAX_BODY;

/// What is read and thrown away of a refused body, so that the client gets to read the answer.
const DRAINED: usize = 2 * MAX_BODY;

/// Why a body was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("too many large requests at once")]
    NoRoom,
    #[error("the body ended early: {0}")]
    Broken(String),
}

/// A whole body; its bytes count as in flight until it is dropped.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A body that is announced to have no more is small: those of most reviews.
pub(super) const SMALL: usize = 64 * 1024;

/// Small bodies in flight together. They have room of their own: who fills that of the large ones keeps no other from it.
pub(super) const SMALL_BODIES: usize = 256 * SMALL;

/// The bytes that all bodies in flight may have.
#[derive(Clone, Debug)]
pub(super) struct Room {
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(large: usize, small: usize) -> Room {
        Room { large: Arc::new(Semaphore::new(large)), small: Arc::new(Semaphore::new(small)) }
    }

    /// Reads `body` to its end. Room is taken as bytes arrive: one who announces much and sends nothing takes none.
    /// `body` is left where reading stopped. Where there is no room for a small one, those of `crowd` whose small bodies do not
    /// come to an end have to leave.
    pub(super) async fn read(
        &self,
        body: &mut Body,
        announced: Option<usize>,
        crowd: Option<&Crowd>,
    ) -> Result<WholeBody, BodyError> {
        if announced.is_some_and(|length| length > MAX_BODY) {
            return Err(BodyError::TooLarge);
        }
        let is_small = announced.is_some_and(|length| length <= SMALL);
        // Memory that was never written to takes no room yet.
        let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| BodyError::Broken(error.to_string()))?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > if is_small { SMALL } else { MAX_BODY } {
                return Err(BodyError::TooLarge);
            }
            let more = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge)?;
            let more = if is_small { self.take_small(more, crowd).await? } else { take(&self.large, more)? };
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(WholeBody { bytes, _room: room })
    }

    async fn take_small(&self, bytes: u32, crowd: Option<&Crowd>) -> Result<OwnedSemaphorePermit, BodyError> {
        loop {
            match (take(&self.small, bytes), crowd) {
                (Ok(taken), _) => return Ok(taken),
                (Err(_), Some(crowd)) if crowd.relieve().await => {}
                (Err(error), _) => return Err(error),
            }
        }
    }
}

fn take(room: &Arc<Semaphore>, bytes: u32) -> Result<OwnedSemaphorePermit, BodyError> {
    Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| BodyError::NoRoom)
}

/// Reads on and keeps nothing: a client that is still writing when its connection closes loses our answer.
pub(super) async fn drain(body: &mut Body) {
    let mut left = DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, |data| data.len())) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: usize) -> Body {
        Body::from(vec![b'x'; length])
    }

    #[tokio::test]
    async fn the_bound_is_exact_with_and_without_a_length() {
        let room = Room::new(ALL_BODIES, SMALL_BODIES);
        for announced in [true, false] {
            let read = async |length: usize| room.read(&mut body(length), announced.then_some(length), None).await;
            assert_eq!(read(MAX_BODY).await.unwrap().bytes.len(), 25_165_824);
            assert_eq!(read(MAX_BODY + 1).await.unwrap_err(), BodyError::TooLarge);
        }
    }

    #[tokio::test]
    async fn room_is_taken_by_what_came_and_given_back() {
        let room = Room::new(0, 100);
        let first = room.read(&mut body(60), Some(60), None).await.unwrap();
        assert_eq!(room.read(&mut body(60), Some(60), None).await.unwrap_err(), BodyError::NoRoom);
        let second = room.read(&mut body(40), Some(40), None).await.unwrap();
        drop((first, second));
        room.read(&mut body(100), Some(100), None).await.unwrap();
        // Without a length, or with a larger one, there is the other room.
        for announced in [None, Some(SMALL + 1)] {
            assert_eq!(room.read(&mut body(SMALL + 1), announced, None).await.unwrap_err(), BodyError::NoRoom);
        }
    }
}
