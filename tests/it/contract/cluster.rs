//! The contract over a cluster of three nodes: customers of one call lie on several of them. All cases share one
//! cluster, which is emptied between them; the ordinary run has the cases that use most kinds of calls.

use super::*;
use crate::crash::long;
use crate::redis_many::Cluster;

/// A cluster, with a read side beside it; see [`RedisStand`].
struct ClusterStand<'c> {
    cluster: &'c Cluster,
    _folder: tempfile::TempDir,
    mirror: Arc<Mirror>,
    opened: AtomicBool,
    clock: TestClock,
}

impl ClusterStand<'_> {
    /// An empty one.
    fn new(cluster: &Cluster) -> ClusterStand<'_> {
        cluster.flush();
        let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let told = clock.clone();
        let options = autofunnel::store::sqlite::Options::new(Arc::new(move || told.now()));
        let mirror = Mirror::open(&folder.path().join("report.db"), options).unwrap();
        ClusterStand { cluster, _folder: folder, mirror, opened: AtomicBool::new(false), clock }
    }
}

impl Stand for ClusterStand<'_> {
    fn open(&self) -> StoreResult<Arc<dyn Store>> {
        if self.opened.swap(true, Ordering::SeqCst) {
            self.cluster.end_leases();
        }
        let clock = self.clock.clone();
        let mut options = autofunnel::store::redis::Options::new(&self.cluster.address());
        options.clock = Some(Arc::new(move || clock.now()));
        (options.mirror, options.reports, options.accept_loss) = (Some(self.mirror.clone()), true, true);
        let opened = autofunnel::store::redis::RedisStore::open(options);
        let store = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opened))?;
        Ok(store)
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }
}

/// Runs cases one after the other.
macro_rules! over {
    ($cluster:expr, [$($case:ident),* $(,)?]) => {
        $(
            println!("over a cluster: {}", stringify!($case));
            $case(&ClusterStand::new($cluster)).await;
        )*
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_a_cluster() {
    let cluster = Cluster::start(3, 0, Disk::Never);
    over!(
        &cluster,
        [
            inputs_come_in_the_order_of_acceptance,
            two_claimers_never_share_a_customer,
            a_commit_is_void_when_its_effect_was_settled,
            begin_has_five_answers,
            wakes_come_in_order_and_before_inputs,
            a_restart_hands_everything_out_anew,
            figures_sum_up_by_day,
            definitions_stay_while_a_live_run_names_them,
            a_workspace_is_applied_only_over_the_one_that_it_was_compared_with,
            a_split_has_one_winner,
            live_runs_are_counted_by_step_and_follow_their_version,
        ]
    );
    if long() {
        over!(
            &cluster,
            [
                an_accepted_input_outlives_the_process,
                a_second_delivery_is_known_even_after_a_restart,
                the_same_id_from_another_source_or_customer_is_another_event,
                every_kind_of_input_comes_back_as_it_went_in,
                accepted_at_never_goes_back,
                a_claimed_customer_is_not_handed_out_again,
                a_claim_has_bounds,
                a_claim_that_nobody_waits_for_is_taken_back,
                take_wants_a_free_customer_without_inputs,
                a_release_changes_nothing,
                a_commit_moves_the_version_by_one,
                a_commit_on_an_old_version_changes_nothing,
                the_account_stays_until_it_moves,
                only_consumed_inputs_leave_the_inbox,
                one_conflict_does_not_stop_another_commit,
                a_settled_effect_is_answered_once,
                only_what_has_not_begun_can_be_withdrawn,
                effects_are_handed_out_once_and_when_due,
                a_handed_over_effect_is_its_committers_until_a_restart,
                begin_goes_on_again_after_the_turn,
                a_withdrawal_raises_the_gate_in_the_accept,
                the_gate_never_goes_down,
                what_was_being_sent_is_ambiguous_after_a_restart,
                what_was_being_sent_stays_ambiguous_when_it_is_put_back_unbegun,
                an_ambiguous_retry_keeps_its_first_instant,
                what_may_have_happened_is_not_decided_anew,
                the_first_body_digest_is_kept,
                nothing_begins_while_it_is_paused,
                a_pause_outlives_the_process_and_has_a_reason,
                what_is_paused_looks_again_and_knows_when_its_time_is_over,
                a_pause_keeps_an_earlier_doubt,
                what_is_paused_is_not_booked,
                a_person_hastens_or_drops_what_waits,
                many_wakes_of_one_instant_are_each_claimed_once,
                a_moved_wake_is_due_at_its_new_instant,
                waiting_ends_when_there_is_work,
                a_faulty_input_is_put_aside_after_three_faults,
                an_input_that_ends_the_process_is_put_aside,
                what_was_merely_in_hand_outlives_many_ends,
                what_was_put_aside_can_be_tried_again_or_dropped,
                every_kind_of_input_can_be_put_back,
                a_wake_that_failed_only_leaves_the_list,
                a_clean_close_leaves_no_suspects,
                a_fault_without_inputs_puts_the_wake_off,
                the_timeline_is_newest_first_and_pages_exactly,
                facts_follow_a_position,
                lists_find_customers_by_their_first_letters,
                runs_are_listed_by_funnel_and_state,
                counts_follow_every_change,
                an_erased_customer_leaves_nothing_but_the_mark,
                the_scan_finds_who_was_judged_by_other_definitions,
                a_token_replaces_the_one_with_its_digest,
                a_message_is_kept_once,
                a_closed_store_takes_nothing,
            ]
        );
    }
}
