//! Work that is carried to its end also when whoever began it goes away.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in the task that waits for it, which costs no thread change; dropped before its end, it goes on in a task of
/// its own.
pub struct Carried<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> Carried<T> {
    /// Work that has not begun; it begins when it is first waited for, or dropped.
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out meanwhile: work that panics is not run again by the drop.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => {
                self.work = Some(work);
                Poll::Pending
            }
        }
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_ends_here_or_elsewhere() {
        assert_eq!(Carried::new(async { 7 }).await, 7);
        let (done, ended) = oneshot::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _ = done.send(());
        };
        assert!(tokio::time::timeout(Duration::from_millis(1), Carried::new(work)).await.is_err());
        ended.await.unwrap();
    }
}
