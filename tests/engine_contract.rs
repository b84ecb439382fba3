//! What every engine promises, on the memory engine and on one with the manners of a network.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

#[path = "common/ill_mannered.rs"]
mod ill_mannered;

#[path = "engine_contract/accounts.rs"]
mod accounts;
#[path = "engine_contract/attempts.rs"]
mod attempts;
#[path = "engine_contract/budget.rs"]
mod budget;
#[path = "engine_contract/due.rs"]
mod due;
#[path = "engine_contract/history.rs"]
mod history;
#[path = "engine_contract/idle.rs"]
mod idle;
#[path = "engine_contract/login.rs"]
mod login;
#[path = "engine_contract/messages.rs"]
mod messages;
#[path = "engine_contract/presence.rs"]
mod presence;
#[path = "engine_contract/sessions.rs"]
mod sessions;
#[path = "engine_contract/stage.rs"]
mod stage;
#[path = "engine_contract/topics.rs"]
mod topics;
#[path = "engine_contract/values.rs"]
mod values;

/// Runs each test on each engine.
macro_rules! contract {
    ($engine:ident: $make:path: $($module:ident: $($test:ident),+;)+) => {
        mod $engine {
            $(mod $module {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $test() {
                        crate::$module::$test($make).await;
                    }
                )+
            })+
        }
    };
    ($($tests:tt)+) => {
        contract! { on_memory: crate::stage::memory: $($tests)+ }
        contract! { on_ill_mannered: crate::stage::ill_mannered: $($tests)+ }
    };
}

contract! {
    messages:
        offsets_rise_by_one,
        concurrent_messages_are_told_in_the_order_they_read,
        a_repeated_cid_counts_once,
        a_room_has_its_rate_and_a_share_for_high,
        rooms_are_bounded_whatever_happens_at_once;
    history:
        a_joiner_recovers_all_or_is_told,
        pages_before_and_after,
        an_unknown_room_is_empty;
    budget:
        the_longest_silent_rooms_pay;
    presence:
        entering_and_leaving_are_idempotent,
        the_first_and_the_last_are_told_at_once,
        churn_ends_at_zero,
        members_come_in_pages,
        counters_add_up,
        a_view_is_what_a_joiner_would_see;
    idle:
        an_idle_room_goes_and_comes_back_as_another,
        what_is_said_or_counted_keeps_a_room,
        nobody_is_lost_to_a_room_that_goes,
        a_silent_room_forgets_what_is_too_old;
    attempts:
        attempts_are_bounded_in_all_and_per_network,
        a_device_authorization_is_found_by_its_codes,
        every_id_leads_to_the_attempt,
        time_takes_an_attempt_through_its_life,
        scans_of_a_session_are_known_while_live,
        a_decision_that_changes_nothing_is_not_told;
    login:
        one_phone_one_confirmation_one_session;
    accounts:
        an_account_is_made_once,
        an_account_is_changed_by_one_at_a_time,
        accounts_are_bounded_whatever_happens_at_once,
        a_key_is_taken_once,
        keys_are_bounded_and_forgotten_in_time;
    sessions:
        a_session_is_read_until_it_ends,
        an_update_is_one_compare_and_set,
        beyond_the_bound_the_longest_unused_ends,
        a_session_is_revoked_once,
        what_happens_to_a_user_is_told_in_order;
    due:
        what_is_due_comes_oldest_first_until_dealt_with,
        nothing_stays_due;
    topics:
        what_follows_a_follow_is_told,
        every_topic_is_told_alone;
}

/// The memory engine costs a caller no wait: each verb is ready when it is first asked.
#[tokio::test]
async fn memory_never_awaits() {
    use futures::FutureExt;
    let stage = stage::memory(stage::limits());
    let lobby = stage::room("chat:lobby");
    let appended = stage
        .engine
        .append(lobby.clone(), stage::draft("alice", "hello"), stage::T0);
    assert_eq!(appended.now_or_never().unwrap().unwrap().offset, 1);
    let entered = stage.engine.enter(
        lobby,
        stage::present(1, None),
        countersign::engine::Create::Refused,
        stage::T0,
    );
    assert_eq!(entered.now_or_never().unwrap().unwrap().counts.viewers, 1);
}
