//! Each story and each end over each way.

macro_rules! each_way {
    ($where:ident: $($story:ident),*) => {
        $(mod $story {
            use crate::{$where, screen::Over};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_a_web_socket() {
                $where::$story(Over::WebSocket).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_an_event_stream() {
                $where::$story(Over::Events).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn by_polling() {
                $where::$story(Over::Polling).await;
            }
        })*
    };
}

each_way!(stories: success, denial, cancellation, expiry, rotation, answer);
each_way!(ends: three_wrong_numbers, signed_out_before_the_yes, signed_out_after_the_yes, a_newer_code, idle, left, unredeemed);
